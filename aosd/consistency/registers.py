"""Registers: what the cluster knows of members, buckets and runs; each one's newest stands."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, DeferredLock
from twisted.logger import Logger

from aosd.consistency.memory import Memory
from aosd.model.errors import ClusterError, NodeError
from aosd.model.stamp import StampClock, is_stamp
from aosd.ports import INode

KINDS = ("members", "buckets", "runs", "keys", "repair", "leave")
# Of the others each run writes its own, or all of them.
_CONFIRMED = ("members", "buckets", "repair", "leave")
# That one wasn't set can be said of these: {} is as good as none.
_UNSET_IS_EMPTY = ("repair", "leave")


@dataclass(frozen=True, slots=True)
class Register:
    """One value and when it was set."""

    kind: str
    name: str
    stamp: str
    value: Mapping[str, Any] = field(repr=False)  # that of `keys` is secret

    @property
    def key(self) -> str:
        """Under which it lies on a node."""
        return f"{self.kind}/{self.name}"

    def to_bytes(self) -> bytes:
        """As it lies on a node."""
        return json.dumps({"stamp": self.stamp, "value": self.value}).encode()


def read_register(kind: str, name: str, data: bytes) -> Register:
    """One as it lies on a node; ValueError when it can't be read. Its stamp may be none."""
    try:
        told = json.loads(data)
        return Register(kind, name, str(told["stamp"]), dict(told["value"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{kind}/{name} can't be read") from error


class Registers:
    """See DESIGN, What lies on a node: never one document for everything."""

    _log = Logger()

    def __init__(self, memory: Memory, stamps: StampClock) -> None:
        self.newest = ""
        # Grows with whatever comes to be known of any.
        self.changes = 0
        self._memory = memory
        self._stamps = stamps
        self._known: dict[tuple[str, str], Register] = {}
        # Nodes that have to be given a record, by its key: they refused it, or were passed by,
        # or what lies there may be an older one by now.
        self._owed: defaultdict[str, set[str]] = defaultdict(set)
        self._uneven: set[str] = set()
        # Those that couldn't be set: what nobody acknowledged may lie on some nodes.
        self._uncertain: set[tuple[str, str]] = set()
        # Those that nodes told of, and which nodes, until enough of them are known to have it.
        self._told_by: dict[tuple[str, str], set[str]] = {}
        self._turns: defaultdict[tuple[str, str], DeferredLock] = defaultdict(DeferredLock)

    def get(self, kind: str, name: str) -> Register | None:
        """What is known of it; None when it was never set."""
        return self._known.get((kind, name))

    def all(self, kind: str) -> list[Register]:
        """All of a kind, by name."""
        return [self._known[each] for each in sorted(self._known) if each[0] == kind]

    def records(self) -> dict[str, bytes]:
        """All of them, as they lie on nodes."""
        return {each.key: each.to_bytes() for each in self._known.values()}

    def is_sure(self, kind: str, name: str) -> bool:
        """Whether what is known of it stands, and no other value that may come to mind."""
        return (kind, name) not in self._uncertain and (kind, name) not in self._told_by

    def lacking(self, names: Collection[str]) -> str:
        """One that fewer of these nodes are known to have than must; "" when there is none."""
        enough = self._memory.acks_of(len(names))
        for name in sorted(self._known):
            key = self._known[name].key
            if len(names) - len(self._owed[key].intersection(names)) < enough:
                return key
        return ""

    def check(self) -> None:
        """Raise NoQuorum when too few nodes can be asked to set any."""
        self._memory.check()

    async def set(
        self, kind: str, name: str, value: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
    ) -> None:
        """Set it, on enough nodes; to what `value` gives by then, if it is to be asked.

        Raises NoQuorum; it may have been set all the same then, as when this is cancelled. And
        what `value` raises.

        Of one register, one after the other: of two on their way together, the older might
        land last.
        """
        turn = self._turns[kind, name]
        await turn.acquire()
        try:
            present = value if isinstance(value, Mapping) else value()
        except BaseException:
            turn.release()
            raise
        register = Register(kind, name, self._stamps.next(), dict(present))

        def ended(without: Collection[str]) -> None:
            self._owed[register.key] = set(without)
            turn.release()

        try:
            await self._memory.write(register.key, register.to_bytes(), ended)
        except (ClusterError, CancelledError):
            self._uncertain.add((kind, name))
            raise
        self._uncertain.discard((kind, name))
        self._told_by.pop((kind, name), None)
        self._take(register)

    async def tell(
        self, nodes: Iterable[INode], kind: str, name: str, value: Mapping[str, Any]
    ) -> None:
        """Set it on these nodes, each of them, and on no others.

        Raises the first NodeError; it may have been set on some of them then, and counts.
        """
        turn = self._turns[kind, name]
        await turn.acquire()
        try:
            register = Register(kind, name, self._stamps.next(), dict(value))
            self._take(register)
            for node in nodes:
                await self._memory.give(node, {register.key: register.to_bytes()})
        finally:
            turn.release()

    def load(self, records: Mapping[str, bytes], node: str = "") -> None:
        """Take in what a node has; the newer of two stands, and is for all nodes to have."""
        for register in self._parsed(records):
            name = register.kind, register.name
            known = self._known.get(name)
            if known is not None and known.stamp != register.stamp:
                # One that too few nodes took is forgotten with them.
                self._uneven.add(register.key)
            if known is None or known.stamp < register.stamp:
                self._told_by[name] = {node}
            elif known.stamp == register.stamp:
                self._owed[register.key].discard(node)
                if name in self._told_by:
                    self._told_by[name].add(node)
            self._take(register)

    async def confirm(self) -> None:
        """Let enough nodes have what fewer were found to have; raises NoQuorum.

        Such a one couldn't be set once. From now on it is built upon: what is written to a
        bucket must not be gone from sight with the only node that knows of the bucket. Nor with
        those that are enough for now: who isn't known to have it is owed it.
        """
        enough, everyone = self._memory.acks, self._memory.everyone
        for name in sorted(self._told_by):
            have = self._told_by.get(name, set())
            if name[0] in _CONFIRMED and len(have) < enough:
                await self.set(*name, partial(self._value, *name))
            else:
                self._owed["/".join(name)] |= everyone - have
            self._told_by.pop(name, None)

    async def tend(self) -> None:
        """Write again what an older one may have overwritten, landing late, or some lack.

        What couldn't be set is set to what it was before, so that no run that follows finds it
        on some node, and takes it for what was wanted.
        """
        for name, key in self._memory.maybe_late():
            kind, _, of = key.partition("/")
            if (kind, of) in self._known:
                self._owed[key].add(name)
        for kind, of in list(self._uncertain):
            if (kind, of) not in self._known and kind not in _UNSET_IS_EMPTY:
                continue
            try:
                # As it is by then: somebody else may be setting it. It isn't removed where it
                # was never set: who was away would lose what is set meanwhile, once it is back.
                await self.set(kind, of, partial(self._value, kind, of))
            except ClusterError as error:
                self._log.info("{name} not set: {error}", name=f"{kind}/{of}", error=error)
        try:
            await self.confirm()
        except ClusterError as error:
            self._log.info("registers not confirmed: {error}", error=error)
        nodes = self._memory.nodes()
        for key in self._uneven:
            self._owed[key].update(node.name for node in nodes)
        self._uneven.clear()
        for node in nodes:
            mine = sorted(key for key, names in self._owed.items() if node.name in names)
            try:
                for key in mine:
                    await self._give(node, key)
            except NodeError as error:
                self._log.info("registers not written: {error}", error=error, node=node.name)

    def _value(self, kind: str, name: str) -> Mapping[str, Any]:
        known = self._known.get((kind, name))
        return {} if known is None else known.value

    async def give(self, node: INode) -> None:
        """Give a node those that it lacks, or has older ones of. Raises NodeError."""
        has = {
            (each.kind, each.name): each.stamp
            for kind in KINDS
            for each in await self.told_by(node, kind)
        }
        for name in sorted(self._known):
            known = self._known[name]
            if has.get(name, "") < known.stamp:
                await self._give(node, known.key)
            else:
                self._owed[known.key].discard(node.name)

    async def _give(self, node: INode, key: str) -> None:
        """In its turn: a newer value that is on its way mustn't be overwritten by this one."""
        kind, _, name = key.partition("/")
        turn = self._turns[kind, name]
        await turn.acquire()
        try:
            known = self._known.get((kind, name))
            if known is not None:  # otherwise it couldn't be set
                await self._memory.give(node, {key: known.to_bytes()})
            self._owed[key].discard(node.name)
        finally:
            turn.release()

    async def told_by(self, node: INode, kind: str) -> list[Register]:
        """What a node says, be it ours or not; it isn't taken in. Raises NodeError."""
        return list(self._parsed(await self._memory.read(node, f"{kind}/")))

    def _parsed(self, records: Mapping[str, bytes]) -> Iterator[Register]:
        for key, data in records.items():
            kind, _, name = key.partition("/")
            if kind not in KINDS or not name:
                continue
            try:
                register = read_register(kind, name, data)
            except ValueError:
                self._log.warn("{key} can't be read", key=key)
                continue
            if is_stamp(register.stamp):
                yield register

    def _take(self, register: Register) -> None:
        known = self._known.get((register.kind, register.name))
        if known is None or known.stamp < register.stamp:
            self._known[register.kind, register.name] = register
            self.changes += 1
        self.newest = max(self.newest, register.stamp)
