"""Changes by hand: what an operator asks for, one change of the ring at a time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from aosd.cluster.acts import Wish, carried_out, together, undone, wish, wish_of
from aosd.cluster.emptying import Emptying
from aosd.cluster.outlook import Outlook, check_left
from aosd.cluster.roster import Roster
from aosd.cluster.standings import Standings
from aosd.model.errors import ChangeRefused, ClusterError, NoNodes, NoSuchNode
from aosd.model.node import Address, Credentials
from aosd.model.stamp import StampClock
from aosd.model.standing import Act, Membership, Queued, Standing

T = TypeVar("T")

Clean = Callable[[str, Address, Credentials], Deferred[None]]
"""Take everything of ours off an empty node; fires when that is done."""


class Changes:
    """Takes an operator's acts, begins them one after the other, and ends them.

    What is asked for while another change is under way is queued in the node's own register;
    an act on a node that has a part in the change itself replaces that part at once. A node
    that is lost for good is taken out at once, whatever is under way. `outlook` knows beforehand
    what comes of an act; `welcome` takes one in that counts once more.

    All acts raise NoSuchNode, ChangeRefused (also while there is another gateway), BadRequest, or
    NoNodes and NoQuorum when nothing can be remembered now.
    """

    _log = Logger()

    def __init__(
        self,
        roster: Roster,
        standings: Standings,
        stamps: StampClock,
        outlook: Outlook,
        emptying: Emptying,
        clean: Clean,
        absent: Callable[[], str],
        welcome: Callable[[str], Coroutine[Any, Any, None]],
    ) -> None:
        self.outlook = outlook
        self._roster = roster
        self._standings = standings
        self._stamps = stamps
        self._emptying = emptying
        self._clean = clean
        self._absent = absent
        self._welcome = welcome
        # Whether another change is under way holds only until the next one is begun.
        self._turn = DeferredLock()

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
        joins = [
            (name, Queued(Act.JOIN, ""))
            for name, watched in sorted(self._roster.watched.items())
            if watched.incarnation is None
            and watched.introduction is not None
            and watched.why == self.join_waits(name)
        ]
        return [*waiting, *joins]

    def join_waits(self, name: str) -> str:
        """Why a new node has to wait before it joins; "" when it hasn't.

        Nodes that are full don't wait for space that it would give them.
        """
        if any(each.full for each in self._roster.members()):
            return ""
        others = [
            each.name for each in self.outlook.others(name) if _waits(each) or _holds_up_joins(each)
        ]
        return f"it waits for the change of {', '.join(others)}" if others else ""

    # -- acts -------------------------------------------------------------------------------------

    async def drain(self, name: str) -> Standing:
        """Let all its copies go elsewhere; it is read from until it holds nothing."""
        return await self._alone(lambda: self._ask(name, wish(Act.DRAIN)))

    async def undrain(self, name: str) -> Standing:
        """Let it be a member again, however far its draining is."""
        return await self._alone(lambda: self._ask(name, wish(Act.UNDRAIN)))

    async def weigh(self, name: str, weight: float) -> Standing:
        """Give it another share of first copies: 0.1 to 100; 0 is draining."""
        return await self._alone(lambda: self._ask(name, wish(Act.WEIGH, weight=weight)))

    async def rezone(self, name: str, zone: str) -> Standing:
        """Say with which other nodes it fails."""
        return await self._alone(lambda: self._ask(name, wish(Act.REZONE, zone=zone)))

    async def undo(self, name: str) -> Standing | None:
        """Take back what was asked for last, queued or half done.

        None: somebody had consented to a node that isn't taken in yet, and nobody does now.
        """
        return await self._alone(lambda: self._undo(name))

    async def remove(self, name: str, *, lose: bool = False) -> Standing:
        """Forget a node that is drained, or that is lost for good.

        A drained one that can be reached is left blank. Of a lost one, others get the copies
        that it had. Refused when it is in use, and, but for `lose`, when it may have the last
        copy of something, or too few of the others can be asked to remember it.
        """
        return await self._alone(lambda: self._remove(name, lose=lose))

    async def adopt(self, name: str) -> Standing | None:
        """Let a node in that holds objects already, or that was removed; its standing, if any."""
        watched = self.outlook.newcomer(name)
        standing = self._standings.get(name)
        watched.consented = True
        watched.meet_again()
        return standing

    # -- as time goes by --------------------------------------------------------------------------

    async def tend(self) -> None:
        """Begin what has waited, if its time has come, and end what nothing but time kept."""
        await self._emptying.tend()
        if not self._turn.locked:  # else it is looked at again in a moment
            await self._alone(self._begin_next)

    async def _begin_next(self) -> None:
        if self._roster.changing or self._absent() or self.outlook.contested():
            return
        for name, queued in self.queue():
            if not queued.asked:
                return
            try:
                await self._check_empty(name, wish_of(queued))
                self._check_begun(name, wish_of(queued))
                await self._begin(name, wish_of(queued))
            except (ChangeRefused, NoSuchNode) as error:
                if self.outlook.contested():
                    return  # that is no reason to forget it
                self._log.warn(
                    "{act} of node {node} isn't possible any more: {error}",
                    act=str(queued.act),
                    node=name,
                    error=error,
                )
                await self._standings.amend(name, lambda now: replace(now, queued=None))
            except ClusterError as error:
                self._log.info("a change can't begin yet: {error}", error=error)
                if queued.act is Act.UNDRAIN:
                    continue  # until that one answers, others needn't wait for it
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
        await self._alone(lambda: self._end_moves(shape))

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

    def _alone(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        """Let nothing else be asked for, or begun, while `work` finds out what it may do."""
        return self._turn.run(lambda: Deferred.fromCoroutine(work()))

    async def _undo(self, name: str) -> Standing | None:
        if why := self._absent():
            raise NoNodes(why)
        if (watched := self.outlook.consented(name)) is not None:
            watched.consented = False
            return None
        standing = self.outlook.check(name)
        since = self._stamps.next()
        check_left([undone(standing, since), *self.outlook.others(name)])
        await self._standings.amend(name, lambda now: undone(now, since))
        return self._done(name)

    async def _remove(self, name: str, *, lose: bool) -> Standing:
        standing = self.outlook.check(name)
        match standing.membership:
            case Membership.REMOVED | Membership.REMOVING:
                return await self._so_already(name)
            case Membership.DRAINED:
                there = await self._cleaned(name)
                if watched := self._roster.watched.get(name):
                    watched.consented = False  # that was to its last coming, not to the next
                    watched.meet_again()  # it may have been met while it was being cleaned
                await self._standings.amend(name, lambda now: _removed(now, there=there))
                return self._done(name)
        if why := await self.outlook.why_not_removed(name, lose=lose):
            raise ChangeRefused(why)
        if self.outlook.answers(name):
            raise ChangeRefused(f"node {name} is back")
        check_left(self.outlook.others(name))
        since = self._stamps.next()
        # With as many copies as nodes, too few would be left to remember it.
        with self._roster.without(name) if lose else nullcontext():
            await self._standings.amend(name, lambda now: _lost(now, since))
        return self._done(name)

    async def _ask(self, name: str, wanted: Wish) -> Standing:
        """Begin it, or let it wait; refused when it can't be as things are now."""
        self.outlook.check(name)
        can_begin = True
        try:
            await self._check_empty(name, wanted)
        except NoNodes:
            can_begin = False  # it may be about to start
        standing = self.outlook.check(name)
        wanted = together(standing, wanted)
        after = carried_out(standing, wanted, self._stamps.reading)
        check_left([after, *self.outlook.others(name)])
        if after == standing:
            return await self._so_already(name)
        at_once = not self._is_before(standing) or after == replace(standing, queued=None)
        if can_begin and at_once:
            return await self._begin(name, wanted)
        asked = self._stamps.next() if standing.queued is None else standing.queued.asked
        queued = wanted.queued(asked)
        await self._standings.amend(name, lambda now: replace(now, queued=queued))
        return self._done(name)

    async def _so_already(self, name: str) -> Standing:
        """What was asked for is so, and stays so even if something else couldn't be set before."""
        await self._standings.make_sure(name)
        return self.outlook.check(name)

    async def _check_empty(self, name: str, wanted: Wish) -> None:
        """Raise ChangeRefused, or NoNodes, unless a drained node that is to join again is empty.

        And is there: where each node is needed for a write, none is taken before it counts.
        """
        standing = self.outlook.check(name)
        if wanted.act is Act.UNDRAIN and standing.membership is Membership.DRAINED:
            await self._emptying.check_empty(name)
            watched = self._roster.watched.get(name)
            if watched is not None:
                await watched.meet_now()
            if watched is None or watched.introduction is None:
                raise NoNodes(f"node {name} can't be reached now")

    def _is_before(self, standing: Standing) -> bool:
        """Whether what is asked of this node now has to wait for what was asked of others."""
        others = self.outlook.others(standing.name)
        if any(_is_under_way(each) for each in others):
            return True
        return not _is_under_way(standing) and any(each.queued for each in others)

    def _check_begun(self, name: str, wanted: Wish) -> None:
        """Of what waited: much may have come between, and what waits itself may never begin."""
        others = [replace(each, queued=None) for each in self.outlook.others(name)]
        check_left([carried_out(self.outlook.check(name), wanted, self._stamps.reading), *others])

    async def _begin(self, name: str, wanted: Wish) -> Standing:
        since = self._stamps.next()
        await self._standings.amend(name, lambda now: carried_out(now, wanted, since))
        if wanted.act is Act.UNDRAIN:
            await self._welcome(name)
        return self._done(name)

    def _done(self, name: str) -> Standing:
        """Let the rings follow; a node that counts no more, or once more, is met afresh."""
        self._standings.set_rings()
        self._emptying.begin()
        standing = self._standings.get(name)
        assert standing is not None
        watched = self._roster.watched.get(name)
        counts = standing.membership.counts
        if watched is not None and counts == (watched.incarnation is None):
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


def _waits(standing: Standing) -> bool:
    """Whether something is to begin that doesn't wait itself for the node to be there."""
    return standing.queued is not None and standing.queued.act is not Act.UNDRAIN


def _holds_up_joins(standing: Standing) -> bool:
    """Whether its change is another one than that of joining, which others may join."""
    return standing.membership is Membership.DRAINING or standing.coming is not None


def _over(was: Standing, now: Standing) -> Standing:
    """The change is over, unless something else was asked for meanwhile."""
    same = (now.membership, now.place, now.coming) == (was.membership, was.place, was.coming)
    return now.over() if same else now


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
