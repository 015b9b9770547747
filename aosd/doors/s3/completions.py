"""What CompleteMultipartUpload asks for: parts, conditions, and what a checksum says of it all.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element

from aosd.doors.s3 import checksums
from aosd.doors.s3.call import Call
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.xml_in import malformed, text_of
from aosd.doors.s3.xml_out import Markup, element
from aosd.gateway.multipart import list_parts
from aosd.model.errors import DigestMismatch, NoSuchUpload
from aosd.model.parts import MOST_PARTS
from aosd.streams.checksums import ALGORITHMS, Algorithm

_PAGE = 1000
_LONGEST_SIZE = 16


@dataclass(frozen=True, slots=True)
class Completion:
    """A Complete. `parts`: (number, quoted ETag) of each, ascending; 1 to 10,000.

    `algorithm` is that of `of_parts`, the parts' checksums as the document gives them, which
    are all there or none; `claimed` what the header says of the object, and of which `kind`
    (None: it doesn't say). `size_bytes` is what the object must be long.
    """

    call: Call
    parts: tuple[tuple[int, str], ...]
    algorithm: Algorithm | None
    of_parts: tuple[bytes, ...]
    claimed: bytes | None
    kind: str | None
    size_bytes: int | None

    async def checksum(self) -> Markup | None:
        """The checksum to answer with; None where none can be known.

        Made of the parts' checksums as the document gives them: each was verified when its
        part came, none was kept. A header's is compared with it. Raises DigestMismatch.
        """
        algorithm = self.algorithm
        if algorithm is None or not self.of_parts:
            return None
        if self.kind != checksums.FULL_OBJECT:
            composite = algorithm.composite(self.of_parts)
            if self.claimed in (None, composite):
                text = f"{b64encode(composite).decode('ascii')}-{len(self.parts)}"
                return _told(algorithm, text, checksums.COMPOSITE)
        if self.kind != checksums.COMPOSITE and algorithm.joined and self.claimed is not None:
            try:
                sizes = await self._sizes()
            except NoSuchUpload:
                # Completed before, maybe: whether that is so, the gateway knows.
                return None
            full = algorithm.full(list(zip(self.of_parts, sizes, strict=True)))
            if self.claimed == full:
                text = b64encode(full).decode("ascii")
                return _told(algorithm, text, checksums.FULL_OBJECT)
        if self.claimed is None:
            return None
        raise DigestMismatch(f"the parts don't have the {algorithm.name} that the client says")

    async def _sizes(self) -> list[int]:
        """How long the parts are, as they lie there."""
        call, last = self.call, 0
        sizes: dict[int, int] = {}
        while True:
            page = await list_parts(
                call.store, call.bucket, call.key, call.query["uploadId"], last, _PAGE
            )
            sizes |= {each.number: each.size_bytes for each in page.parts}
            if not (page.truncated and page.parts):
                break
            last = page.parts[-1].number
        try:
            return [sizes[number] for number, _ in self.parts]
        except KeyError as error:
            raise S3Error("InvalidPart", f"part {error} isn't there") from error


def completion_of(call: Call, root: Element) -> Completion:
    """What a request asks for. Raises S3Error MalformedXML, InvalidPartOrder and others."""
    items = root.findall("Part")
    if not 1 <= len(items) <= MOST_PARTS:
        raise malformed(f"a Complete names 1 to {MOST_PARTS} parts")
    parts = tuple((_number(each), _etag(each)) for each in items)
    if any(one >= other for (one, _), (other, _) in pairwise(parts)):
        raise S3Error("InvalidPartOrder", "the parts aren't in the order of their numbers")
    claim = checksums.whole_claim_of(call, len(parts))
    given = {
        name: [text_of(each, checksums.element_name(algorithm)) for each in items]
        for name, algorithm in ALGORITHMS.items()
    }
    algorithm = claim[0] if claim is not None else _algorithm_of(given)
    of_parts: tuple[bytes, ...] = ()
    kind = None
    if algorithm is not None:
        kind = checksums.type_of(call, algorithm)
        if kind is None:
            kind = _kind(algorithm, claim)
        if all(texts := given[algorithm.name]):
            of_parts = tuple(_checksum(algorithm, each) for each in texts)
    return Completion(
        call, parts, algorithm, of_parts, claim[1] if claim is not None else None, kind, _size(call)
    )


def _algorithm_of(given: dict[str, list[str]]) -> Algorithm | None:
    for name, texts in given.items():
        if all(texts):
            return ALGORITHMS[name]
    return None


def _kind(algorithm: Algorithm, claim: tuple[Algorithm, bytes, bool] | None) -> str | None:
    """Of what kind a checksum must be that doesn't say so; None where it may be either."""
    if algorithm.name == "CRC64NVME":
        return checksums.FULL_OBJECT
    if algorithm.joined is None or (claim is not None and claim[2]):
        return checksums.COMPOSITE
    return None


def _number(item: Element) -> int:
    text = text_of(item, "PartNumber")
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(MOST_PARTS))
    if not digits:
        raise malformed("a Part without a PartNumber")
    if not 1 <= int(text) <= MOST_PARTS:
        raise S3Error("InvalidArgument", f"PartNumber is 1 to {MOST_PARTS}")
    return int(text)


def _etag(item: Element) -> str:
    text = text_of(item, "ETag").strip('"')
    if not text:
        raise malformed("a Part without an ETag")
    return f'"{text}"'


def _checksum(algorithm: Algorithm, text: str) -> bytes:
    checksum = checksums.decoded(algorithm, text)
    if checksum is None:
        raise S3Error("InvalidPart", f"a part's {algorithm.name} can't be one")
    return checksum


def _size(call: Call) -> int | None:
    text = call.header(b"x-amz-mp-object-size")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_SIZE):
        raise S3Error("InvalidRequest", "x-amz-mp-object-size isn't a size")
    return int(text)


def _told(algorithm: Algorithm, text: str, kind: str) -> Markup:
    return Markup(element(checksums.element_name(algorithm), text) + element("ChecksumType", kind))
