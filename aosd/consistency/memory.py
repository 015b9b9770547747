"""The cluster's memory: small records in the bucket `aos-system`, on every node."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IConsumer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.consistency.to_the_end import ToTheEnd
from aosd.model.errors import AosdError, NodeError, NodeRefused, NoQuorum, NoSuchKey
from aosd.model.node import NodeState
from aosd.model.objects import SYSTEM_BUCKET, Headers, Page
from aosd.model.quorum import memory_acks
from aosd.ports import Candidate, INode
from aosd.streams.bodies import HeldBody

T = TypeVar("T")

_AT_ONCE = 16
_PAGE_KEYS = 1000
_MOST_LEFTOVERS = 100_000
_HEADERS: Headers = ((b"content-type", b"application/json"),)


class Memory:
    """Writes records to all nodes that can be asked, and reads them from one.

    Keys are those inside `aos-system`. `members` gives all members as they are now. A
    request without an answer may take effect for `late_write_window_s`, by `seconds`: time
    that never goes back.
    """

    _log = Logger()

    def __init__(
        self,
        members: Callable[[], Sequence[Candidate]],
        replicas: int,
        to_the_end: ToTheEnd,
        seconds: Callable[[], float],
        late_write_window_s: float,
    ) -> None:
        self._members = members
        self._replicas = replicas
        self._to_the_end = to_the_end
        self._seconds = seconds
        self._late_write_window_s = late_write_window_s
        # Records, as (node, key), whose PUTs got no answer yet, and when those were sent.
        self._unanswered: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        # Those to be removed once more, and when.
        self._leftovers: dict[tuple[str, str], float] = {}

    @property
    def acks(self) -> int:
        """How many nodes must have a record."""
        return self.acks_of(len(self._members()))

    def acks_of(self, members: int) -> int:
        """How many would have to, of so many members."""
        return memory_acks(self._replicas, members)

    @property
    def everyone(self) -> set[str]:
        """The names of all members, whether they can be asked or not."""
        return {each.name for each in self._members()}

    def nodes(self) -> list[INode]:
        """The nodes that can be asked now."""
        return [each.node for each in self._members() if each.node is not None]

    def check(self) -> None:
        """Raise NoQuorum when so few nodes can be asked that no record would stand."""
        nodes, wanted = self.nodes(), self.acks
        if not self._members() or len(nodes) < wanted:
            raise NoQuorum(f"{wanted} nodes have to remember it; there are {len(nodes)}")

    async def write(
        self,
        key: str,
        data: bytes,
        ended: Callable[[Collection[str]], object] = lambda without: None,
    ) -> None:
        """Write a record to every node; returns when it stands on enough of them.

        That is R, and two at least where there are two. The others are written to the end,
        whoever waits, and then `ended` is called, with the names of the members that didn't say
        that they have it. Raises NoQuorum when too few took it, after all have answered; it may
        stand on some of them then.
        """
        nodes, wanted = self.nodes(), self.acks
        without = self.everyone
        try:
            self.check()
        except NoQuorum:
            ended(without)
            raise
        enough: Deferred[None] = Deferred()
        writing = self._to_the_end.run(self._write_to(nodes, key, data, wanted, enough, without))
        writing.addCallback(lambda _: ended(without))
        await enough

    async def _write_to(
        self,
        nodes: Sequence[INode],
        key: str,
        data: bytes,
        wanted: int,
        enough: Deferred[None],
        without: set[str],
    ) -> None:
        acks = 0
        errors: list[Exception] = []

        def stands(_: object, name: str) -> None:
            nonlocal acks
            acks += 1
            without.discard(name)
            if acks == wanted and not enough.called:
                enough.callback(None)

        def failed(failure: Failure) -> None:
            if isinstance(failure.value, Exception):
                errors.append(failure.value)
            if failure.check(AosdError) is None:
                self._log.failure("a record couldn't be written", failure)
            else:
                self._log.debug("not remembered: {error}", error=failure.value, key=key)

        await DeferredList(
            [
                self._put(node, key, data).addCallbacks(stands, failed, callbackArgs=(node.name,))
                for node in nodes
            ]
        )
        if acks < wanted and not enough.called:
            why = f": {errors[0]}" if errors else ""
            enough.errback(NoQuorum(f"only {acks} nodes remember it, of {wanted}{why}"))

    def _put(self, node: INode, key: str, data: bytes) -> Deferred[str]:
        """Write a record to one node; it is remembered while that may take effect yet."""
        record, sent_s = (node.name, key), self._seconds()
        self._unanswered[record].append(sent_s)

        def answered(outcome: str | Failure) -> str | Failure:
            certain = not isinstance(outcome, Failure) or outcome.check(NodeRefused)
            waiting = self._unanswered.get(record, [])
            if certain and sent_s in waiting:
                waiting.remove(sent_s)
                if not waiting:
                    del self._unanswered[record]
            return outcome

        body = HeldBody([data] if data else [])  # one each: nodes read it at their own pace
        return node.put(SYSTEM_BUCKET, key, body, _HEADERS).addBoth(answered)

    def may_land(self, prefix: str) -> bool:
        """Whether a record under `prefix` was written, and a node hasn't said that it was."""
        return any(key.startswith(prefix) for _, key in self._unanswered)

    async def remove(self, keys: Iterable[str], *, but_returning: bool = False) -> None:
        """Remove records from every node that can be asked; whoever can't be keeps them.

        Nothing depends on it: who reads a record that was removed elsewhere knows it as old.
        What fails, and what a late PUT may bring back, is left for `tend`; with
        `but_returning` also those of a node that is returning, which are to be read first.
        """
        wanted: list[tuple[INode, str]] = []
        members = self._members()
        for key in keys:
            for each in members:
                unread = but_returning and each.state is NodeState.RETURNING
                if each.node is not None and not unread:
                    wanted.append((each.node, key))
                else:
                    self._leave(each.name, key)
        await self._remove(wanted)

    def maybe_late(self) -> list[tuple[str, str]]:
        """Records, as (node, key), that a late PUT may have put back to what they were.

        Told once, when it can't come any more; of those that weren't removed meanwhile.
        """
        over_s = self._seconds() - self._late_write_window_s
        found = [each for each, sent in self._unanswered.items() if max(sent) < over_s]
        for each in found:
            del self._unanswered[each]
        return [each for each in found if each not in self._leftovers]

    def keep(self, key: str) -> None:
        """It is of use again, for what a node has: it isn't to be removed before `remove`."""
        for each in self._members():
            self._leftovers.pop((each.name, key), None)

    async def tend(self) -> None:
        """Remove once more what was removed in vain, where that can be known by now.

        Not from a node that is returning: what it has is read first.
        """
        now_s = self._seconds()
        read = [each for each in self._members() if each.state is not NodeState.RETURNING]
        asked = {each.name: each.node for each in read}
        due: list[tuple[INode, str]] = []
        for (name, key), due_s in list(self._leftovers.items()):
            if due_s <= now_s and (node := asked.get(name)) is not None:
                del self._leftovers[name, key]
                due.append((node, key))
        await self._remove(due)

    async def _remove(self, wanted: Sequence[tuple[INode, str]]) -> None:
        left = dict.fromkeys(wanted)

        async def remove(each: tuple[INode, str]) -> None:
            node, key = each
            # A PUT on its way may land behind this, and be answered before it.
            overtaken = (node.name, key) in self._unanswered
            try:
                await node.delete(SYSTEM_BUCKET, key)
            except NodeError as error:
                self._log.debug("not removed: {error}", error=error, key=key)
                self._leave(node.name, key)
            else:
                if overtaken:
                    self._leave(node.name, key)
            del left[each]

        try:
            await _all(list(left), remove)
        except CancelledError:
            for node, key in left:
                self._leave(node.name, key)
            raise

    def _leave(self, node: str, key: str) -> None:
        """Whoever starts after us reads it, and removes it: it may be forgotten here."""
        if len(self._leftovers) < _MOST_LEFTOVERS:
            late = (node, key) in self._unanswered
            due_s = self._seconds() + (self._late_write_window_s if late else 0.0)
            self._leftovers[node, key] = due_s

    async def names(self, node: INode, prefix: str) -> set[str]:
        """The keys under `prefix` on one node. Raises NodeError.

        Asked for page by page, whatever folders they lie in: with a request a folder, many
        marks would take many minutes. That needs the node's order to be S3's, and what is
        kept here is named so that every server's is; when one isn't, folder by folder.
        """
        found: set[str] = set()
        after, more = "", True
        while more:
            page = await self._page(node, prefix, after, "")
            keys = [entry.key for entry in page.entries]
            if any(key <= before for before, key in pairwise([after, *keys])):
                return await self._walk(node, prefix)
            found.update(keys)
            more = page.truncated and page.last is not None
            after = page.last or ""
        return found

    async def _walk(self, node: INode, prefix: str) -> set[str]:
        found: set[str] = set()
        waiting = [prefix]
        while waiting:
            under = waiting.pop()
            after, more = "", True
            while more:
                # One level of the tree: within it every server's order is S3's.
                page = await self._page(node, under, after, "/")
                found.update(entry.key for entry in page.entries)
                waiting.extend(each for each in page.prefixes if each != under)
                more = page.truncated and page.last is not None
                after = page.last or ""
        return found

    async def _page(self, node: INode, prefix: str, after: str, delimiter: str) -> Page:
        try:
            return await node.list(SYSTEM_BUCKET, prefix, after, _PAGE_KEYS, delimiter)
        except NoSuchKey:
            return Page(())
        except NodeRefused as error:
            if error.code != "NoSuchBucket":
                raise
            return Page(())

    async def fetch(self, node: INode, keys: Iterable[str]) -> dict[str, bytes]:
        """These records of one node, as far as it has them. Raises NodeError."""
        found: dict[str, bytes] = {}

        async def fetch(key: str) -> None:
            try:
                reading = await node.get(SYSTEM_BUCKET, key)
            except NoSuchKey:
                return
            collected = _Collected()
            await reading.deliver(collected)
            found[key] = b"".join(collected.pieces)

        await _all(list(keys), fetch)
        return found

    async def read(self, node: INode, prefix: str) -> dict[str, bytes]:
        """All records under `prefix` ("" for all) on one node. Raises NodeError."""
        return await self.fetch(node, await self.names(node, prefix))

    async def give(self, node: INode, records: Mapping[str, bytes]) -> None:
        """Write records to one node that lacks them. Raises NodeError."""

        async def give(each: tuple[str, bytes]) -> None:
            key, data = each
            await self._put(node, key, data)

        await _all(list(records.items()), give)


async def _all(items: Sequence[T], act: Callable[[T], Coroutine[Any, Any, None]]) -> None:
    """`act` on all items, some at once; no more after an error, raised when those have ended."""
    coming = deque(items)

    async def go_on() -> None:
        while coming:
            try:
                await act(coming.popleft())
            except BaseException:
                coming.clear()
                raise

    going: list[Deferred[Any]] = [
        Deferred.fromCoroutine(go_on()) for _ in range(min(_AT_ONCE, len(items)))
    ]
    for _, outcome in await DeferredList(going, consumeErrors=True):
        if isinstance(outcome, Failure):
            outcome.raiseException()


@implementer(IConsumer)
class _Collected:
    """Takes a small body whole."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """See IConsumer."""

    def unregisterProducer(self) -> None:
        """See IConsumer."""

    def write(self, data: bytes) -> None:
        """See IConsumer."""
        self.pieces.append(data)
