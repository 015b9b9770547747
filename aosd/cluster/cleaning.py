"""The end of leaving: what is aosd's own is removed from all nodes. There is no way back."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aosd.cluster.member import WatchedMember
from aosd.cluster.roster import Roster
from aosd.consistency.registers import Registers
from aosd.model.errors import NodeError
from aosd.model.leave import Leave, Phase, read_leave
from aosd.model.marker import Marker, read_marker
from aosd.model.node import Address, Credentials
from aosd.ports import INode

Clean = Callable[[str, Address, Credentials, str, bool], Deferred[None]]
"""Remove all that is aosd's own from a node of this name and of this cluster ("": of any).

With True also the cluster's buckets, those that are empty: the node is left blank. May be called
again, whenever it ended: from its beginning to its end the node's marker says that it is `left`.
"""

LEAVE, CLUSTER = "leave", "cluster"
"""The kind and the name of the register that says how far the cluster is left."""

_NOT_LEFT = Leave()


class Cleaning:
    """Cleans node after node. Whoever is met half-clean after a kill is cleaned on.

    First each node is told which ones are to be cleaned, so that of any that are left when a
    run was killed none takes those that are clean for members which are away.

    `quiet` stops all that writes to nodes by itself, and `landing` says whether something that
    was written may yet reach one; `absent` says why nothing is served yet
    ("": it is), `cluster` which one this is.
    """

    _log = Logger()

    def __init__(
        self,
        roster: Roster,
        registers: Registers,
        clean: Clean,
        *,
        quiet: Callable[[], Coroutine[Any, Any, None]],
        landing: Callable[[], bool],
        absent: Callable[[], str],
        cluster: Callable[[], str],
    ) -> None:
        self.is_over = False
        self.is_quiet = False
        self.cleaned: list[str] = []
        self._roster = roster
        self._registers = registers
        self._leave = _NOT_LEFT
        self._leave_changes = -1
        self._clean = clean
        self._quiet = quiet
        self._landing = landing
        self._absent = absent
        self._cluster = cluster

    @property
    def leave(self) -> Leave:
        """How far the cluster is left, by its register."""
        # Asked for by each request, several times; there is hardly ever one.
        changes = self._registers.changes
        if changes != self._leave_changes:
            register = self._registers.get(LEAVE, CLUSTER)
            try:
                self._leave = _NOT_LEFT if register is None else read_leave(register.value)
            except ValueError:
                self._leave = _NOT_LEFT
            self._leave_changes = changes
        return self._leave

    @property
    def has_begun(self) -> bool:
        """Whether nothing may be written to the nodes' memory any more."""
        # Asked by each request, several times.
        if self.is_over or self.leave.phase is Phase.CLEANING:
            return True
        return bool(self._absent()) and bool(self.remainder())

    def nodes(self) -> list[str]:
        """The nodes that are yet to be cleaned."""
        names = dict.fromkeys((*self.leave.nodes, *self.remainder()))
        return [name for name in names if name not in self.cleaned]

    def remainder(self) -> list[str]:
        """Nodes that were met half-clean, by their markers, when none was met that isn't.

        Of a cluster that goes on one may be, that was being removed: that is left to who
        removes it.
        """
        if not self._absent():
            return []
        markers = dict(self._markers())
        all_left = all(marker.left for marker in markers.values())
        return [name for name, marker in markers.items() if marker.node == name and all_left]

    def stand_by(self) -> None:
        """All is over: say so of each node that is met again."""
        for name in self.cleaned:
            watched = self._roster.watched.get(name)
            if watched is not None and watched.incarnation is None:
                watched.why = "it holds plain objects: its cluster was left"

    def away(self, names: Sequence[str]) -> list[str]:
        """Those that can't be asked now."""
        return [name for name in names if not _is_met(self._roster.watched.get(name))]

    async def advance(self) -> list[str]:
        """Clean all nodes that can be asked; what is waited for, in words. Raises NodeError."""
        leave = self.leave
        is_all = leave.phase is Phase.CLEANING
        if is_all and not self.is_quiet:
            await self._quiet()
            self.is_quiet = True
        if is_all and not leave.known:
            if self._landing():
                return ["a record may yet be written on a node"]
            if away := self.away(leave.nodes):
                return [f"node {name} is away" for name in away]
            await self._tell(leave)
            await self._tell(replace(leave, known=True))
        waits = []
        for name in self.nodes():
            try:
                await self._clean_one(name)
            except NodeError as error:
                waits.append(f"{error}; it is cleaned when it answers")
        if is_all and not waits:
            await self._clean_blank()
        # Where it isn't remembered, others may yet be met, of whatever cluster.
        self.is_over = is_all and not waits
        return waits

    # -- inside -----------------------------------------------------------------------------------

    async def _clean_one(self, name: str) -> None:
        watched = self._roster.watched.get(name)
        sighting = None if watched is None else watched.sighting
        if sighting is None or sighting.address is None or sighting.credentials is None:
            raise NodeError(name, "nobody sees it")
        await self._clean(name, sighting.address, sighting.credentials, self._cluster(), False)
        self._log.info("node {node} holds plain objects alone", node=name)
        self.cleaned.append(name)
        leave = self.leave
        left = tuple(each for each in leave.nodes if each != name)
        if left == leave.nodes:
            return
        try:
            await self._tell(replace(leave, nodes=left))
        except NodeError as error:
            # A run after this one looks at the clean one once more, and finds nothing.
            self._log.info("{error}", error=error)

    async def _clean_blank(self) -> None:
        """Nodes that are nobody's: to find out what they can, their first contact made a bucket."""
        for name, watched in sorted(self._roster.watched.items()):
            sighting, introduction = watched.sighting, watched.introduction
            if name in self.cleaned or introduction is None or introduction.marker is not None:
                continue
            if sighting is None or sighting.address is None or sighting.credentials is None:
                continue
            try:
                await self._clean(name, sighting.address, sighting.credentials, "", False)
            except NodeError as error:
                self._log.info("{error}", error=error)

    async def _tell(self, leave: Leave) -> None:
        """Let the nodes that are yet to be cleaned know, each of them that can be asked.

        On one that is blank, such as a drained one with another disk, nothing of ours lies.
        """
        nodes: list[INode] = []
        for name in leave.nodes:
            watched = self._roster.watched.get(name)
            if watched is None or watched.node is None:
                continue
            # A member has got its marker since it was met.
            if watched.incarnation is not None or not watched.is_blank:
                nodes.append(watched.node)
        await self._registers.tell(nodes, LEAVE, CLUSTER, leave.value())

    def _markers(self) -> Iterator[tuple[str, Marker]]:
        for name, watched in sorted(self._roster.watched.items()):
            introduction = watched.introduction
            if introduction is None or introduction.marker is None or name in self.cleaned:
                continue
            try:
                yield name, read_marker(name, introduction.marker)
            except NodeError:
                continue


def _is_met(watched: WatchedMember | None) -> bool:
    return (
        watched is not None
        and watched.node is not None
        and watched.introduction is not None
        and not watched.breaker.open
    )
