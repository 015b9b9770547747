"""Copies, and changes of tags, that clients of the simulated store make."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from aosd.gateway.copy import copy
from aosd.gateway.requests import Copy
from aosd.gateway.rewrite import rewrite
from aosd.model.conditions import Conditions
from aosd.model.errors import KeyConflict, NoSuchBucket, NoSuchKey, PreconditionFailed
from aosd.model.objects import Headers
from aosd.testing.simulation.operations import TAGS, Operation
from aosd.testing.simulation.paths import bucket_of, split
from aosd.testing.simulation.reference import Outcome, PromiseBroken, Value, Write

if TYPE_CHECKING:
    from aosd.testing.simulation.world import World


class _FromSource(Operation):
    """Reads an object, of the ETag that one of its versions had."""

    def __init__(self, world: World, source: Write, target: str) -> None:
        super().__init__(world, bucket_of(target))
        assert source.value is not None and source.etag
        self.source = source
        self.target = target
        self._read = world.reference.read_began()

    def _request(self, headers: Headers | None, own: Headers) -> Coroutine[Any, Any, Any]:
        request = Copy(
            *split(self.source.key),
            *split(self.target),
            source_conditions=Conditions(if_match=self.source.etag),
            headers=headers,
            own=own,
        )
        return copy(self._gateway.store, request)

    def _found_bucket(self, value: Value) -> None:
        """It is of two buckets, and only an acknowledgement says something of both."""
        if value is not None:
            super()._found_bucket(value)

    def _was_there(self) -> None:
        """It was acknowledged: the source was that version at some time meanwhile."""
        reference, source = self._world.reference, self.source
        began_s = reference.read_ended(self._read)
        possible = reference.may_be(source.key, began_s)
        if not any(each.value == source.value for each in possible):
            raise PromiseBroken(f"{self.what} copied {source}, but it may be {possible}")

    def _was_not(self, error: BaseException | None) -> None:
        """It failed; if for want of that version, that may be another one, or none."""
        reference, source = self._world.reference, self.source
        began_s = reference.read_ended(self._read)
        if isinstance(error, NoSuchKey | PreconditionFailed):
            possible = reference.may_be(source.key, began_s)
            if all(each.value == source.value and each.etag == source.etag for each in possible):
                raise PromiseBroken(f"{self.what}: {error}, but it may be {possible}")


class Copying(_FromSource):
    """CopyObject onto another key, with tags of its own."""

    def __init__(self, world: World, source: Write, target: str, tags: bytes) -> None:
        super().__init__(world, source, target)
        self._tags = tags
        self.write = world.reference.began(target, source.value, tags=tags)
        self.what = f"COPY #{self.write.number} {source} to {target}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        return self._request(None, ((TAGS, self._tags),))

    def _done(self, result: Any) -> str:
        world = self._world
        self._was_there()
        world.promise.acknowledged(self, self.write.began_s)
        world.reference.ended(self.write, Outcome.ACKNOWLEDGED, result.etag)
        world.promise.stands(self.write, self.what)
        world.tally["object copied"] += 1
        return f"acknowledged {result.etag[:8]}"

    def _failed(self, error: BaseException | None) -> None:
        self._was_not(error)
        never = isinstance(error, NoSuchKey | PreconditionFailed | NoSuchBucket | KeyConflict)
        if isinstance(error, KeyConflict):
            self._world.promise.conflicted(self.target, error.code, self.write.began_s, self.what)
        outcome = Outcome.NEVER if never else Outcome.UNKNOWN
        self._world.reference.ended(self.write, outcome, gone=self._left)


class Touching(_FromSource):
    """CopyObject onto itself, with other metadata: no other bytes, whatever comes between.

    Its bytes are no write, for those who read: they are that version's, or it didn't happen.
    """

    def __init__(self, world: World, source: Write) -> None:
        super().__init__(world, source, source.key)
        self.what = f"TOUCH {source}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        return self._request(((b"x-amz-meta-touched", b"yes"),), ())

    def _done(self, result: Any) -> str:
        self._was_there()
        if result.etag != self.source.etag:
            raise PromiseBroken(f"{self.what} made {result.etag}")
        self._world.tally["object copied onto itself"] += 1
        return "acknowledged"

    def _failed(self, error: BaseException | None) -> None:
        self._was_not(error)


class Tagging(Operation):
    """PutObjectTagging: the same bytes again, as they are then."""

    def __init__(self, world: World, path: str, tags: bytes) -> None:
        super().__init__(world, bucket_of(path))
        self.path = path
        self._tags = tags
        self._read = world.reference.read_began()
        self.write = world.tags.began(path, tags)
        self.what = f"TAG #{self.write.number} {path} {tags!r}"

    def _run(self) -> Coroutine[Any, Any, Any]:
        own = ((TAGS, self._tags),)
        return rewrite(self._gateway.store, *split(self.path), lambda head: own)

    def _done(self, result: Any) -> str:
        world = self._world
        began_s = world.reference.read_ended(self._read)
        possible = world.reference.may_be(self.path, began_s)
        known = all(each.etag for each in possible if each.value is not None)
        if known and result.etag not in {each.etag for each in possible}:
            raise PromiseBroken(f"{self.what} made {result.etag} of {possible}")
        world.tags.ended(self.write, Outcome.ACKNOWLEDGED)
        world.tally["object tagged"] += 1
        return "acknowledged"

    def _failed(self, error: BaseException | None) -> None:
        world = self._world
        began_s = world.reference.read_ended(self._read)
        if isinstance(error, NoSuchKey | NoSuchBucket):
            world.reference.found(self.path, None, began_s, self.what)
        never = isinstance(error, NoSuchKey | NoSuchBucket | KeyConflict)
        outcome = Outcome.NEVER if never else Outcome.UNKNOWN
        world.tags.ended(self.write, outcome, gone=self._left)
