"""The end of a write that some nodes took: copies made up, marks left, the answer."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from aosd.gateway.requests import Written
from aosd.gateway.sent import (
    Sent,
    agreed_etag,
    failure,
    is_enough,
    refused_by_digest,
    remember,
    spares,
)
from aosd.gateway.store import Store
from aosd.model.errors import AosdError, NodeNonsense, NodeUnavailable, NoSuchKey, SlowDown
from aosd.model.objects import ObjectHead
from aosd.model.ring import partition
from aosd.model.stamp import stamp_time_s
from aosd.ports import Candidate, INode

_TRIES = 3  # of a copy, while the key changes meanwhile


class Finishing:
    """Of one write, of which `sent` says who has it; stamps are those that its copies carry."""

    def __init__(self, store: Store, bucket: str, key: str, sent: Sent) -> None:
        self._store = store
        self._bucket = bucket
        self._key = key
        self._sent = sent

    def go_on(self, stamp: str, length: int) -> Deferred[Written | AosdError]:
        """Make up what is missing, after the turn; owned by nobody's request.

        Who has the turn next must not take one of the nodes that lack it at its word.
        """
        number = partition(self._bucket, self._key)
        self._store.settledness.hold(number)
        return self._store.to_the_end.run(self._made_up(stamp, length, number))

    async def written(self, stamp: str, size_bytes: int) -> Written:
        """The end of every way: marks, then the answer."""
        store, bucket, key, sent = self._store, self._bucket, self._key, self._sent
        enough = is_enough(store, bucket, key, set(sent.etags)) and not sent.differs
        stamp = store.journal.counts_as(bucket, key, stamp)
        await remember(store, bucket, key, stamp, sent, written=enough)
        if refused := refused_by_digest(sent):
            raise refused
        if not enough and not sent.differs:
            raise failure(sent, "too few nodes took it")
        return Written(agreed_etag(sent), size_bytes, stamp_time_s(stamp))

    async def _made_up(self, stamp: str, length: int, number: int) -> Written | AosdError:
        """As `_make_up`, whose failure is returned: there may be nobody left to raise it to."""
        try:
            with self._store.writes.begun.under_way():
                return await self._make_up(stamp, length)
        except AosdError as error:
            return error
        finally:
            self._store.settledness.release(number)

    async def _make_up(self, stamp: str, length: int) -> Written:
        """Copy what too few nodes have to those that stand in, before the answer."""
        store, bucket, key, sent = self._store, self._bucket, self._key, self._sent
        while sent.etags and (asked := spares(store, bucket, key, sent)):
            for candidate in asked:
                outcome = await self._copied(candidate, stamp)
                sent.answered(candidate.name, outcome)
                if isinstance(outcome, SlowDown):
                    # Where one's turn came too late, the next one's would.
                    return await self.written(stamp, length)
        return await self.written(stamp, length)

    async def _copied(self, target: Candidate, stamp: str) -> str | Exception:
        """Copy what some of the nodes took to `target`; the ETag, or why that can't be."""
        store, sent = self._store, self._sent
        # The nodes of an upload may be none that could hold the key any more.
        have = [each for each in store.members() if each.name in sent.etags]
        error: Exception = NodeNonsense(target.name, "nobody is left to copy from")
        for source in store.preferred(have):
            assert source.node is not None and target.node is not None
            try:
                if await self._copy(source.node, target.node, stamp):
                    return sent.etags[source.name]
                error = NodeUnavailable(source.name, "what it took is there no more")
            except AosdError as failed:
                error = failed  # a node's, or that the key's turn came too late
        return error

    async def _copy(self, source: INode, target: INode, stamp: str) -> bool:
        """Whether `target` has this write now, or something newer, which counts for it too."""
        store, bucket, key = self._store, self._bucket, self._key
        head: ObjectHead | None = None
        for _ in range(_TRIES):
            head = await self._at_least(source, stamp)
            if head is None:
                break
            if await store.copying.copy(source, target, bucket, key, head):
                return True
            if await self._at_least(target, stamp) is not None:
                return True
            # Something took effect meanwhile: another Complete of the same upload, say.
        if (store.journal.delete_of(bucket, key) or "") > store.journal.counts_as(
            bucket, key, stamp
        ):
            return True
        if head is None:
            # It lost power, with all that it had acknowledged a moment before.
            lost = NodeUnavailable(source.name, "what it took is there no more")
            self._sent.answered(source.name, lost)
        return False

    async def _at_least(self, node: INode, stamp: str) -> ObjectHead | None:
        """What the node has, if that is this write or a newer one."""
        store, bucket, key = self._store, self._bucket, self._key
        try:
            head = await node.head(bucket, key)
        except NoSuchKey:
            return None
        found = store.version(bucket, key, head)
        return head if found.stamp >= store.journal.counts_as(bucket, key, stamp) else None


def written_of(outcome: Written | AosdError) -> Written:
    """What `Finishing.go_on` fired with, as a return or a raise."""
    if isinstance(outcome, AosdError):
        raise outcome
    return outcome
