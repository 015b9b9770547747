"""Clients' multipart uploads in the simulated store, and what clients do with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aosd.gateway.multipart import (
    abort_upload,
    complete_upload,
    create_upload,
    list_parts,
    list_uploads,
    put_part,
)
from aosd.gateway.requests import Complete, Create, PutPart
from aosd.gateway.upload_ids import opened_id
from aosd.model.errors import BadRequest, KeyConflict, NoSuchBucket, NoSuchUpload
from aosd.model.parts import etag_of_parts
from aosd.testing.simulation.client import SlowBody
from aosd.testing.simulation.operations import Operation
from aosd.testing.simulation.paths import bucket_of, split
from aosd.testing.simulation.reference import Outcome, PromiseBroken, Value

if TYPE_CHECKING:
    from aosd.testing.simulation.gateway import Gateway
    from aosd.testing.simulation.world import World

_OLD_S = 6.9 * 86400.0  # it is aborted after seven days, by a clock that may be off


@dataclass(eq=False)
class ClientUpload:
    """An upload as its client knows it.

    `ids` are the nodes' ids of it, by node name. `parts` are those that were acknowledged, by
    number, each with its ETag and bytes; of `unsure` numbers another part may be there. `ending`
    says that somebody tried to complete or to abort it, `over` that this was acknowledged
    ("completed" or "aborted") by `over_run`, the last time at `over_s`. `sent` counts how often
    a part was sent; `etag`, `completed` and `value` are what it was completed of, and is.
    """

    path: str
    id: str
    ids: dict[str, str]
    began_s: float
    run: Gateway
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    unsure: set[int] = field(default_factory=set)
    sent: Counter[int] = field(default_factory=Counter)
    ending: bool = False
    over: str = ""
    over_run: Gateway | None = None
    over_s: float = 0.0
    etag: str = ""
    completed: tuple[tuple[int, str], ...] = ()
    value: Value = None

    def may_be_gone(self, world: World) -> bool:
        """Whether a node, or all, may know nothing of it any more, and rightly so."""
        return (
            self.ending
            or any(node.shifted_s >= self.began_s for node in world.machines.values())
            or world.clock.seconds() - self.began_s > _OLD_S
            or world.bucket_touched_s.get(bucket_of(self.path), 0.0) >= self.began_s
        )


class _OfUpload(Operation):
    expected = (NoSuchUpload, *Operation.expected)

    def __init__(self, world: World, upload: ClientUpload) -> None:
        super().__init__(world, bucket_of(upload.path))
        self.upload = upload
        self._was_over = upload.over

    def _refused(self, error: BaseException | None) -> None:
        """It wasn't done for want of the upload: rightly so, or the promise is broken."""
        if isinstance(error, NoSuchUpload):
            if not self.upload.may_be_gone(self._world):
                raise PromiseBroken(f"{self.what}: {error}, and nothing has happened to it")
            self._world.tally["upload unknown"] += 1


class Beginning(Operation):
    """CreateMultipartUpload."""

    def __init__(self, world: World, path: str) -> None:
        super().__init__(world, bucket_of(path))
        self.path = path
        self.upload: ClientUpload | None = None
        self._began_s = world.clock.seconds()
        self.what = f"BEGIN {path}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        return create_upload(self._gateway.store, Create(*split(self.path)))

    def _done(self, result: Any) -> str:
        ids: dict[str, str] = {}
        # While its bucket is being deleted an id tells nothing.
        with suppress(KeyConflict, NoSuchBucket):
            ids |= opened_id(self._gateway.store, *split(self.path), result).ids
        self.upload = ClientUpload(self.path, result, ids, self._began_s, self._gateway)
        self._world.uploads.append(self.upload)
        self._world.tally["upload begun"] += 1
        return f"on {self.upload.ids}"

    def _failed(self, error: BaseException | None) -> None:
        if isinstance(error, KeyConflict):
            self._world.promise.conflicted(self.path, error.code, self._began_s, self.what)


class SendingPart(_OfUpload):
    """UploadPart."""

    expected = (BadRequest, *_OfUpload.expected)

    def __init__(
        self,
        world: World,
        upload: ClientUpload,
        number: int,
        data: bytes,
        *,
        told: bool = True,
        gap_s: float = 0.0,
        gone_at: int | None = None,
    ) -> None:
        super().__init__(world, upload)
        self.number = number
        self.data = data
        upload.unsure.add(number)
        upload.sent[number] += 1
        self._cut = gone_at is not None
        self._body = SlowBody(
            world.clock,
            lambda: self._gateway.lives,
            data,
            gap_s=gap_s,
            told=told,
            gone_at=gone_at,
        )
        self.what = f"PART {number} of {upload.path} {data[:8]!r} {len(data)}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        request = PutPart(*split(self.upload.path), self.upload.id, self.number, self._body)
        return put_part(self._gateway.store, request)

    def _done(self, result: Any) -> str:
        if self._cut:
            raise PromiseBroken(f"{self.what} was acknowledged without its end")
        if self._was_over:
            raise PromiseBroken(f"{self.what} was taken, of an upload that is over")
        self.upload.parts[self.number] = (result.etag, self.data)
        if self.upload.sent[self.number] == 1:
            self.upload.unsure.discard(self.number)
        self._world.tally["part taken"] += 1
        return f"acknowledged {result.etag[:8]}"

    def _failed(self, error: BaseException | None) -> None:
        self._refused(error)


class Completing(_OfUpload):
    """CompleteMultipartUpload, of all parts that are acknowledged."""

    expected = (BadRequest, *_OfUpload.expected)

    def __init__(self, world: World, upload: ClientUpload) -> None:
        super().__init__(world, upload)
        self._parts = dict(sorted(upload.parts.items()))
        self._unsure = bool(upload.unsure & self._parts.keys()) or upload.may_be_gone(world)
        self._told = tuple((number, etag) for number, (etag, _) in self._parts.items())
        upload.ending = True
        value = b"".join(data for _, data in self._parts.values())
        self.write = world.reference.began(upload.path, value)
        self.what = f"COMPLETE #{self.write.number} {upload.path} of {list(self._parts)}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        request = Complete(*split(self.upload.path), self.upload.id, self._told)
        return complete_upload(self._gateway.store, request)

    def _done(self, result: Any) -> str:
        upload, world = self.upload, self._world
        if result.etag != etag_of_parts([etag for etag, _ in self._parts.values()]):
            raise PromiseBroken(f"{self.what} made {result.etag} of {self._parts}")
        if self._was_over == "aborted":
            raise PromiseBroken(f"{self.what} was taken, of an upload that was aborted")
        if upload.etag not in ("", result.etag):
            raise PromiseBroken(f"{self.what}: it was completed of other parts before")
        upload.over, upload.over_run, upload.etag = "completed", self._gateway, result.etag
        upload.over_s = world.clock.seconds()
        upload.completed, upload.value = self._told, self.write.value
        world.promise.acknowledged(self, self.write.began_s)
        world.reference.ended(self.write, Outcome.ACKNOWLEDGED, result.etag)
        world.promise.stands(self.write, self.what)
        world.tally["upload completed"] += 1
        return f"acknowledged {result.etag[:8]}"

    def _failed(self, error: BaseException | None) -> None:
        reference = self._world.reference
        if isinstance(error, KeyConflict):
            path, began_s = self.upload.path, self.write.began_s
            self._world.promise.conflicted(path, error.code, began_s, self.what)
        if isinstance(error, NoSuchUpload | BadRequest):
            # Of itself it says that somebody has tried to end it.
            lost = any(
                node.shifted_s >= self.upload.began_s for node in self._world.machines.values()
            )
            if (
                not self._unsure
                and not lost
                and self.upload.run is self._gateway
                and not self._left
            ):
                raise PromiseBroken(f"{self.what}: {error}, and nothing has happened to it")
        never = isinstance(error, NoSuchUpload | BadRequest | KeyConflict | NoSuchBucket)
        outcome = Outcome.NEVER if never else Outcome.UNKNOWN
        reference.ended(self.write, outcome, gone=self._left)


class Repeating(_OfUpload):
    """CompleteMultipartUpload once more, of one that this run has acknowledged: no write."""

    def __init__(self, world: World, upload: ClientUpload) -> None:
        super().__init__(world, upload)
        self._read = world.reference.read_began()
        self.what = f"COMPLETE {upload.path} again"

    def _run(self) -> Coroutine[Any, Any, Any]:
        request = Complete(*split(self.upload.path), self.upload.id, self.upload.completed)
        return complete_upload(self._gateway.store, request)

    def _done(self, result: Any) -> str:
        began_s = self._world.reference.read_ended(self._read)
        path, value = self.upload.path, self.upload.value
        self._world.reference.found(path, value, began_s, self.what)
        self._world.tally["repeated Complete acknowledged"] += 1
        return f"acknowledged {result.etag[:8]}"

    def _failed(self, error: BaseException | None) -> None:
        self._world.reference.read_ended(self._read)


class Aborting(_OfUpload):
    """AbortMultipartUpload."""

    def __init__(self, world: World, upload: ClientUpload) -> None:
        super().__init__(world, upload)
        self._gone = upload.may_be_gone(world)
        upload.ending = True
        self.what = f"ABORT {upload.path}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        return abort_upload(self._gateway.store, *split(self.upload.path), self.upload.id)

    def _done(self, result: Any) -> str:
        self.upload.over = self.upload.over or "aborted"
        self.upload.over_run, self.upload.over_s = self._gateway, self._world.clock.seconds()
        self._world.tally["upload aborted"] += 1
        return "acknowledged"

    def _failed(self, error: BaseException | None) -> None:
        if isinstance(error, NoSuchUpload) and not self._gone:
            self._refused(error)


class ListingParts(_OfUpload):
    """ListParts: none but those that were sent."""

    def __init__(self, world: World, upload: ClientUpload) -> None:
        super().__init__(world, upload)
        self.what = f"PARTS of {upload.path}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        return list_parts(
            self._gateway.store, *split(self.upload.path), self.upload.id, after=0, limit=1000
        )

    def _done(self, result: Any) -> str:
        numbers = {part.number for part in result.parts}
        if strangers := numbers - self.upload.parts.keys() - self.upload.unsure:
            raise PromiseBroken(f"{self.what}: nobody sent {strangers}")
        return f"{sorted(numbers)}"

    def _failed(self, error: BaseException | None) -> None:
        self._refused(error)


class ListingUploads(Operation):
    """ListMultipartUploads: none that was over when it began, by this run.

    A node that was away when one ended may remember it as open, and the next run with it.
    """

    def __init__(self, world: World, bucket: str) -> None:
        super().__init__(world, bucket)
        self._over = {each.id for each in world.uploads if each.over_run is self._gateway}
        self.what = f"UPLOADS of {bucket}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        return list_uploads(
            self._gateway.store,
            self.bucket,
            prefix="",
            key_marker="",
            id_marker="",
            delimiter="",
            limit=1000,
        )

    def _done(self, result: Any) -> str:
        listed = {each.upload_id for each in result.uploads}
        if over := listed & self._over:
            raise PromiseBroken(f"{self.what} has {len(over)} that are over")
        return f"{[each.key for each in result.uploads]}"
