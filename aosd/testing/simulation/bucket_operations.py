"""What clients of the simulated store do with buckets: make, delete and list them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from aosd.gateway.buckets import buckets, create_bucket, delete_bucket
from aosd.gateway.list import list_objects
from aosd.model.errors import (
    BucketExists,
    BucketNotEmpty,
    KeyConflict,
    NoSuchBucket,
)
from aosd.model.objects import OBJECT_BUCKET
from aosd.testing.simulation.operations import Operation
from aosd.testing.simulation.paths import bucket_of, joined
from aosd.testing.simulation.reference import Outcome, PromiseBroken, Value, Write
from aosd.testing.simulation.weather import MOST_STALE_S

if TYPE_CHECKING:
    from aosd.testing.simulation.world import World


class _Changing(Operation):
    """The bucket becomes another one, or none: whatever is in it is gone then.

    So an acknowledged one is a delete of all its objects, each of which may be gone already.
    One that wasn't acknowledged removes nothing that wasn't.
    """

    value: Value

    def __init__(self, world: World, bucket: str) -> None:
        super().__init__(world, bucket)
        reference = world.reference
        world.bucket_touched_s[bucket] = world.clock.seconds()
        self.write = world.buckets.began(bucket, self.value)
        self._emptied: list[Write] = [
            reference.began(key, None) for key in reference.keys if bucket_of(key) == bucket
        ]

    def _found_bucket(self, value: Value) -> None:
        """What it was answered says more."""

    def _acknowledged(self, since_s: float) -> None:
        """Nothing that must be there has been in it at any time since then."""
        reference = self._world.reference
        for write in self._emptied:
            possible = [each for each in reference.may_be(write.key, since_s) if each is not write]
            if not any(each.value is None for each in possible):
                raise PromiseBroken(f"{self.what} was acknowledged with {possible} in it")
            reference.ended(write, Outcome.ACKNOWLEDGED)
        since = {each.key for each in self._emptied}
        for key in reference.keys:
            if bucket_of(key) != self.bucket or key in since:
                continue
            if not any(each.value is None for each in reference.may_be(key, since_s)):
                raise PromiseBroken(f"{self.what} was acknowledged with {key} in it")
        self._world.buckets.ended(self.write, Outcome.ACKNOWLEDGED)
        self._world.bucket_touched_s[self.bucket] = self._world.clock.seconds()

    def _may_be(self, outcome: Outcome) -> None:
        self._world.bucket_touched_s[self.bucket] = self._world.clock.seconds()
        for write in self._emptied:
            self._world.reference.ended(write, Outcome.NEVER)
        self._world.buckets.ended(self.write, outcome, gone=self._left)


class Making(_Changing):
    """CreateBucket."""

    expected = (BucketExists, KeyConflict, *Operation.expected)
    value = b""

    def __init__(self, world: World, bucket: str) -> None:
        super().__init__(world, bucket)
        self.what = f"MAKE #{self.write.number} {bucket}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        return create_bucket(self._gateway.store, self.bucket)

    def _done(self, result: Any) -> str:
        self._acknowledged(self.write.began_s)
        self._world.tally["bucket made"] += 1
        return "acknowledged"

    def _failed(self, error: BaseException | None) -> None:
        if isinstance(error, BucketExists):
            super()._found_bucket(b"")
        never = isinstance(error, BucketExists | KeyConflict)
        self._may_be(Outcome.NEVER if never else Outcome.UNKNOWN)
        if isinstance(error, KeyConflict):
            self._world.tally["bucket not made yet"] += 1


class Removing(_Changing):
    """DeleteBucket. One that isn't acknowledged may be carried out later, while it is empty."""

    expected = (BucketNotEmpty, *Operation.expected)
    value = None

    def __init__(self, world: World, bucket: str) -> None:
        super().__init__(world, bucket)
        self.what = f"REMOVE #{self.write.number} {bucket}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        return delete_bucket(self._gateway.store, self.bucket)

    def _done(self, result: Any) -> str:
        # What was acknowledged while this went on, found the bucket closed or closed it.
        self._acknowledged(self._world.clock.seconds())
        self._world.tally["bucket deleted"] += 1
        return "acknowledged"

    def _failed(self, error: BaseException | None) -> None:
        if isinstance(error, BucketNotEmpty):
            super()._found_bucket(b"")
            if not self._world.promise.may_have_objects(self.bucket, self.write.began_s):
                raise PromiseBroken(f"{self.what}: {error}, but it is empty")
            self._world.tally["bucket not empty"] += 1
        never = isinstance(error, NoSuchBucket)
        if never:
            super()._found_bucket(None)
        self._may_be(Outcome.NEVER if never else Outcome.UNKNOWN)


class Listing(Operation):
    """All pages of a listing of one level of the tree: what is under `prefix`, and no deeper.

    By an odd limit all keys are listed, and what is deeper is left out afterwards.
    """

    def __init__(
        self, world: World, limit: int, prefix: str = "", bucket: str = OBJECT_BUCKET
    ) -> None:
        super().__init__(world, bucket)
        self._limit = limit
        self._prefix = prefix
        # It may show what was so some seconds ago, where nodes do.
        self._read = world.reference.read_began(MOST_STALE_S)
        self.what = f"LIST {joined(bucket, prefix)} by {limit}"

    async def _run(self) -> list[str]:
        def is_of_the_level(key: str) -> bool:
            return "/" not in key.removeprefix(self._prefix)

        flat = self._limit % 2 == 1
        found: list[str] = []
        after, more = "", True
        while more:
            page = await list_objects(
                self._gateway.store,
                self.bucket,
                prefix=self._prefix,
                after=after,
                limit=self._limit,
                delimiter="" if flat else "/",
                wanted=None if flat else is_of_the_level,
            )
            found += [entry.key for entry in page.entries]
            more = page.more
            if more:
                after = found[-1]
        return [key for key in found if is_of_the_level(key)]

    def _done(self, result: Any) -> str:
        self._found(result)
        return f"{result}"

    def _failed(self, error: BaseException | None) -> None:
        if isinstance(error, NoSuchBucket):
            self._found([])
        else:
            self._world.reference.read_ended(self._read)

    def _found(self, keys: list[str]) -> None:
        began_s = self._world.reference.read_ended(self._read) + MOST_STALE_S
        paths = [joined(self.bucket, key) for key in keys]
        self._world.promise.listed(paths, joined(self.bucket, self._prefix), began_s, self.what)


class Buckets(Operation):
    """ListBuckets."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.what = "BUCKETS"

    async def _run(self) -> list[str]:
        return [each.name for each in buckets(self._gateway.store)]

    def _done(self, result: Any) -> str:
        known = self._world.buckets
        if strangers := set(result) - {"object", *known.keys}:
            raise PromiseBroken(f"{self.what}: nobody made {strangers}")
        for name in known.keys:
            value = b"" if name in result else None
            known.found(name, value, self.bucket_began_s, self.what)
        return f"{result}"
