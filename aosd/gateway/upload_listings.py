"""What is listed of clients' multipart uploads: a bucket's open ones, and the parts of one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from aosd.gateway.requests import ListedUpload, UploadsPage
from aosd.gateway.store import Store, ask, cluster_error, cluster_errors
from aosd.gateway.upload_ids import ClientUpload, opened_id, sealed_id
from aosd.model.errors import BadRequest, NodeError, NoQuorum, NoSuchUpload
from aosd.model.objects import Part, PartsPage
from aosd.model.stamp import stamp_time_s

_AFTER_ALL = "~"  # sorts above every stamp


async def list_parts(
    store: Store, bucket: str, key: str, upload_id: str, after: int = 0, limit: int = 1000
) -> PartsPage:
    """One page of an upload's parts numbered over `after`, at most `limit` (1 to 1,000).

    Merged from those of its nodes that answer: a part that one of them has is listed, though
    it may lack on others; of several that it was, the one that most have, and then the latest.
    Raises NoSuchUpload, NoSuchBucket, or a ClusterError.
    """
    with cluster_errors():
        upload = opened_id(store, bucket, key, upload_id)
        if store.uploads.is_over(upload.stamp):
            raise NoSuchUpload("it was completed or aborted")
        answers = await ask(
            upload.reachable(store),
            lambda node: node.list_parts(bucket, key, upload.ids[node.name], after, limit),
        )
    pages = [each for each in answers.values() if isinstance(each, PartsPage)]
    if not pages:
        if store.uploads.is_over(upload.stamp):
            raise NoSuchUpload("it was completed or aborted")  # while they were asked
        raise not_open(store, upload, answers.values())
    return _merged(pages, limit)


def not_open(store: Store, upload: ClientUpload, answers: Iterable[object]) -> Exception:
    """Why no node of an upload listed its parts: none has it open, or that can't be known."""
    answers = list(answers)
    unknown = [each for each in answers if isinstance(each, NoSuchUpload)]
    if len(unknown) == len(upload.members(store)):
        return NoSuchUpload("no node has it open")
    for each in answers:
        if isinstance(each, NodeError):
            return cluster_error(each)
    return NoQuorum("the nodes that may have the upload are away")


def _merged(pages: Sequence[PartsPage], limit: int) -> PartsPage:
    # A page that goes on says nothing of what is after it.
    ends = [page.parts[-1].number for page in pages if page.truncated and page.parts]
    found: defaultdict[int, list[Part]] = defaultdict(list)
    for page in pages:
        for part in page.parts:
            if not ends or part.number <= min(ends):
                found[part.number].append(part)
    parts = [_likeliest(found[number]) for number in sorted(found)]
    return PartsPage(tuple(parts[:limit]), truncated=bool(ends) or len(parts) > limit)


def _likeliest(parts: Sequence[Part]) -> Part:
    counts = Counter(each.etag for each in parts)
    return max(parts, key=lambda each: (counts[each.etag], each.modified_s, each.etag))


async def list_uploads(
    store: Store,
    bucket: str,
    prefix: str = "",
    key_marker: str = "",
    id_marker: str = "",
    delimiter: str = "",
    limit: int = 1000,
) -> UploadsPage:
    """One page of the open uploads of keys that start with `prefix`; no node is asked.

    Those of keys after `key_marker`, and with `id_marker` (an upload's id, of that key) those
    of it that began later. `limit` is 1 to 1,000, for uploads and common prefixes together. One
    that its nodes have forgotten (MinIO does after a day) is listed until it is aborted, or a
    week old. Raises NoSuchBucket, BadRequest, or NoNodes.
    """
    store.members()
    born = store.buckets.check(bucket).born
    last = (_utf8(key_marker), _AFTER_ALL)
    if key_marker and id_marker:
        last = (last[0], _stamp_of(store, bucket, key_marker, id_marker))
    found = sorted(
        (
            each
            for each in store.uploads.of_clients(bucket)
            if each.key.startswith(prefix) and each.id >= born
        ),
        key=lambda each: (_utf8(each.key), each.id),
    )
    page: list[ListedUpload] = []
    prefixes: list[str] = []
    last_key = last_id = ""
    for each in found:
        folder = _folder(each.key, prefix, delimiter)
        passed = key_marker and (_utf8(each.key), each.id) <= last
        if passed or (folder and (folder == key_marker or folder in prefixes[-1:])):
            continue
        if len(page) + len(prefixes) == limit:
            return UploadsPage(tuple(page), tuple(prefixes), True, last_key, last_id)
        if folder:
            prefixes.append(folder)
            last_key, last_id = folder, ""
        else:
            last_key, last_id = each.key, sealed_id(store, each)
            page.append(ListedUpload(each.key, last_id, stamp_time_s(each.id)))
    return UploadsPage(tuple(page), tuple(prefixes))


def _folder(key: str, prefix: str, delimiter: str) -> str:
    """The common prefix that a key is listed under; "" for none."""
    if not delimiter:
        return ""
    name, found, _ = key[len(prefix) :].partition(delimiter)
    return prefix + name + delimiter if found else ""


def _stamp_of(store: Store, bucket: str, key: str, upload_id: str) -> str:
    try:
        return opened_id(store, bucket, key, upload_id).stamp
    except NoSuchUpload as error:
        raise BadRequest("the upload id marker is none of that key", "InvalidArgument") from error


def _utf8(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
