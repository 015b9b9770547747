"""aws-chunked bodies: framing, signatures, trailers, pace and ends."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable

from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from aosd.doors.s3.canonical import signing_key
from aosd.doors.s3.chunks import ChunkedBody, decoded
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.payload import UNSIGNED, ChunkKey, Payload, PayloadKind
from aosd.doors.s3.signature import Authentic
from aosd.model.errors import ClientGone
from aosd.ports import IBodySink, IBodySource
from aosd.testing.bodies import BytesSource
from tests.framing import framed
from tests.signers import ACCESS_KEY, SECRET

SIGNED = PayloadKind.SIGNED_CHUNKS
SIGNED_TRAILER = PayloadKind.SIGNED_CHUNKS_TRAILER
UNSIGNED_TRAILER = PayloadKind.UNSIGNED_CHUNKS_TRAILER
KEY = ChunkKey(
    signing_key(SECRET, "20130524", "us-east-1"),
    "20130524T000000Z",
    "20130524/us-east-1/s3/aws4_request",
    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
)
CRC = "x-amz-checksum-crc32"
PIECES = [b"first", b"second piece", b"3"]
WHOLE = b"".join(PIECES)


@implementer(IBodySink)
class Sink:
    def __init__(self) -> None:
        self.data = bytearray()
        self.ends: list[object] = []
        self.each: Callable[[], object] = lambda: None

    def body_data(self, data: bytes) -> None:
        assert not self.ends, "data after the end"
        assert data, "no data"
        self.data += data
        self.each()

    def body_ended(self) -> None:
        self.ends.append("ended")

    def body_failed(self, reason: Failure) -> None:
        self.ends.append(reason.value)


@implementer(IBodySource)
class QuietSource:
    """Gives nothing by itself."""

    length = None

    def __init__(self) -> None:
        self.discards = 0

    def start(self, sink: IBodySink) -> None:
        pass

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def discard(self) -> None:
        self.discards += 1


def body(
    source: IBodySource,
    kind: PayloadKind,
    length: object = len(WHOLE),
    trailer: str | None = None,
    key: ChunkKey = KEY,
) -> ChunkedBody:
    authentic = Authentic(ACCESS_KEY, Payload(kind), False, key if kind.has_signed_chunks else None)
    headers = [(b"x-amz-decoded-content-length", str(length).encode())]
    if trailer is not None:
        headers.append((b"x-amz-trailer", trailer.encode()))
    found = decoded(source, authentic, headers)
    assert isinstance(found, ChunkedBody)
    return found


class ChunksTestCase(SynchronousTestCase):
    def takes(
        self,
        data: bytes,
        kind: PayloadKind,
        expected: bytes = WHOLE,
        trailer: str | None = None,
        key: ChunkKey = KEY,
    ) -> ChunkedBody:
        """The same in one piece and byte by byte."""
        for piece_bytes in (len(data), 1, 7):
            source = BytesSource(data, piece_bytes=piece_bytes)
            found = body(source, kind, len(expected), trailer, key)
            self.assertEqual(found.length, len(expected))
            sink = Sink()
            found.start(sink)
            self.assertEqual(sink.ends, ["ended"])
            self.assertEqual(bytes(sink.data), expected)
        return found

    def refuses(
        self,
        data: bytes,
        kind: PayloadKind,
        code: str,
        length: int = len(WHOLE),
        trailer: str | None = None,
        message: str = "",
    ) -> bytes:
        """Returns what came before."""
        for piece_bytes in (len(data), 1, 7):
            source = BytesSource(data, piece_bytes=piece_bytes)
            sink = Sink()
            body(source, kind, length, trailer).start(sink)
            [error] = sink.ends
            assert isinstance(error, S3Error), error
            self.assertEqual(error.code, code, str(error))
            self.assertIn(message, str(error))
            self.assertTrue(source.discarded)
        return bytes(sink.data)


class PublishedExampleTests(ChunksTestCase):
    """65 KiB of `a` in chunks of 64 KiB, as the documentation has it."""

    pieces = (b"a" * 65536, b"a" * 1024)

    def test_signed_chunks(self) -> None:
        data = framed(self.pieces, KEY)
        for size, signature in (
            ("10000", "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            ("400", "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            ("0", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ):
            self.assertIn(f"{size};chunk-signature={signature}\r\n".encode(), data)
        self.assertEqual(len(data), 66824)
        self.takes(data, SIGNED, b"".join(self.pieces))

    def test_signed_chunks_and_a_trailer(self) -> None:
        seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
        key = ChunkKey(KEY.key, KEY.timestamp, KEY.scope, seed)
        data = framed(self.pieces, key, [("x-amz-checksum-crc32c", "sOO8/Q==")])
        for line in (
            "10000;chunk-signature="
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            "x-amz-trailer-signature:"
            "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
        ):
            self.assertIn(f"{line}\r\n".encode(), data)
        found = self.takes(
            data, SIGNED_TRAILER, b"".join(self.pieces), "x-amz-checksum-crc32c", key
        )
        self.assertEqual(found.trailers, {b"x-amz-checksum-crc32c": b"sOO8/Q=="})


class FramingTests(ChunksTestCase):
    def test_the_kinds(self) -> None:
        self.takes(framed(PIECES, KEY), SIGNED)
        self.takes(framed(PIECES), UNSIGNED_TRAILER)
        self.takes(framed(PIECES, KEY, []), SIGNED_TRAILER)
        self.takes(framed([], KEY), SIGNED, b"")
        self.takes(framed([]), UNSIGNED_TRAILER, b"")

    def test_what_botocore_frames(self) -> None:
        data = bytes(range(256)) * 1000
        crc = base64.b64encode(zlib.crc32(data).to_bytes(4, "big"))
        wrapper = AwsChunkedWrapper(
            io.BytesIO(data), checksum_cls=Crc32Checksum, checksum_name=CRC, chunk_size=65536
        )
        found = self.takes(wrapper.read(), UNSIGNED_TRAILER, data, CRC)
        self.assertEqual(found.trailers, {CRC.encode(): crc})

    def test_capital_digits(self) -> None:
        self.takes(b"A\r\n" + bytes(10) + b"\r\n00\r\n\r\n", UNSIGNED_TRAILER, bytes(10))

    def test_the_last_empty_line_may_be_left_out(self) -> None:
        self.takes(framed(PIECES, KEY)[:-2], SIGNED)

    def test_a_body_of_unknown_length(self) -> None:
        source = BytesSource(framed(PIECES, KEY), told=False, piece_bytes=3)
        found, sink = body(source, SIGNED), Sink()
        found.start(sink)
        self.assertEqual((sink.ends, bytes(sink.data)), (["ended"], WHOLE))

    def test_plain_bodies_are_left_alone(self) -> None:
        source = BytesSource(b"plain")
        for payload in (UNSIGNED, Payload(PayloadKind.SHA256, bytes(32))):
            authentic = Authentic(ACCESS_KEY, payload, False, None)
            self.assertIs(decoded(source, authentic, []), source)

    def test_lengths_that_are_none(self) -> None:
        authentic = Authentic(ACCESS_KEY, Payload(SIGNED), False, KEY)
        with self.assertRaises(S3Error) as caught:
            decoded(BytesSource(b""), authentic, [])
        self.assertEqual(
            (caught.exception.code, caught.exception.status), ("MissingContentLength", 411)
        )
        for length in ("", "-1", "1e3", "1,1", "1" * 19):
            with self.assertRaises(S3Error) as caught:
                body(BytesSource(b""), SIGNED, length)
            self.assertEqual(caught.exception.code, "InvalidArgument")

    def test_the_interface(self) -> None:
        verifyObject(IBodySource, body(BytesSource(b""), SIGNED))
        verifyObject(IBodySink, body(BytesSource(b""), SIGNED))

    def test_bodies_that_are_cut_short(self) -> None:
        for whole, kind, trailer in (
            (framed(PIECES, KEY)[:-4], SIGNED, None),
            (framed(PIECES)[:-4], UNSIGNED_TRAILER, None),
            (framed(PIECES, KEY, [(CRC, "x")])[:-4], SIGNED_TRAILER, CRC),
            (framed(PIECES, None, [(CRC, "x")])[:-4], UNSIGNED_TRAILER, CRC),
        ):
            for size in range(len(whole)):
                sink = Sink()
                body(BytesSource(whole[:size]), kind, trailer=trailer).start(sink)
                [error] = sink.ends
                assert isinstance(error, S3Error)
                self.assertIn(error.code, ("IncompleteBody", "MalformedTrailerError"), size)

    def test_lengths_that_are_wrong(self) -> None:
        for data, kind in ((framed(PIECES, KEY), SIGNED), (framed(PIECES), UNSIGNED_TRAILER)):
            self.refuses(data, kind, "IncompleteBody", len(WHOLE) + 1, message="shorter")
            before = self.refuses(data, kind, "IncompleteBody", len(WHOLE) - 1, message="longer")
            self.assertEqual(before, WHOLE[:-1])

    def test_malformed_framing(self) -> None:
        for data in (
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"+5\r\nfirst\r\n",
            b"0x5\r\nfirst\r\n",
            b" 5\r\nfirst\r\n",
            b"5\nfirst\r\n",
            b"5" + bytes(2000),
            b"5;" + b"x" * 2000 + b"\r\n",
            b"00000000000000005\r\n",
            b"ffffffffffffffff\r\n",
            b"5\r\nfirstX\r\n",
            b"5\r\nfirst\n",
            b"5\r\nfirst5\r\n",
            b"1" * 3000,
        ):
            self.refuses(data, UNSIGNED_TRAILER, "IncompleteBody", message="malformed")

    def test_signatures_that_are_missing(self) -> None:
        self.refuses(framed(PIECES), SIGNED, "IncompleteBody", message="no signature")
        for old, new in (
            (b"chunk-signature", b"Chunk-signature"),
            (b"chunk-signature=", b"chunk-signature="[:-1]),
            (b"chunk-signature=", b"chunk-signature=0"),
        ):
            data = framed(PIECES, KEY).replace(old, new, 1)
            self.refuses(data, SIGNED, "IncompleteBody", message="no signature")

    def test_nothing_follows_the_last_chunk(self) -> None:
        data = framed(PIECES, KEY)
        self.refuses(data + b"0\r\n", SIGNED, "IncompleteBody", message="follows")
        self.refuses(data[:-2] + b"a:b\r\n\r\n", SIGNED, "IncompleteBody", message="follows")
        self.refuses(data + b"x", SIGNED, "IncompleteBody")


class SignatureTests(ChunksTestCase):
    def test_bytes_that_were_changed(self) -> None:
        data = framed(PIECES, KEY)
        for old, so_far in ((b"first", PIECES[0]), (b"second", WHOLE[:-1]), (b"\r\n3", WHOLE)):
            changed = data.replace(old, old[:-1] + b"X")
            before = self.refuses(changed, SIGNED, "SignatureDoesNotMatch")
            # Of what follows a bad chunk nothing is passed on.
            self.assertEqual(len(before), len(so_far))

    def test_the_last_signature_counts(self) -> None:
        data = framed(PIECES, KEY)
        at = data.rindex(b"=") + 1
        another = b"1" if data[at : at + 1] == b"0" else b"0"
        changed = data[:at] + another + data[at + 1 :]
        self.refuses(changed, SIGNED, "SignatureDoesNotMatch")

    def test_chunks_in_another_order(self) -> None:
        data = framed([b"one", b"two"], KEY)
        first, second = data[: data.index(b"one") + 5], data[data.index(b"one") + 5 :]
        end = second.index(b"two") + 5
        self.refuses(second[:end] + first + second[end:], SIGNED, "SignatureDoesNotMatch", 6)

    def test_another_request(self) -> None:
        for key in (
            ChunkKey(KEY.key, KEY.timestamp, KEY.scope, "0" * 64),
            ChunkKey(KEY.key, "20130524T000001Z", KEY.scope, KEY.seed),
            ChunkKey(KEY.key, KEY.timestamp, KEY.scope.replace("us", "eu"), KEY.seed),
            ChunkKey(bytes(32), KEY.timestamp, KEY.scope, KEY.seed),
        ):
            self.refuses(framed(PIECES, key), SIGNED, "SignatureDoesNotMatch")
            self.refuses(
                framed([], key, [(CRC, "x")]), SIGNED_TRAILER, "SignatureDoesNotMatch", 0, CRC
            )

    def test_a_chunk_left_out(self) -> None:
        data = framed(PIECES, KEY)
        at = data.index(b"\r\n3\r\n") - len("1;chunk-signature=") - 64
        left_out = data[:at] + data[data.index(b"\r\n3\r\n") + 5 :]
        self.refuses(left_out, SIGNED, "SignatureDoesNotMatch", len(WHOLE) - 1)


class TrailerTests(ChunksTestCase):
    def test_styles(self) -> None:
        trailers = [(CRC, "AAAAAA=="), ("x-other", " y ")]
        for style in ("aws", "minio"):
            for key, kind in ((KEY, SIGNED_TRAILER), (None, UNSIGNED_TRAILER)):
                data = framed(PIECES, key, trailers, style)
                found = self.takes(data, kind, trailer=CRC)
                # What wasn't announced doesn't count.
                self.assertEqual(found.trailers, {CRC.encode(): b"AAAAAA=="})
                found = self.takes(data, kind, trailer=f"X-Other , {CRC.upper()}")
                self.assertEqual(found.trailers, {CRC.encode(): b"AAAAAA==", b"x-other": b"y"})

    def test_trailers_are_there_when_the_body_ends(self) -> None:
        data = framed(PIECES, None, [(CRC, "x")])
        found, sink = body(BytesSource(data), UNSIGNED_TRAILER, trailer=CRC), Sink()
        seen: list[dict[bytes, bytes]] = []
        sink.body_ended = lambda: seen.append(dict(found.trailers))  # type: ignore[method-assign]
        found.start(sink)
        self.assertEqual(seen, [{CRC.encode(): b"x"}])

    def test_trailers_that_were_changed(self) -> None:
        data = framed(PIECES, KEY, [(CRC, "AAAAAA==")])
        self.refuses(
            data.replace(b"AAAAAA", b"AAAAAB"), SIGNED_TRAILER, "SignatureDoesNotMatch", trailer=CRC
        )
        at = data.index(b"trailer-signature:") + 18
        self.refuses(
            data[:at] + b"0" * 64 + b"\r\n\r\n",
            SIGNED_TRAILER,
            "SignatureDoesNotMatch",
            trailer=CRC,
        )

    def test_malformed_trailers(self) -> None:
        unsigned = framed(PIECES)[:-2]
        for end in (
            b"no colon\r\n\r\n",
            b": no name\r\n\r\n",
            b"a b:c\r\n\r\n",
            f"{CRC}:1\r\n{CRC}:1\r\n\r\n".encode(),
            b"\r\n",
            b"x-other:1\r\n\r\n",
        ):
            self.refuses(unsigned + end, UNSIGNED_TRAILER, "MalformedTrailerError", trailer=CRC)
        signed = framed(PIECES, KEY, [(CRC, "1")])
        at = signed.index(b"x-amz-trailer-signature")
        for data in (signed[:at] + b"\r\n", signed[:-2] + b"x-other:1\r\n\r\n"):
            self.refuses(data, SIGNED_TRAILER, "MalformedTrailerError", trailer=CRC)

    def test_limits(self) -> None:
        data = framed(PIECES)[:-2]
        for end in (
            b"x:" + b"y" * 17_000 + b"\r\n\r\n",
            b"".join(b"x-%d:y\r\n" % number for number in range(3000)),
            b"\r\n" * 9000,
            b"y" * 17_000,
        ):
            source = BytesSource(data + end, piece_bytes=1000)
            sink = Sink()
            body(source, UNSIGNED_TRAILER).start(sink)
            [error] = sink.ends
            assert isinstance(error, S3Error)
            self.assertIn(error.code, ("IncompleteBody", "MalformedTrailerError"))
        many = b"".join(b"x-%d:y\r\n" % number for number in range(1500))
        self.takes(data + many + b"\r\n", UNSIGNED_TRAILER)


class FlowTests(SynchronousTestCase):
    """Pace and ends: as the source's, one end, once."""

    def setUp(self) -> None:
        self.data = framed([b"x" * 10] * 10, KEY)
        self.source = BytesSource(self.data, piece_bytes=16)
        self.body = body(self.source, SIGNED, 100)
        self.sink = Sink()

    def test_nothing_before_the_start(self) -> None:
        self.assertFalse(self.source.started)
        self.assertEqual(self.source.sent_bytes, 0)

    def test_pause_and_resume(self) -> None:
        self.sink.each = self.body.pause
        self.body.start(self.sink)
        rounds = 0
        while not self.sink.ends:
            rounds += 1
            sent = self.source.sent_bytes
            self.body.resume()
            self.assertLess(sent, self.source.sent_bytes + bool(self.sink.ends))
        self.assertGreaterEqual(rounds, 10)
        self.assertEqual((self.sink.ends, len(self.sink.data)), (["ended"], 100))

    def test_discard_from_within(self) -> None:
        self.sink.each = self.body.discard
        self.body.start(self.sink)
        self.assertEqual((bytes(self.sink.data), self.sink.ends), (b"x" * len(self.sink.data), []))
        self.assertTrue(self.source.discarded)
        self.assertLess(len(self.sink.data), 11)

    def test_discard_before_the_start(self) -> None:
        self.body.discard()
        self.assertTrue(self.source.discarded)
        self.body.start(self.sink)
        self.assertFalse(self.source.started)

    def test_discard_after_the_end(self) -> None:
        self.body.start(self.sink)
        self.body.discard()
        self.body.discard()
        self.assertEqual(self.sink.ends, ["ended"])

    def test_the_client_goes_away(self) -> None:
        gone = ClientGone("gone")
        source = BytesSource(self.data, fails_at=120, fails=gone)
        body(source, SIGNED, 100).start(self.sink)
        self.assertEqual((self.sink.ends, bytes(self.sink.data)), ([gone], b"x" * 10))

    def test_nothing_is_told_after_a_failure(self) -> None:
        found = body(self.source, SIGNED, 100)
        found.start(self.sink)
        self.assertEqual(self.sink.ends, ["ended"])
        found.body_data(b"more")
        found.body_failed(Failure(ClientGone("gone")))
        found.body_ended()
        found.pause()
        found.resume()
        self.assertEqual(self.sink.ends, ["ended"])

    def test_one_end_when_a_bad_chunk_is_followed_by_others(self) -> None:
        source = QuietSource()
        found = body(source, SIGNED, 100)
        found.start(self.sink)
        found.body_data(b"nonsense\r\n")
        found.body_data(self.data)
        found.body_ended()
        [error] = self.sink.ends
        assert isinstance(error, S3Error)
        self.assertEqual(source.discards, 1)
        self.assertEqual((error.code, bytes(self.sink.data)), ("IncompleteBody", b""))

    def test_no_more_is_held_than_a_line(self) -> None:
        found = body(QuietSource(), SIGNED, 10**9)
        found.start(self.sink)
        found.body_data(self.data[:50])
        self.assertLess(len(found._line), 51)
        found.body_data(b"z" * 100_000)
        self.assertEqual(len(found._line), 0)
