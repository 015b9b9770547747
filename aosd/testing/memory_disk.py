"""What an S3 server keeps, in memory: buckets, objects, open multipart uploads, listings.

No network, no time that passes, no faults: `aosd.testing.memory_node` puts INode over it.
It raises what a server answers.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aosd.model.errors import (
    BucketNotEmpty,
    DigestMismatch,
    NodeRefused,
    NoSuchKey,
    NoSuchUpload,
    PreconditionFailed,
)
from aosd.model.objects import (
    KEPT_HEADERS,
    OWN_METADATA,
    STAMP_HEADER,
    Entry,
    Headers,
    ObjectHead,
    Page,
    Part,
    PartsPage,
    Span,
)
from aosd.model.ranges import ByteRange

_LISTINGS_KEPT = 4


@dataclass(frozen=True, slots=True)
class Copy:
    """An object as it lies on the node; `headers` with aosd's own among them.

    `part_bytes` are the lengths of the parts it was uploaded in, () when in one piece.
    """

    data: bytes
    etag: str
    modified_s: float
    headers: Headers = ()
    part_bytes: tuple[int, ...] = ()

    @property
    def stamp(self) -> str | None:
        """Its stamp, as it was written."""
        for name, value in self.headers:
            if name == STAMP_HEADER:
                return value.decode("ascii")
        return None

    @property
    def head(self) -> ObjectHead:
        """What a HEAD tells of it."""
        return ObjectHead(
            self.etag,
            len(self.data),
            int(self.modified_s),
            self.stamp,
            tuple(each for each in self.headers if not each[0].startswith(OWN_METADATA)),
            tuple(
                each
                for each in self.headers
                if each[0].startswith(OWN_METADATA) and each[0] != STAMP_HEADER
            ),
        )


@dataclass(slots=True)
class Upload:
    """An open multipart upload; parts by their number, each with its ETag.

    `since_s` is when each of them came, since 1970.
    """

    bucket: str
    key: str
    headers: Headers
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    since_s: dict[int, float] = field(default_factory=dict)


Snapshot = Mapping[str, Mapping[str, Copy]]
"""All that lay on a node at one moment."""


class MemoryDisk:
    """`buckets` is {bucket: {key: Copy}}, `uploads` the open multipart uploads by their id.

    `node` is whom errors speak of, `now` gives seconds since 1970. `least_part_bytes` is
    what all parts but the last must have (real servers: 5 MiB). With `tree_order` it lists
    as SeaweedFS does, a folder at a time; with `hides_beneath` as MinIO does, no key beneath
    another one; with `tells_stamps` listings tell them when asked, as MinIO's do; with
    `counts_passed` a listing that begins in a folder ends early, as MinIO's does: what stands
    before the folder counts against the limit, and one name behind each folder that it ends in
    is told all the same. Without `checks_sha256` it ignores
    x-amz-content-sha256, as SeaweedFS does, and without `checks_md5` Content-MD5.
    `refuses_full_buckets` may be set to False: then it removes them, as SeaweedFS does by
    default.
    """

    def __init__(
        self,
        node: str,
        now: Callable[[], float],
        buckets: Iterable[str] = (),
        *,
        least_part_bytes: int = 0,
        tree_order: bool = False,
        hides_beneath: bool = False,
        tells_stamps: bool = False,
        counts_passed: bool = False,
        checks_sha256: bool = True,
        checks_md5: bool = True,
    ) -> None:
        self.buckets: dict[str, dict[str, Copy]] = {bucket: {} for bucket in buckets}
        self.uploads: dict[str, Upload] = {}
        self.hides_beneath = hides_beneath
        self.refuses_full_buckets = True
        self.tells_stamps = tells_stamps
        self.counts_passed = counts_passed
        self._node = node
        self._now = now
        self._least_part_bytes = least_part_bytes
        self._tree_order = tree_order
        self._checks_sha256 = checks_sha256
        self._checks_md5 = checks_md5
        self._uploads_made = 0
        self._listings = 0
        self._listed: dict[str, Mapping[str, Copy]] = {}

    # -- objects --------------------------------------------------------------------------------

    def head(self, bucket: str, key: str, part: int | None = None) -> ObjectHead:
        """A HEAD; with `part` the size is that part's."""
        copy = self.copy(bucket, key)
        if part is None:
            return copy.head
        sizes = copy.part_bytes or (len(copy.data),)
        if part > len(sizes):
            raise NodeRefused(self._node, f"no part {part}", 416, "InvalidPartNumber")
        return copy.head._replace(size_bytes=sizes[part - 1])

    def part_sizes(self, bucket: str, key: str, etag: str) -> tuple[int, ...]:
        """The sizes of the parts that the object with that ETag was uploaded in."""
        copy, span = self.get(bucket, key, etag=etag)
        return copy.part_bytes or (span.length,)

    def get(
        self, bucket: str, key: str, wanted: ByteRange | None = None, etag: str | None = None
    ) -> tuple[Copy, Span]:
        """A GET: the object, and what of it was asked for."""
        copy = self.copy(bucket, key)
        if etag is not None and copy.etag != etag:
            raise PreconditionFailed("it has another ETag")
        size_bytes = len(copy.data)
        return copy, Span(0, size_bytes) if wanted is None else wanted.resolve(size_bytes)

    def put(self, bucket: str, key: str, data: bytes, headers: Headers) -> str:
        """A PUT; the ETag."""
        there = self._bucket(bucket)
        self._check_digests(data, headers)
        copy = there[key] = Copy(data, _quoted(_md5(data)), self._now(), _kept(headers))
        return copy.etag

    def delete(self, bucket: str, key: str) -> None:
        """A DELETE, also of what isn't there."""
        self.buckets.get(bucket, {}).pop(key, None)

    def page(
        self,
        bucket: str,
        prefix: str = "",
        after: str = "",
        limit: int = 1000,
        delimiter: str = "",
        stamps: bool = False,
        token: str = "",
    ) -> Page:
        """One page of a listing; with a `token`, of when the first such one was asked for."""
        told = stamps and self.tells_stamps
        there: Mapping[str, Copy] = self._bucket(bucket)
        number, _, goes_on_after = token.partition("/")
        if token:
            after = goes_on_after
            there = self._listed.setdefault(number, dict(there))
            while len(self._listed) > _LISTINGS_KEPT:
                del self._listed[next(iter(self._listed))]
        else:
            self._listings += 1
            number = str(self._listings)
        names: dict[str, Copy | None] = {}
        for key in there:
            if not key.startswith(prefix) or (self.hides_beneath and is_beneath(key, there)):
                continue
            folder, found, _ = key[len(prefix) :].partition(delimiter or "\0")
            if delimiter and found:
                names[prefix + folder + delimiter] = None
            else:
                names[key] = there[key]
        start = self._order(after)

        def comes(name: str) -> bool:
            # In a tree a folder is an entry like others, which `after` may be the name of.
            is_entry = self._tree_order and names[name] is None
            return self._order(name.removesuffix("/") if is_entry else name) > start

        ordered = sorted(filter(comes, names), key=self._order)
        if self.counts_passed:
            # They look at a few more than were asked for.
            room = max(limit + 2 - _passed(names, prefix, after), 0)
            ordered = ordered[:room] + _behind(ordered[room:], (ordered[:room] or [after])[-1])
        page = ordered[:limit]
        last = max(page, key=_utf8) if page else None
        is_truncated = len(ordered) > limit
        return Page(
            tuple(
                Entry(
                    name,
                    copy.etag,
                    len(copy.data),
                    copy.modified_s,
                    (copy.stamp or "") if told else None,
                )
                for name in page
                if (copy := names[name]) is not None
            ),
            tuple(name for name in page if names[name] is None),
            truncated=is_truncated,
            last=last,
            token=f"{number}/{last}" if is_truncated else "",
        )

    def copy(self, bucket: str, key: str) -> Copy:
        """What lies there."""
        copy = self._bucket(bucket).get(key)
        if copy is None:
            raise NoSuchKey("no such object")
        return copy

    # -- multipart uploads ----------------------------------------------------------------------

    def create_upload(self, bucket: str, key: str, headers: Headers) -> str:
        """Begin one; its id."""
        self._bucket(bucket)
        self._uploads_made += 1
        upload_id = f"upload-{self._uploads_made}"
        self.uploads[upload_id] = Upload(bucket, key, _kept(headers))
        return upload_id

    def put_part(self, bucket: str, key: str, upload_id: str, number: int, data: bytes) -> str:
        """A part, counted from 1; its ETag."""
        etag = _quoted(_md5(data))
        upload = self._upload(bucket, key, upload_id)
        upload.parts[number] = (etag, data)
        upload.since_s[number] = self._now()
        return etag

    def list_parts(
        self, bucket: str, key: str, upload_id: str, after: int = 0, limit: int = 1000
    ) -> PartsPage:
        """A page of its parts."""
        try:
            upload = self._upload(bucket, key, upload_id)
        except NodeRefused as error:
            raise NoSuchUpload("no such upload") from error
        numbers = sorted(number for number in upload.parts if number > after)
        return PartsPage(
            tuple(
                Part(
                    number,
                    upload.parts[number][0],
                    len(upload.parts[number][1]),
                    upload.since_s.get(number, 0.0),
                )
                for number in numbers[:limit]
            ),
            truncated=len(numbers) > limit,
        )

    def complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[tuple[int, str]]
    ) -> str:
        """Make the object of its parts; the ETag."""
        upload = self._upload(bucket, key, upload_id)
        etags = [etag for _, etag in parts]
        pieces: list[bytes] = []
        for number, etag in parts:
            told, data = upload.parts.get(number, ("", b""))
            if told != etag:
                raise NodeRefused(self._node, f"no part {number}", 400, "InvalidPart")
            if number < parts[-1][0] and len(data) < self._least_part_bytes:
                raise NodeRefused(self._node, f"part {number}", 400, "EntityTooSmall")
            pieces.append(data)
        if not pieces:
            raise NodeRefused(self._node, "no parts", 400, "MalformedXML")
        digests = b"".join(bytes.fromhex(etag.strip('"')) for etag in etags)
        etag = _quoted(f"{_md5(digests)}-{len(etags)}")
        sizes = tuple(map(len, pieces))
        copy = Copy(b"".join(pieces), etag, self._now(), upload.headers, sizes)
        self._bucket(bucket)[key] = copy
        del self.uploads[upload_id]
        return etag

    def abort_upload(self, upload_id: str) -> None:
        """Forget one, also one that isn't known."""
        self.uploads.pop(upload_id, None)

    def list_uploads(self, bucket: str, key: str) -> list[str]:
        """The ids of those that are open for a key."""
        self._bucket(bucket)
        return [
            upload_id
            for upload_id, upload in self.uploads.items()
            if (upload.bucket, upload.key) == (bucket, key)
        ]

    # -- buckets --------------------------------------------------------------------------------

    def create_bucket(self, bucket: str) -> None:
        """Make one, unless it is there."""
        self.buckets.setdefault(bucket, {})

    def delete_bucket(self, bucket: str) -> None:
        """Remove one, also one that isn't there; uploads that are open in it go with it."""
        if self.buckets.get(bucket) and self.refuses_full_buckets:
            raise BucketNotEmpty(f"{bucket} isn't empty on node {self._node}")
        self.buckets.pop(bucket, None)
        for upload_id in [each for each, open_ in self.uploads.items() if open_.bucket == bucket]:
            del self.uploads[upload_id]

    # -- as a whole -----------------------------------------------------------------------------

    def wipe(self) -> None:
        """Another disk, and empty: no object, no bucket, no marker, no upload."""
        self.buckets.clear()
        self.uploads.clear()

    def snapshot(self) -> Snapshot:
        """All it holds now, for `restore`."""
        return {bucket: dict(there) for bucket, there in self.buckets.items()}

    def restore(self, snapshot: Snapshot) -> None:
        """Fall back to what it held: newer objects are gone, and deleted ones are back.

        Uploads under way are gone too.
        """
        self.buckets = {bucket: dict(there) for bucket, there in snapshot.items()}
        self.uploads.clear()

    # -- inside ---------------------------------------------------------------------------------

    def _bucket(self, bucket: str) -> dict[str, Copy]:
        there = self.buckets.get(bucket)
        if there is None:
            raise NodeRefused(self._node, "no such bucket", 404, "NoSuchBucket")
        return there

    def _upload(self, bucket: str, key: str, upload_id: str) -> Upload:
        self._bucket(bucket)
        upload = self.uploads.get(upload_id)
        if upload is None or (upload.bucket, upload.key) != (bucket, key):
            raise NodeRefused(self._node, "no such upload", 404, "NoSuchUpload")
        return upload

    def _check_digests(self, data: bytes, headers: Headers) -> None:
        claimed = dict(headers)
        md5 = claimed.get(b"content-md5") if self._checks_md5 else None
        if md5 is not None and md5 != b64encode(bytes.fromhex(_md5(data))):
            raise DigestMismatch("the body doesn't have the digest that Content-MD5 says")
        sha256 = claimed.get(b"x-amz-content-sha256") if self._checks_sha256 else None
        if sha256 is not None and sha256 != hashlib.sha256(data).hexdigest().encode("ascii"):
            raise DigestMismatch(
                "the body doesn't have the SHA-256 that the client says",
                "XAmzContentSHA256Mismatch",
            )

    def _order(self, name: str) -> tuple[bytes, ...]:
        if self._tree_order:
            return tuple(_utf8(segment) for segment in name.split("/"))
        return (_utf8(name),)


def _passed(names: Iterable[str], prefix: str, after: str) -> int:
    """How many names stand before the folders that `after` is in, and begin with theirs."""
    passed = 0
    for segment in after[len(prefix) :].split("/")[:-1]:
        folder = f"{prefix}{segment}/"
        passed += sum(each.startswith(folder[:-1]) and each < folder for each in names)
        prefix = folder
    return passed


def _behind(left: Sequence[str], last: str) -> list[str]:
    """Of the names that are left: the first one behind each folder that `last` is in."""
    found: list[str] = []
    folders = last.split("/")[:-1]
    while folders:
        folder = "/".join(folders) + "/"
        found += [each for each in left if each > folder and not each.startswith(folder)][:1]
        folders.pop()
    return sorted(set(found))


def is_beneath(key: str, there: Iterable[str]) -> bool:
    """Whether a folder that the key lies in is itself a key; `a/` isn't beneath `a`."""
    segments = key.removesuffix("/").split("/")
    return any("/".join(segments[:count]) in there for count in range(1, len(segments)))


def _kept(headers: Headers) -> Headers:
    """What is stored of a request's headers."""
    return tuple(
        (name, value)
        for name, value in headers
        if name in KEPT_HEADERS or name.startswith(b"x-amz-meta-")
    )


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _quoted(etag: str) -> str:
    return f'"{etag}"'


def _utf8(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
