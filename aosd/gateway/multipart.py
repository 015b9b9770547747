"""Clients' multipart uploads: begun, aborted; the rest of them is in the rooms beside.

A gateway keeps nothing that is needed between two requests: an upload id holds the stamp and
the nodes' own ids (see `upload_ids`), and what was begun stands in the cluster's memory.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from aosd.gateway.completing import complete_upload
from aosd.gateway.put import check_headers
from aosd.gateway.requests import Create
from aosd.gateway.sent import Sent, check_taken, failure, is_enough, standbys, targets
from aosd.gateway.store import Store, ask, cluster_errors
from aosd.gateway.upload_ids import ClientUpload, opened_id, sealed_id
from aosd.gateway.upload_listings import list_parts, list_uploads
from aosd.gateway.upload_parts import copy_part, put_part
from aosd.model.errors import NoQuorum, NoSuchUpload
from aosd.model.names import check_folder
from aosd.model.objects import STAMP_HEADER
from aosd.ports import Candidate, INode


async def create_upload(store: Store, request: Create) -> str:
    """Begin an upload; its id, for which R nodes at least have begun it.

    R - 1 more begin it where there are so many: its nodes can't be changed later, and so it
    goes on, with R copies of each part, when R - 1 of them are lost. The object that it becomes
    has the stamp of now, or what that counts as then.

    Raises BadRequest, NoSuchBucket, or a ClusterError. Cancelling doesn't end it: it is open
    then, and found by who lists uploads.
    """
    check_headers(request.headers, request.own)
    check_folder(request.key, None)
    with cluster_errors():
        while True:
            rings = _orders(store, request)
            try:
                return await _begin(store, request)
            except NoQuorum:
                if rings == _orders(store, request):
                    raise
                # It began on the nodes of a ring that another one has joined, or followed.


async def _begin(store: Store, request: Create) -> str:
    store.buckets.check(request.bucket)
    check_taken(store)
    nodes = targets(store, request.bucket, request.key)
    names = {each.name for each in nodes}
    more = standbys(store, request.bucket, request.key, names, store.replicas - 1)
    return await store.to_the_end.run(_create(store, request, [*nodes, *more]))


def _orders(store: Store, request: Create) -> list[list[str]]:
    orders = store.orders(request.bucket, request.key)
    return [[each.name for each in order] for order in orders]


async def _create(store: Store, request: Create, nodes: list[Candidate]) -> str:
    uploads, stamp, sent = store.uploads, store.stamps.next(), Sent()
    headers = (*request.headers, *request.own, (STAMP_HEADER, stamp.encode("ascii")))
    names = [each.name for each in nodes]
    await uploads.begin(stamp, request.bucket, request.key, names, client=True)

    def create(node: INode) -> Deferred[str]:
        return Deferred.fromCoroutine(uploads.create(stamp, node, headers))

    for name, answer in (await ask(nodes, create)).items():
        sent.answered(name, answer)
    if not is_enough(store, request.bucket, request.key, set(sent.etags)):
        await _end(store, stamp, nodes)
        raise failure(sent, "too few nodes began the upload")
    return sealed_id(store, await uploads.begun(stamp))


async def abort_upload(store: Store, bucket: str, key: str, upload_id: str) -> None:
    """Let all its nodes forget it, at the key's turn; who is away is told when it is back.

    Raises NoSuchUpload when nobody knows it, completed ones too; NoSuchBucket, or a
    ClusterError, also when some node is away and too few others can remember that it is over.
    """
    with cluster_errors():
        upload = opened_id(store, bucket, key, upload_id)
        check_taken(store)
        await store.turns.take(bucket, key, lambda: _abort(store, upload))


async def _abort(store: Store, upload: ClientUpload) -> None:
    uploads, stamp, nodes = store.uploads, upload.stamp, upload.reachable(store)
    if uploads.is_over(stamp) and not uploads.is_unremembered(stamp):
        raise NoSuchUpload("it was completed or aborted")
    if not uploads.knows(stamp) and not uploads.is_unremembered(stamp):
        answers = await ask(
            nodes,
            lambda node: node.list_parts(upload.bucket, upload.key, upload.ids[node.name], 0, 1),
        )
        unknown = [isinstance(each, NoSuchUpload) for each in answers.values()]
        if all(unknown) and len(unknown) == len(upload.members(store)):
            raise NoSuchUpload("no node has it open")
        if all(unknown):
            raise NoQuorum("the nodes that may have it open are away")
    uploads.adopt(stamp, upload.bucket, upload.key, upload.ids)
    await _end(store, stamp, nodes, surely=True)


async def _end(store: Store, stamp: str, nodes: list[Candidate], *, surely: bool = False) -> None:
    uploads = store.uploads
    with uploads.ending(stamp):
        await ask(nodes, lambda node: uploads.abort(stamp, node))
        await uploads.over(stamp, surely=surely)


__all__ = [
    "abort_upload",
    "complete_upload",
    "copy_part",
    "create_upload",
    "list_parts",
    "list_uploads",
    "put_part",
]
