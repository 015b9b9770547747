"""The end of a change: nodes that no ring has any more, until they are empty."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aosd.cluster.held import first_keys
from aosd.cluster.roster import Roster
from aosd.cluster.standings import Standings
from aosd.consistency.begun import Begun
from aosd.consistency.marks import Marks
from aosd.consistency.registers import Registers
from aosd.consistency.settled import Settledness
from aosd.consistency.uploads import Uploads
from aosd.model.errors import AosdError, ChangeRefused, NodeError, NoNodes
from aosd.model.standing import Membership, Standing
from aosd.ports import INode

_AGAIN_S = 5.0


class Emptying:
    """Ends the draining of nodes that hold nothing, and the adopting of those that are mended.

    A node holds nothing when a sweep found all as it should be and its own listings are empty
    after that; and when nothing is on its way to it: no upload is open there, no request to it
    went unanswered of late, and whatever began while a ring had it is over. `begun` is all
    that may be on its way. And what the cluster knows has to stand on enough of those that stay.
    """

    _log = Logger()

    def __init__(
        self,
        roster: Roster,
        standings: Standings,
        registers: Registers,
        settled: Settledness,
        marks: Marks,
        uploads: Uploads,
        begun: tuple[Begun, ...],
        clock: IReactorTime,
    ) -> None:
        self.why = ""
        self._roster = roster
        self._standings = standings
        self._registers = registers
        self._settled = settled
        self._marks = marks
        self._uploads = uploads
        self._begun = begun
        self._clock = clock
        # What was under way when no ring had the node any more, by its name.
        self._before: dict[str, tuple[int, ...]] = {}
        # Those that a sweep found empty; only time keeps them.
        self._found_empty: set[str] = set()
        self._due_s = 0.0

    def begin(self) -> None:
        """The rings were set: nodes may have begun to be emptied."""
        names = {each.name for each in self._left()}
        self._before = {name: each for name, each in self._before.items() if name in names}
        self._found_empty &= names
        for name in names - self._before.keys():
            self._before[name] = tuple(each.now for each in self._begun)
        if not names:
            self.why = ""

    async def swept(self, unmended: int, removed: int) -> None:
        """All was compared with one ring; `unmended` keys aren't as they should be.

        When copies were `removed`, what lay beneath them may have come to light on nodes that
        came with objects, after the page was read that shows it now.
        """
        if unmended:
            self.why = f"{unmended} keys can't be moved yet"
            if late_s := self._settled.late_for_s(*self._roster.names):
                late = f"requests of the run before may take effect for {late_s:.0f} s yet"
                self.why += f": {late}"
            return
        for each in self._standings.all():
            if each.adopted and removed and each.hides is not False:
                continue
            if each.adopted and each.membership is Membership.MEMBER:
                await self._standings.amend(each.name, lambda now: replace(now, adopted=False))
        self._standings.set_rings()
        await self._end()

    async def tend(self) -> None:
        """Look again at those that nothing but time keeps."""
        self.begin()
        if self._found_empty and self._clock.seconds() >= self._due_s:
            self._due_s = self._clock.seconds() + _AGAIN_S
            try:
                await self._end()
            except AosdError as error:
                self._log.info("a drained node can't be let go yet: {error}", error=error)

    @property
    def only_waits(self) -> bool:
        """Whether nothing is to be moved any more, for all that is known."""
        strays = {each.name for each in self._standings.all() if each.strays}
        return bool(strays) and strays <= self._found_empty

    async def look_whether_empty(self, name: str) -> None:
        """Raise ChangeRefused when a drained node holds something all the same.

        Its disk may have fallen back to a time of before, and nothing remembers for a node that
        doesn't count what was deleted of that since. Raises NoNodes when it can't be asked.
        """
        watched = self._roster.watched.get(name)
        node = None if watched is None else watched.node
        if node is None:
            raise NoNodes(f"node {name} can't be asked now whether it is empty")
        try:
            found = await first_keys(node, 1)
        except NodeError as error:
            raise NoNodes(f"whether node {name} is empty isn't known: {error}") from error
        if found:
            raise ChangeRefused(
                f"node {name} was drained, and {found[0]} lies on it: empty it first"
            )

    async def check_empty(self, name: str) -> None:
        """The same of one that comes back now."""
        await self.look_whether_empty(name)
        self._settled.comes(name)

    # -- inside -----------------------------------------------------------------------------------

    def _left(self) -> list[Standing]:
        return [
            each
            for each in self._standings.all()
            if each.membership is Membership.DRAINING and each.left
        ]

    async def _end(self) -> None:
        self.begin()
        reasons = []
        for each in self._left():
            why = await self._why_not_empty(each.name)
            if why:
                reasons.append(f"node {each.name}: {why}")
                continue
            self._found_empty.discard(each.name)
            await self._standings.amend(each.name, partial(_drained, each))
            self._log.info("node {node} is drained", node=each.name)
            self._standings.set_rings()
            if (watched := self._roster.watched.get(each.name)) is not None:
                watched.meet_again()
        self.why = "; ".join(reasons)

    async def _why_not_empty(self, name: str) -> str:
        watched = self._roster.watched.get(name)
        node = None if watched is None else watched.candidate.node
        if node is None:
            return "it can't be asked now"
        try:
            return await self._why_not(name, node)
        except NodeError as error:
            return str(error)

    async def _why_not(self, name: str, node: INode) -> str:
        """See _why_not_empty; raises NodeError."""
        if found := await first_keys(node, 1):
            self._found_empty.discard(name)
            return f"{found[0]} lies on it yet"
        self._found_empty.add(name)
        if count := self._uploads.open_on(name):
            return f"{count} multipart uploads are open on it"
        if self._settled.late_for_s(name):
            return "requests of the run before may take effect on it yet"
        if any(name in mark.silent for _, mark in self._marks.all()):
            return "a write that it didn't answer may take effect on it yet"
        if key := self._registers.lacking(self._roster.ring.members.keys() - {name}):
            return f"too few of the others have {key} yet, which it has"
        before = self._before.get(name)
        if before is None:
            return "it was taken back meanwhile"
        if not all(each.are_over(since) for each, since in zip(self._begun, before, strict=True)):
            return "something that began before may write to it yet"
        # What was on its way may have landed while it was listed.
        found = await first_keys(node, 1)
        return f"{found[0]} lies on it yet" if found else ""


def _drained(found: Standing, standing: Standing) -> Standing:
    """Unless it was taken in again since it was found to be empty, be it for a moment."""
    if standing.membership is not Membership.DRAINING or not standing.left:
        return standing
    if standing.since != found.since:
        return standing
    return replace(standing, membership=Membership.DRAINED, adopted=False, since="")
