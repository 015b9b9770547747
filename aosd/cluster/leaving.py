"""Leaving: the cluster ends, and plain objects on plain S3 servers are what is left of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aosd.cluster.acts import ALL_WEIGHT
from aosd.cluster.cleaning import CLUSTER, LEAVE, Cleaning
from aosd.cluster.outlook import CONTESTED
from aosd.cluster.roster import Roster
from aosd.cluster.unfinished import Unfinished
from aosd.consistency.registers import Registers
from aosd.consistency.uploads import Uploads
from aosd.model.errors import AosdError, ChangeRefused, NoNodes, NoSuchNode
from aosd.model.leave import UNDOABLE, Leave, Phase, Plan
from aosd.model.node import Address, Credentials
from aosd.model.ring import Ring
from aosd.model.standing import Act, Membership, Standing, read_standing

_NAMED = 1000
LEFT = "this cluster was left: the nodes hold plain objects; stop aosd"
_CLEANING = "this cluster is being left: what is aosd's own is being removed from its nodes"
_CLOSING = "this cluster is being left: no new writes are taken"


Space = Callable[[Address, Credentials], Deferred[int | None]]
"""How many bytes a node has left, or None where nobody knows."""


class IChanges(Protocol):
    """What gathering needs of changes by hand."""

    def standing(self, name: str) -> Standing | None:
        """What a node's register tells."""

    async def weigh(self, name: str, weight: float) -> Standing:
        """Let a member have this weight, once nothing else is under way."""

    async def undo(self, name: str) -> Standing | None:
        """Take back what was asked of a node, and what is under way for it."""


class IOutlook(Protocol):
    """What gathering needs to know of what comes of changes."""

    def rings(self) -> tuple[Ring, Ring]:
        """The ring that was and the one that is coming; the same twice while none is."""

    def proposed(self, act: Act, name: str, *, weight: float) -> tuple[Ring, Ring]:
        """The ring that is and the one that an act would make. Raises ChangeRefused."""

    def contested(self) -> bool:
        """Whether another gateway uses the nodes."""


class IGathered(Protocol):
    """What all nodes list, and what one of them lacks of it."""

    keys: int
    size_bytes: int
    lacking: int
    lacking_bytes: int
    names: list[str]
    lost: set[str]


class IForecast(Protocol):
    """What would move, and how long that takes."""

    def told(self) -> dict[str, Any]:
        """For JSON."""


class Leaving:
    """Goes through the phases of leaving, a step at each `advance`; what it is at is remembered.

    `gathered` compares one node's listing with all others'; with True it takes as long as it
    needs to be sure. `forecast` tells what moves from one ring to another, and what lies wrong.
    `absent` says why nothing is served yet ("": it is). `marks` counts them, and `unexplained`
    the copies that the last sweep has reported.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        roster: Roster,
        registers: Registers,
        uploads: Uploads,
        unfinished: Unfinished,
        cleaning: Cleaning,
        changes: IChanges,
        outlook: IOutlook,
        gathered: Callable[[str, bool], Coroutine[Any, Any, IGathered]],
        forecast: Callable[[Ring, Ring], Coroutine[Any, Any, IForecast]],
        marks: Callable[[], int],
        unexplained: Callable[[], int],
        absent: Callable[[], str],
        space: Space,
    ) -> None:
        self._roster = roster
        self._registers = registers
        self._uploads = uploads
        self._unfinished = unfinished
        self._cleaning = cleaning
        self._changes = changes
        self._outlook = outlook
        self._gathered = gathered
        self._forecast = forecast
        self._marks = marks
        self._unexplained = unexplained
        self._absent = absent
        self._space = space
        self._waits: list[str] = []

    # -- what it is at ----------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """What leaving is at."""
        if self._cleaning.has_begun:
            return Phase.LEFT if self._cleaning.is_over else Phase.CLEANING
        return self._cleaning.leave.phase

    @property
    def closing(self) -> str:
        """Why no new writes are taken; "" when they are."""
        return _CLOSING if self.phase is Phase.STOPPING else self.absent

    @property
    def absent(self) -> str:
        """Why nothing is served any more; "" when it is."""
        if self._cleaning.is_over:
            return LEFT
        return _CLEANING if self._cleaning.has_begun else ""

    def told(self) -> dict[str, Any] | None:
        """For people: how far it is; None when the cluster isn't being left."""
        phase, cleaning = self.phase, self._cleaning
        if phase is Phase.NONE:
            return None
        return {
            "phase": str(phase),
            "gather": self._cleaning.leave.gather,
            "waits": list(self._waits),
            "nodes": cleaning.nodes() if cleaning.has_begun else self._nodes(),
            "cleaned": sorted(cleaning.cleaned),
            "undoable": phase in UNDOABLE,
        }

    # -- what an operator asks --------------------------------------------------------------------

    async def plan(self, gather: str | None = None) -> Plan:
        """What `leave` would do now, and what that takes; nothing is done.

        Raises as `leave` does, but ChangeRefused. Cancelling ends it.
        """
        plan = await self._looked_up(gather)
        plan.no_forecast = plan.refusal
        if not plan.refusal:
            try:
                made = await self._forecast(*self._rings(gather))
                plan.forecast = made.told()
            except AosdError as error:
                plan.no_forecast = str(error)
        return plan

    async def _looked_up(self, gather: str | None) -> Plan:
        """The plan but for its forecast."""
        plan = self._plan(gather)
        if gather is not None and not plan.refusal:
            found = await self._gathered(gather, False)
            space = await self._space_of(gather)
            plan.gather = {
                "node": gather,
                "keys": found.keys,
                "bytes": found.size_bytes,
                "lacking_keys": found.lacking,
                "lacking_bytes": found.lacking_bytes,
                "space_bytes": space,
            }
            plan.refusal = _too_small(gather, found.lacking_bytes, space)
        return plan

    async def leave(self, gather: str | None = None) -> None:
        """Begin; with `gather` that node gets a copy of everything first.

        Raises NoSuchNode, ChangeRefused, or a ClusterError: it may have begun then.
        """
        if why := self._left_otherwise(gather):
            raise ChangeRefused(why)
        if self.phase is not Phase.NONE:
            return
        plan = self._plan(gather)
        if not plan.refusal and gather is not None and await self._space_of(gather) is not None:
            plan = await self._looked_up(gather)
        if plan.refusal:
            raise ChangeRefused(plan.refusal)
        phase, weight = Phase.MENDING, None
        if gather is not None:
            standing = self._changes.standing(gather)
            assert standing is not None
            phase, weight = Phase.GATHERING, standing.place.weight
        self._log.warn("this cluster is being left")
        await self._become(Leave(phase, gather, weight), Phase.NONE)

    async def cancel(self) -> None:
        """Undo it, until cleaning has begun. Uploads that were aborted stay so.

        Raises ChangeRefused, or NoQuorum: it may be undone all the same then.
        """
        leave = self._cleaning.leave
        if self.phase in UNDOABLE:
            phase = Phase.NONE if leave.gather is None else Phase.BACK
            await self._become(replace(leave, phase=phase), *UNDOABLE)
            if not self._cleaning.has_begun:
                self._log.warn("this cluster isn't left after all")
                return
        raise ChangeRefused(self._why_not_undone)

    def undoing(self) -> dict[str, Any]:
        """What `cancel` would take back, for JSON; nothing is done.

        `leaving` is how far it is, `weight` what the node weighs again that gathers, and
        `refusal` why it would be refused ("": it wouldn't). Raises NoQuorum as `cancel` does.
        """
        refusal = self._why_not_undone
        if not refusal:
            self._registers.check()
        weight = None if refusal else self._cleaning.leave.weight
        return {"leaving": self.told(), "weight": weight, "refusal": refusal}

    # -- its steps --------------------------------------------------------------------------------

    async def advance(self) -> None:
        """One step further, if there is one. Not to be called while another one is under way."""
        steps = {
            Phase.GATHERING: self._gather,
            Phase.MENDING: self._mend,
            Phase.STOPPING: self._stop,
            Phase.BACK: self._go_back,
            Phase.CLEANING: self._clean,
        }
        step = steps.get(self.phase)
        if step is None:
            self._cleaning.stand_by()
            self._waits = []
            return
        try:
            self._waits = await step()
        except AosdError as error:
            self._waits = [str(error)]
            self._log.info("not yet: {error}", error=error)

    async def _gather(self) -> list[str]:
        leave = self._cleaning.leave
        assert leave.gather is not None
        standing = self._changes.standing(leave.gather)
        if standing is None or not standing.membership.counts:
            return [f"node {leave.gather} is no member any more"]
        if not _has_all(standing):
            await self._changes.weigh(leave.gather, ALL_WEIGHT)
            return ["the ring is changing"]
        if waits := self._unfinished.mending():
            return waits
        if standing.place.weight < ALL_WEIGHT:
            return ["the ring is changing"]
        await self._become(replace(leave, phase=Phase.MENDING), Phase.GATHERING)
        return []

    async def _mend(self) -> list[str]:
        if waits := self._unfinished.mending():
            return waits
        await self._become(replace(self._cleaning.leave, phase=Phase.STOPPING), Phase.MENDING)
        return []

    async def _stop(self) -> list[str]:
        """No new write is taken by now: what there is can be counted on once all has ended."""
        if waits := [*self._unfinished.mending(), *self._unfinished.under_way()]:
            return waits
        if await self._abort_uploads():
            return [f"{len(self._uploads.all())} uploads are aborted"]
        leave = self._cleaning.leave
        if leave.gather is not None:
            found = await self._gathered(leave.gather, True)
            if found.lost:
                return [f"node {name} can't be listed" for name in sorted(found.lost)]
            if found.lacking:
                such = ", ".join(found.names)
                return [f"node {leave.gather} lacks {found.lacking} objects: {such}"]
        if waits := [*self._unfinished.mending(), *self._unfinished.under_way()]:
            return waits
        nodes = tuple(self._nodes())
        if away := self._cleaning.away(nodes):
            return [f"node {name} is away" for name in away]
        await self._become(replace(leave, phase=Phase.CLEANING, nodes=nodes), Phase.STOPPING)
        return []

    async def _clean(self) -> list[str]:
        waits = await self._cleaning.advance()
        if not waits:
            self._log.warn("{why}", why=LEFT)
        return waits

    async def _go_back(self) -> list[str]:
        leave = self._cleaning.leave
        standing = None if leave.gather is None else self._changes.standing(leave.gather)
        if standing is not None and standing.membership.counts and _has_all(standing):
            if standing.place.weight < ALL_WEIGHT:
                await self._changes.undo(standing.name)
            else:
                await self._changes.weigh(standing.name, leave.weight or 1.0)
        await self._become(Leave(), Phase.BACK)
        return []

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _why_not_undone(self) -> str:
        """Why there is nothing to be undone, or no way back; "" when it can be."""
        if self._cleaning.has_begun:
            return "what is aosd's own is being removed: that can't be undone"
        return "" if self.phase in UNDOABLE else "the cluster isn't being left"

    async def _become(self, leave: Leave, *was: Phase) -> None:
        """Let this be remembered, unless what `was` isn't any more when its turn comes."""

        def value() -> dict[str, Any]:
            present = self._cleaning.leave
            return (leave if present.phase in was else present).value()

        await self._registers.set(LEAVE, CLUSTER, value)
        if self._cleaning.leave.phase is not Phase.NONE:
            self._log.info("leaving: {phase}", phase=self._cleaning.leave.phase)

    def _left_otherwise(self, gather: str | None) -> str:
        """Why this can't be asked for beside what is under way; "" when it can."""
        if self.phase is Phase.NONE:
            return ""
        if self.phase is not Phase.BACK and self._cleaning.leave.gather == gather:
            return ""
        return f"the cluster is being left already: {self.phase}"

    def _plan(self, gather: str | None) -> Plan:
        """What is known without asking anybody. Raises NoNodes and NoSuchNode."""
        if why := self._absent():
            raise NoNodes(why)
        uploads = self._uploads.all()
        plan = Plan(self._nodes(), waits=self._unfinished.mending(), marks=self._marks())
        plan.unexplained = self._unexplained()
        plan.uploads_in_all = len(uploads)
        plan.uploads = [f"{each.bucket}/{each.key}" for each in uploads[:_NAMED]]
        plan.refusal = self._left_otherwise(gather)
        if self._outlook.contested():
            plan.refusal = plan.refusal or CONTESTED
        if away := self._cleaning.away(plan.nodes):
            plan.refusal = (
                plan.refusal or f"{_are(away)} away: wait, or remove first what won't be back"
            )
        if gather is not None:
            standing = next((each for each in self._standings() if each.name == gather), None)
            if standing is None:
                raise NoSuchNode(f"there is no node {gather}")
            if standing.membership not in (Membership.MEMBER, Membership.JOINING):
                plan.refusal = plan.refusal or f"node {gather} is {standing.membership}"
            elif standing.queued is not None and standing.queued.act is Act.DRAIN:
                plan.refusal = plan.refusal or f"node {gather} waits to be drained: undo that first"
            elif self._roster.watched[gather].candidate.full:
                plan.refusal = plan.refusal or f"node {gather} is full"
        return plan

    def _rings(self, gather: str | None) -> tuple[Ring, Ring]:
        """The one that is, and the one that every copy has to be in before cleaning."""
        if gather is None:
            return self._outlook.rings()
        return self._outlook.proposed(Act.WEIGH, gather, weight=ALL_WEIGHT)

    def _standings(self) -> list[Standing]:
        told = (read_standing(each.name, each.value) for each in self._registers.all("members"))
        return [each for each in told if each is not None]

    def _nodes(self) -> list[str]:
        """Those that have something of aosd's on them: members, and who was one and is empty."""
        return [
            each.name
            for each in self._standings()
            if each.membership.counts or each.membership is Membership.DRAINED
        ]

    async def _space_of(self, name: str) -> int | None:
        sighting = self._roster.watched[name].sighting
        if sighting is None or sighting.address is None or sighting.credentials is None:
            return None
        return await self._space(sighting.address, sighting.credentials)

    async def _abort_uploads(self) -> bool:
        """Whether there were any, on nodes that are members yet."""
        members = self._roster.members()
        nodes = {each.name: each.node for each in members if each.node is not None}
        there = [each for each in self._uploads.all() if each.uploads.keys() & nodes.keys()]
        buckets = sorted({each.bucket for each in there})
        for bucket in buckets:
            await self._uploads.abort_all(bucket, nodes)
        return bool(buckets)


def _has_all(standing: Standing) -> bool:
    """Whether it has a share of everything, or will have, once that comes to its turn."""
    weights = [standing.place.weight]
    if standing.coming is not None:
        weights = [standing.coming.weight]
    if standing.queued is not None and standing.queued.weight is not None:
        weights.append(standing.queued.weight)
    return weights[-1] >= ALL_WEIGHT


def _too_small(name: str, wanted_bytes: int, space_bytes: int | None) -> str:
    if space_bytes is None or wanted_bytes < space_bytes:
        return ""
    return f"node {name} has space for {space_bytes} bytes, and lacks {wanted_bytes}"


def _are(names: Sequence[str]) -> str:
    one = len(names) == 1
    return f"node {names[0]} is" if one else f"nodes {', '.join(names)} are"
