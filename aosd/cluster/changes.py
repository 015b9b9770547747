"""Changes by hand: what an operator asks for, one change of the ring at a time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from aosd.cluster.acts import Wish, carried_out, undone, wish, wish_of
from aosd.cluster.emptying import Emptying
from aosd.cluster.losses import Losses
from aosd.cluster.roster import Roster
from aosd.cluster.standings import Standings
from aosd.model.errors import ChangeRefused, ClusterError, NoNodes, NoSuchNode
from aosd.model.node import Address, Credentials, NodeState
from aosd.model.ring import Ring
from aosd.model.stamp import StampClock
from aosd.model.standing import Act, Membership, Queued, Standing, ring_members

T = TypeVar("T")

Clean = Callable[[str, Address, Credentials], Deferred[None]]
"""Take everything of ours off an empty node; fires when that is done."""


class Changes:
    """Takes an operator's acts, begins them one after the other, and ends them.

    What is asked for while another change is under way is queued in the node's own register;
    an act on a node that has a part in the change itself replaces that part at once. A node
    that is lost for good is taken out at once, whatever is under way. Of acts at the same time
    each is judged by what the ones before it have made of the rings.

    All acts raise NoSuchNode, ChangeRefused, BadRequest, or NoNodes and NoQuorum when nothing
    can be remembered now.
    """

    _log = Logger()

    def __init__(
        self,
        roster: Roster,
        standings: Standings,
        stamps: StampClock,
        losses: Losses,
        emptying: Emptying,
        clean: Clean,
        absent: Callable[[], str],
    ) -> None:
        self._roster = roster
        self._standings = standings
        self._stamps = stamps
        self._losses = losses
        self._emptying = emptying
        self._clean = clean
        self._absent = absent
        self._turn = DeferredLock()
        # Nodes that are being removed.
        self._going: set[str] = set()

    # -- what there is ----------------------------------------------------------------------------

    def standing(self, name: str) -> Standing | None:
        """Of one node; None when it was never a member."""
        return self._standings.get(name)

    def standings(self) -> list[Standing]:
        """Of all that are remembered, by name."""
        return self._standings.all()

    @property
    def changing(self) -> bool:
        """Whether a change is under way."""
        return self._roster.changing

    def phase(self) -> str:
        """`copying` to where the coming ring looks, then `emptying` of nodes; "": no change."""
        if self._roster.former is not None:
            return "copying"
        return "emptying" if self._roster.changing else ""

    @property
    def only_waits(self) -> bool:
        """Whether nothing is to be moved any more, and only time keeps the change."""
        return self._roster.former is None and self._emptying.only_waits

    def waiting_for(self) -> str:
        """What keeps the change from being over, other than what has to be copied yet."""
        return self._emptying.why

    def queue(self) -> list[tuple[str, Queued]]:
        """What waits, in order; nodes that wait to join are last."""
        waiting = [
            (each.name, each.queued) for each in self._standings.all() if each.queued is not None
        ]
        waiting.sort(key=lambda each: each[1].asked)
        joins = {
            name
            for name, watched in self._roster.watched.items()
            if watched.incarnation is None
            and watched.introduction is not None
            and watched.why == self.join_waits(name)
        }
        joins.update(each.name for each in self._standings.all() if each.is_out)
        return [*waiting, *((name, Queued(Act.JOIN, "")) for name in sorted(joins))]

    def join_waits(self, name: str) -> str:
        """Why a new node has to wait before it joins; "" when it hasn't.

        Nodes that are full don't wait for space that it would give them.
        """
        if any(each.full for each in self._roster.members()):
            return ""
        others = [
            each.name
            for each in self._standings.all()
            if each.name != name and (each.queued or _holds_up_joins(each))
        ]
        return f"it waits for the change of {', '.join(others)}" if others else ""

    def proposed(
        self, act: Act, name: str, *, weight: float | None = None, zone: str | None = None
    ) -> tuple[Ring, Ring]:
        """The ring that is and the one that an act would make, as if nothing else waited.

        Of what goes back, it is as if the change that it ends hadn't begun.
        """
        standings = {each.name: each for each in self._standings.all()}
        present = Ring(ring_members(standings.values()))
        standing = standings.get(name)
        if act is Act.JOIN:
            watched = self._roster.watched.get(name)
            if watched is None:
                raise NoSuchNode(f"no node {name} is known")
            if watched.incarnation is not None:
                raise ChangeRefused(f"node {name} is a member")
            members = {**present.members, name: watched.member}
            return present, Ring(members.values())
        if standing is None:
            raise NoSuchNode(f"node {name} is no member")
        if act is Act.REMOVE:
            standings[name] = replace(standing, membership=Membership.REMOVED)
        else:
            standings[name] = carried_out(standing, wish(act, weight, zone), self._stamps.reading)
            if standings[name].is_out:  # as it is once it was found empty
                standings[name] = replace(standings[name], incarnation="any")
            present = Ring(ring_members(standings.values(), former=True))
        _check_left(standings.values())
        return present, Ring(ring_members(standings.values()))

    def undoing(self, name: str) -> tuple[Ring, Ring]:
        """The same of `undo`; raises as that would."""
        standing = self._check(name)
        standings = {each.name: each for each in self._standings.all()}
        standings[name] = undone(standing, self._stamps.reading)
        present = Ring(ring_members(standings.values(), former=True))
        return present, Ring(ring_members(standings.values()))

    async def why_not_removed(self, name: str, *, lose: bool = False) -> str:
        """Why `remove` would be refused, for all that can be known now; "": it wouldn't."""
        standing = self._check(name)
        gone = (Membership.DRAINED, Membership.REMOVED, Membership.REMOVING)
        if standing.membership in gone or standing.is_out:
            return ""
        if self._answers(name):
            return await self._losses.why_in_use(name)
        return "" if lose else await self._losses.why_not(name)

    # -- acts -------------------------------------------------------------------------------------

    async def drain(self, name: str) -> Standing:
        """Let all its copies go elsewhere; it is read from until it holds nothing."""
        return await self._ask(name, wish(Act.DRAIN))

    async def undrain(self, name: str) -> Standing:
        """Let it be a member again, however far its draining is."""
        return await self._ask(name, wish(Act.UNDRAIN))

    async def weigh(self, name: str, weight: float) -> Standing:
        """Give it another share of first copies: 0.1 to 100; 0 is draining."""
        return await self._ask(name, wish(Act.WEIGH, weight=weight))

    async def rezone(self, name: str, zone: str) -> Standing:
        """Say with which other nodes it fails."""
        return await self._ask(name, wish(Act.REZONE, zone=zone))

    async def undo(self, name: str) -> Standing:
        """Take back what was asked for last, queued or half done."""
        return await self._in_turn(lambda: self._undo(name))

    async def remove(self, name: str, *, lose: bool = False) -> Standing:
        """Forget a node that is drained, or that is lost for good.

        A drained one that can be reached is left blank. Of a lost one, others get the copies
        that it had. Refused when it is in use, and, but for `lose`, when it may have the last
        copy of something.
        """
        standing = self._check(name)
        if standing.membership in (Membership.REMOVED, Membership.REMOVING):
            return standing
        if _is_drained(standing):
            return await self._remove_drained(name)
        if why := await self.why_not_removed(name, lose=lose):
            raise ChangeRefused(why)
        return await self._in_turn(lambda: self._remove_lost(name))

    async def adopt(self, name: str) -> Standing | None:
        """Let a node in that holds objects already, or that was removed; its standing, if any."""
        watched = self._roster.watched.get(name)
        if watched is None:
            raise NoSuchNode(f"no node {name} is known")
        standing = self._standings.get(name)
        if watched.incarnation is not None:
            raise ChangeRefused(f"node {name} is a member")
        watched.consented = True
        watched.meet_again()
        return standing

    # -- as time goes by --------------------------------------------------------------------------

    async def tend(self) -> None:
        """Begin what has waited, if its time has come, and end what nothing but time kept."""
        await self._emptying.tend()
        if not self._turn.locked:  # else it is looked at again in a moment
            await self._in_turn(self._begin_next)

    async def _begin_next(self) -> None:
        if self._roster.changing or self._absent():
            return
        for name, queued in self.queue():
            if not queued.asked:
                return
            try:
                await self._begin(name, wish_of(queued))
            except (ChangeRefused, NoSuchNode) as error:
                self._log.warn(
                    "{act} of node {node} isn't possible any more: {error}",
                    act=str(queued.act),
                    node=name,
                    error=error,
                )
                await self._standings.amend(name, lambda now: replace(now, queued=None))
            except ClusterError as error:
                self._log.info("a change can't begin yet: {error}", error=error)
                return
            else:
                return

    async def change_over(self, unmended: int, removed: int) -> None:
        """All was compared since the rings are what they are; `unmended` keys aren't right yet.

        What the coming ring wants has been copied: it is the ring, or nodes are empty.
        """
        if not any(each.moves for each in self._standings.all()):
            await self._emptying.swept(unmended, removed)
            return
        shape = self._roster.shape
        await self._in_turn(lambda: self._end_moves(shape))

    async def _end_moves(self, shape: Hashable) -> None:
        if shape != self._roster.shape:
            return  # something else was asked for meanwhile
        moving = [each for each in self._standings.all() if each.moves]
        for each in moving:
            watched = self._roster.watched.get(each.name)
            joins = each.membership is Membership.JOINING
            if joins and (watched is None or watched.incarnation is None):
                return
        for each in moving:
            await self._standings.amend(each.name, partial(_over, each))
        self._standings.set_rings()
        self._emptying.begin()

    # -- inside -----------------------------------------------------------------------------------

    def _check(self, name: str) -> Standing:
        if why := self._absent():
            raise NoNodes(why)
        standing = self._standings.get(name)
        if standing is None:
            known = name in self._roster.watched
            raise NoSuchNode(f"node {name} is no member" if known else f"no node {name} is known")
        if name in self._going:
            raise ChangeRefused(f"node {name} is being removed")
        return standing

    async def _in_turn(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        await self._turn.acquire()
        try:
            return await act()
        finally:
            self._turn.release()

    def _answers(self, name: str) -> bool:
        watched = self._roster.watched.get(name)
        return watched is not None and watched.state is not NodeState.DOWN

    def _check_others(self, after: Standing) -> None:
        """Raise ChangeRefused unless a node is left when this one is as it is to be."""
        _check_left([after, *(each for each in self._standings.all() if each.name != after.name)])

    async def _ask(self, name: str, wanted: Wish) -> Standing:
        """Begin it, or let it wait; refused when it can't be as things are now."""
        return await self._in_turn(lambda: self._ask_now(name, wanted))

    async def _ask_now(self, name: str, wanted: Wish) -> Standing:
        standing = self._check(name)
        after = carried_out(standing, wanted, self._stamps.reading)
        self._check_others(after)
        if after == standing:
            return standing
        busy = any(each.name != name and _is_under_way(each) for each in self._standings.all())
        if not busy or after == replace(standing, queued=None):
            await self._begin(name, wanted)
            return self._done(name)
        queued = wanted.queued(self._stamps.next())
        await self._standings.amend(name, lambda now: replace(now, queued=queued))
        return self._done(name)

    async def _begin(self, name: str, wanted: Wish) -> None:
        since = self._stamps.next()
        # What was asked for before may have been carried out since this was.
        self._check_others(carried_out(self._check(name), wanted, since))
        await self._standings.amend(name, lambda now: carried_out(now, wanted, since))
        self._done(name)

    async def _undo(self, name: str) -> Standing:
        standing, since = self._check(name), self._stamps.next()
        self._check_others(undone(standing, since))
        await self._standings.amend(name, lambda now: undone(now, since))
        return self._done(name)

    async def _remove_drained(self, name: str) -> Standing:
        await self._in_turn(lambda: self._let_go(name))
        try:
            there = await self._cleaned(name)
            if watched := self._roster.watched.get(name):
                watched.consented = False  # that was to its last coming, not to the next
            await self._standings.amend(name, lambda now: _forgotten(now, there=there))
            return self._done(name)
        finally:
            self._going.discard(name)

    async def _let_go(self, name: str) -> None:
        """From here on nothing else may be asked of it."""
        if not _is_drained(self._check(name)):
            raise ChangeRefused(f"node {name} isn't drained any more")
        self._going.add(name)

    async def _remove_lost(self, name: str) -> Standing:
        standing, since = self._check(name), self._stamps.next()
        if self._answers(name):
            raise ChangeRefused(f"node {name} is back")
        self._check_others(_lost(standing, since))
        await self._standings.amend(name, lambda now: _lost(now, since))
        return self._done(name)

    def _done(self, name: str) -> Standing:
        """Let the rings follow; a node that counts no more, or once more, is met afresh."""
        self._standings.set_rings()
        self._emptying.begin()
        standing = self._standings.get(name)
        assert standing is not None
        watched = self._roster.watched.get(name)
        if watched is not None and standing.membership.counts == (watched.incarnation is None):
            watched.meet_again()
        self._log.info("node {node} is {what}", node=name, what=str(standing.membership))
        return standing

    async def _cleaned(self, name: str) -> bool:
        """Leave it blank; whether it is there at all."""
        watched = self._roster.watched.get(name)
        sighting = None if watched is None else watched.sighting
        if sighting is None or sighting.address is None or sighting.credentials is None:
            return False
        await self._clean(name, sighting.address, sighting.credentials)
        return True


def _is_under_way(standing: Standing) -> bool:
    return standing.moves or standing.strays


def _holds_up_joins(standing: Standing) -> bool:
    """Whether its change is another one than that of joining, which others may join."""
    return standing.membership is Membership.DRAINING or standing.coming is not None


def _check_left(standings: Iterable[Standing]) -> None:
    if not ring_members(standings):
        raise ChangeRefused("no node would be left to hold anything")


def _over(was: Standing, now: Standing) -> Standing:
    """The change is over, unless something else was asked for meanwhile."""
    same = (now.membership, now.place, now.coming) == (was.membership, was.place, was.coming)
    return now.over() if same else now


def _is_drained(standing: Standing) -> bool:
    return standing.membership is Membership.DRAINED or standing.is_out


def _forgotten(standing: Standing, *, there: bool) -> Standing:
    if not _is_drained(standing):
        raise ChangeRefused(f"node {standing.name} isn't drained any more")
    return _removed(standing, there=there)


def _removed(standing: Standing, *, there: bool) -> Standing:
    return replace(
        standing, membership=Membership.REMOVED, left=there, adopted=False, queued=None, since=""
    )


def _lost(standing: Standing, since: str) -> Standing:
    if standing.former_place is None:
        return _removed(standing, there=False)
    return replace(
        standing,
        membership=Membership.REMOVING,
        coming=None,
        adopted=False,
        queued=None,
        since=since,
    )
