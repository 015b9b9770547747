"""The aws-chunked framing of a body, taken off as it flows, its signatures verified.

On the wire a chunk is `SIZE[;chunk-signature=HEX]`, CR LF, its bytes, CR LF; the last one
has the size 0. After that one come trailers, where the request said so, with a signature of
their own. This is inside of whatever HTTP itself does to the body.

A chunk's signature can be checked only when all of it came, and chunks may be of any size:
their bytes flow on before that, and a chunk that turns out wrong ends the body with a
failure. So whoever reads it believes no byte before the end of the body.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable

from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.doors.s3.claims import Headers, value_of
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.payload import ChunkKey, PayloadKind
from aosd.doors.s3.signature import Authentic
from aosd.ports import IBodySink, IBodySource

_LONGEST_LINE_BYTES = 1024
_LONGEST_TRAILERS_BYTES = 16 * 1024
_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}")
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_CHUNK_SIGNATURE = re.compile(rb"chunk-signature=([0-9a-f]{64})")
_TRAILER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_TRAILER_SIGNATURE = b"x-amz-trailer-signature"


def decoded(source: IBodySource, authentic: Authentic, headers: Headers) -> IBodySource:
    """The body without its framing: a ChunkedBody, or `source` itself where it has none.

    Whether it has one is said by what was signed of the body (x-amz-content-sha256) alone:
    some clients leave out `Content-Encoding: aws-chunked`. Raises S3Error where the length
    of what is inside isn't told, or isn't a length.
    """
    if not authentic.payload.kind.is_framed:
        return source
    told = value_of(headers, b"x-amz-decoded-content-length")
    if told is None:
        raise S3Error(
            "MissingContentLength", "You must provide the x-amz-decoded-content-length header."
        )
    if _LENGTH.fullmatch(told) is None:
        raise S3Error("InvalidArgument", "x-amz-decoded-content-length must be a number.")
    names = (value_of(headers, b"x-amz-trailer") or "").lower().encode("latin-1").split(b",")
    return ChunkedBody(
        source,
        int(told),
        authentic.payload.kind,
        authentic.chunks,
        frozenset(name.strip() for name in names) - {b""},
    )


@implementer(IBodySource, IBodySink)
class ChunkedBody:
    """See IBodySource. It holds no more than an unfinished line, whatever comes.

    `length` is the length of what is inside. `trailers` are those that the request
    announced, by lower-case name; filled before body_ended. What is wrong with the
    framing or a signature ends in body_failed(S3Error), and the rest is discarded.
    """

    def __init__(
        self,
        source: IBodySource,
        length: int,
        kind: PayloadKind,
        key: ChunkKey | None,
        announced: frozenset[bytes],
    ) -> None:
        assert (key is not None) == kind.has_signed_chunks
        self.length: int | None = length
        self.trailers: dict[bytes, bytes] = {}
        self._source = source
        self._sink: IBodySink | None = None
        self._over = False
        # What comes: bytes of a chunk while `_left`, or else a line, which `_take` is given.
        self._left = 0
        self._take: Callable[[bytes], None] = self._take_size
        self._line = bytearray()
        self._wanted = length
        self._chain = None if key is None else _Chain(key)
        self._trailing = _Trailers(announced, self._chain) if kind.has_trailers else None
        self._last_came = False
        self._trailer_bytes = 0

    # -- IBodySource ------------------------------------------------------------------------------

    def start(self, sink: IBodySink) -> None:
        """See IBodySource."""
        if not self._over:
            self._sink = sink
            self._source.start(self)

    def pause(self) -> None:
        """See IBodySource."""
        if not self._over:
            self._source.pause()

    def resume(self) -> None:
        """See IBodySource."""
        if not self._over:
            self._source.resume()

    def discard(self) -> None:
        """See IBodySource."""
        self._settle()
        self._source.discard()

    # -- IBodySink: what the source says ----------------------------------------------------------

    def body_data(self, data: bytes) -> None:
        """See IBodySink."""
        at = 0
        while at < len(data) and not self._over:
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._pass_on(piece)
                continue
            try:
                at = self._read_line(data, at)
            except S3Error as error:
                self._fail(error)

    def body_ended(self) -> None:
        """See IBodySink."""
        if self._over:
            return
        try:
            self._check_end()
        except S3Error as error:
            self._fail(error)
            return
        sink = self._settle()
        if sink is not None:
            sink.body_ended()

    def body_failed(self, reason: Failure) -> None:
        """See IBodySink."""
        sink = self._settle()
        if sink is not None:
            sink.body_failed(reason)

    # -- inside -----------------------------------------------------------------------------------

    def _pass_on(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._chain is not None:
            self._chain.update(piece)
        if self._sink is not None:
            self._sink.body_data(piece)

    def _read_line(self, data: bytes, at: int) -> int:
        """Take what `data` has of a line from `at` on; returns where the next thing begins."""
        longest = _LONGEST_TRAILERS_BYTES if self._last_came else _LONGEST_LINE_BYTES
        end = data.find(b"\n", at) + 1
        stop = end or len(data)
        if len(self._line) + stop - at > longest:
            raise _malformed("a line is too long")
        self._line += data[at:stop]
        if end:
            line = bytes(self._line)
            self._line.clear()
            self._take(line)
        return stop

    def _take_size(self, line: bytes) -> None:
        """The line before a chunk."""
        size_hex, _, extension = line.removesuffix(b"\r\n").partition(b";")
        if not line.endswith(b"\r\n") or _SIZE.fullmatch(size_hex) is None:
            raise _malformed("the size of a chunk can't be read")
        if self._chain is not None:
            found = _CHUNK_SIGNATURE.fullmatch(extension)
            if found is None:
                raise _malformed("a chunk has no signature")
            self._chain.begin(found[1])
        size = int(size_hex, 16)
        if size > self._wanted:
            raise _malformed("it is longer than x-amz-decoded-content-length says")
        self._wanted -= size
        self._left = size
        if size:
            self._take = self._take_end
            return
        if self._chain is not None:
            self._chain.check()
        if self._wanted:
            raise _malformed("it is shorter than x-amz-decoded-content-length says")
        self._last_came = True
        self._take = self._take_trailer

    def _take_end(self, line: bytes) -> None:
        """What stands between the bytes of a chunk and the next one."""
        if line != b"\r\n":
            raise _malformed("a chunk is longer than it says")
        if self._chain is not None:
            self._chain.check()
        self._take = self._take_size

    def _take_trailer(self, line: bytes) -> None:
        """A line after the last chunk.

        An empty one isn't the end: minio-go has one before the signature of the trailers.
        The end of the body is.
        """
        self._trailer_bytes += len(line)
        if self._trailer_bytes > _LONGEST_TRAILERS_BYTES:
            raise _malformed_trailers("there are too many")
        text = line.rstrip(b"\r\n")
        if text and self._trailing is None:
            raise _malformed("something follows the last chunk")
        if text and self._trailing is not None:
            self._trailing.add(text)

    def _check_end(self) -> None:
        """The source is over; whether the framing was, too."""
        if not self._last_came or self._line:
            raise S3Error("IncompleteBody", "The body ended before its last chunk.")
        if self._trailing is not None:
            self._trailing.check()
            self.trailers.update(self._trailing.found)

    def _fail(self, error: S3Error) -> None:
        sink = self._settle()
        self._source.discard()
        if sink is not None:
            sink.body_failed(Failure(error))

    def _settle(self) -> IBodySink | None:
        """Nothing is told from here on; returns whom the last word goes to."""
        self._over = True
        self._line.clear()
        sink, self._sink = self._sink, None
        return sink


class _Chain:
    """The signatures of chunks, each over the one before it."""

    def __init__(self, key: ChunkKey) -> None:
        self._key = key
        self._previous = key.seed
        self._claimed = b""
        self._hash = hashlib.sha256()

    def begin(self, claimed: bytes) -> None:
        """A chunk begins that is said to have this signature."""
        self._claimed = claimed
        self._hash = hashlib.sha256()

    def update(self, data: bytes) -> None:
        """The next bytes of the chunk."""
        self._hash.update(data)

    def check(self) -> None:
        """The chunk is over. Raises S3Error when its signature is wrong."""
        computed = self._key.of_chunk(self._previous, self._hash.hexdigest())
        _compare(computed, self._claimed, "a chunk")
        self._previous = computed

    def check_trailers(self, sha256_hex: str, claimed: bytes) -> None:
        """After the last chunk. Raises S3Error when the signature of the trailers is wrong."""
        _compare(self._key.of_trailers(self._previous, sha256_hex), claimed, "the trailers")


class _Trailers:
    """What comes after the last chunk; `found` are those that were announced."""

    def __init__(self, announced: frozenset[bytes], chain: _Chain | None) -> None:
        self.found: dict[bytes, bytes] = {}
        self._announced = announced
        self._chain = chain
        self._signed = False
        self._hash = hashlib.sha256()

    def add(self, text: bytes) -> None:
        """A line, without its end. Raises S3Error for what is no trailer, or a wrong signature."""
        name, colon, value = text.partition(b":")
        name, value = name.lower(), value.strip()
        if not colon or _TRAILER_NAME.fullmatch(name) is None or name in self.found:
            raise _malformed_trailers("each has a name of its own, a colon and a value")
        if self._signed:
            raise _malformed_trailers("one came after their signature")
        if self._chain is not None and name == _TRAILER_SIGNATURE:
            self._signed = True
            self._chain.check_trailers(self._hash.hexdigest(), value)
            return
        self._hash.update(text + b"\n")
        if name in self._announced:
            self.found[name] = value

    def check(self) -> None:
        """The body is over. Raises S3Error when something that was announced is missing."""
        if self._chain is not None and not self._signed:
            raise _malformed_trailers("their signature is missing")
        if self.found.keys() != self._announced:
            raise _malformed_trailers("not all that x-amz-trailer announced came")


def _compare(computed: str, claimed: bytes, what: str) -> None:
    if not hmac.compare_digest(computed.encode(), claimed):
        raise S3Error(
            "SignatureDoesNotMatch",
            f"The signature of {what} that we calculated does not match the one you provided.",
        )


def _malformed(what: str) -> S3Error:
    return S3Error("IncompleteBody", f"The aws-chunked body is malformed: {what}.")


def _malformed_trailers(what: str) -> S3Error:
    return S3Error("MalformedTrailerError", f"The trailers are malformed: {what}.")
