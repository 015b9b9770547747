"""A node over time: where it is now, whether it can be asked, and whether it was away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from aosd.cluster.breaker import Breaker
from aosd.model.errors import AosdError, NodeError, NodeTimeout, NodeUnavailable
from aosd.model.marker import Introduction, read_marker
from aosd.model.node import Address, Credentials, Member, NodeState, Sighting
from aosd.observe.metrics import Metrics
from aosd.ports import Candidate, IHealth, INode
from aosd.streams.deadlines import IdleTimer, within

MakeNode = Callable[[str, Address, Credentials, IHealth], INode]
Introduce = Callable[[str, Address, Credentials, bool, bool], Deferred[Introduction]]
"""The first contact; fires with what was found.

The last arguments: whether to probe what the node can, too; and whether somebody consented that
it joins with the objects that it holds.
"""


_MEET_AGAIN_S = 30.0
# Of a member: what its candidate tells depends on these, and on its breaker and returns.
_PLACING = frozenset({"member", "node", "incarnation", "hides", "foreign", "adopted", "_lost"})
# A Date header tells whole seconds: half a second more or less isn't known.
CLOCK_WARNING_S = 1.5
CLOCK_REFUSAL_S = 5.5


class IReturns(Protocol):
    """Who wants to know that a node was away, and who knows whether it still counts as away."""

    def returned(self, name: str) -> None:
        """The node answers again, and nothing it has is certain."""

    def is_returning(self, name: str) -> bool:
        """Whether no sweep has been completed since."""


class WatchedMember:
    """One node that is a member or wants to be. Owned by the Roster; ticked once an interval.

    It is admitted (it has an `incarnation`) by whoever decides about membership, after it
    was introduced. From then on it counts, as its state says.

    `consented`: somebody said that it is to join with the objects that it holds, or come back.
    `foreign`: it came with objects once; `adopted`: just now. See Candidate.
    """

    _log = Logger()

    def __init__(
        self,
        member: Member,
        clock: IReactorTime,
        breaker: Breaker,
        make_node: MakeNode,
        introduce: Introduce,
        returns: IReturns,
        metrics: Metrics,
        *,
        met: Callable[[], object] = lambda: None,
        consented: bool = False,
        probe_timeout_s: float,
        down_after_s: float,
    ) -> None:
        # Whoever remembers where keys belong has to look anew.
        self.on_changed: Callable[[], object] = lambda: None
        self.member = member
        self.breaker = breaker
        self.sighting: Sighting | None = None
        self.node: INode | None = None
        self.introduction: Introduction | None = None
        self.incarnation: str | None = None
        self.why = "not seen yet"
        self.up_since_s = 0.0
        # How often its control connection broke, or was given up.
        self.losses = 0
        # Whether an object hides what lies beneath it; None while nobody knows.
        self.hides: bool | None = None
        self.foreign = self.adopted = False
        self._consented = consented
        self.down_since_s: float | None = clock.seconds()
        self._lost = False
        self._announced = False
        self._probe_began_s = 0.0
        self._impatience = IdleTimer(clock, probe_timeout_s, self._impatient)
        self._known = False
        self._sorts = True
        self._clock = clock
        self._make_node = make_node
        self._introduce = introduce
        self._returns = returns
        self._metrics = metrics
        self._probe_timeout_s = probe_timeout_s
        self._down_after_s = down_after_s
        self._met = met
        self._refused_s: float | None = None
        self._told: Candidate | None = None
        self._busy: Deferred[None] | None = None
        self._confirming: list[Deferred[None]] = []
        breaker.on_control_lost = self._control_lost
        breaker.on_confirm = self._confirm
        breaker.on_changed = lambda: self.on_changed()

    def __setattr__(self, name: str, value: object) -> None:
        is_news = name in _PLACING and getattr(self, name, None) != value
        super().__setattr__(name, value)
        if is_news:
            self.on_changed()

    # -- what it is -------------------------------------------------------------------------------

    @property
    def state(self) -> NodeState:
        """What it can be used for now."""
        if self.node is None or self.incarnation is None or self._lost:
            return NodeState.DOWN
        if self.breaker.open:
            return NodeState.SUSPECT
        if self._returns.is_returning(self.member.name):
            return NodeState.RETURNING
        return NodeState.FULL if self.breaker.full else NodeState.UP

    @property
    def is_met(self) -> bool:
        """Whether it answered when it was introduced last, though it may be due again."""
        return self.introduction is not None or self._refused_s is not None

    @property
    def candidate(self) -> Candidate:
        """As use cases see it."""
        state, full, member = self.state, self.breaker.full, self.member
        node = None if state is NodeState.DOWN or state is NodeState.SUSPECT else self.node
        told = self._told
        # Asked for by every request, several times, and nearly always the same.
        if (
            told is not None
            and told.node is node
            and told.state is state
            and told.full is full
            and told.hides is self.hides
            and told.foreign is self.foreign
            and told.adopted is self.adopted
            and told.zone == member.zone
            and told.name == member.name
        ):
            return told
        told = self._told = Candidate(
            member.name,
            node,
            state,
            member.zone,
            full,
            self.hides,
            self.foreign,
            self.adopted,
        )
        return told

    @property
    def consented(self) -> bool:
        """See the class. To consent has a node that waits introduced anew: it is probed now."""
        return self._consented

    @consented.setter
    def consented(self, consented: bool) -> None:
        is_news = consented and not self._consented
        self._consented = consented
        if is_news and self.introduction is not None and self.incarnation is None:
            self.meet_again()

    @property
    def is_blank(self) -> bool:
        """Whether it had no marker when it was met."""
        return self.introduction is not None and self.introduction.marker is None

    # -- what happens to it -----------------------------------------------------------------------

    def seen(self, sighting: Sighting | None) -> None:
        """Its newest sighting; None when no provider reports it any more."""
        before, self.sighting = self.sighting, sighting
        if sighting is None or sighting.address is None or sighting.credentials is None:
            if self.node is not None or before is None or before != sighting:
                self._leave(_absence(sighting))
            return
        if (
            self.node is None
            or before is None
            or (before.address, before.credentials) != (sighting.address, sighting.credentials)
        ):
            self._leave("not reached yet")
            self.node = self._make_node(
                self.member.name, sighting.address, sighting.credentials, self.breaker
            )
            self.breaker.hurry()
            self.tick()

    def admit(self, incarnation: str, *, away: bool) -> None:
        """It counts from now on; `away`: it may lack what was written meanwhile."""
        assert self.node is not None
        self.incarnation = incarnation
        self._consented = False  # that was to this disk, not to the next
        self._lost = False
        self._known = True
        self._refused_s = None
        self.up_since_s = self._clock.seconds()
        self.why = ""
        if away:
            self._returns.returned(self.member.name)
        self._log.info("node {node} is up", node=self.member.name)
        self._tell()

    def refuse(self, why: str) -> None:
        """It can't be a member, for now."""
        if why != self.why:
            self._log.warn("node {node} isn't taken in: {why}", node=self.member.name, why=why)
        self.why = why
        if self._refused_s is None:
            self._refused_s = self._clock.seconds()

    def meet_again(self) -> None:
        """Introduce it anew at the next tick: what was found is no longer so."""
        self.introduction = None
        self.incarnation = None
        self.breaker.hurry()

    async def meet_now(self) -> None:
        """Introduce it anew at once; that is over then, and went well if it has an introduction."""
        self.meet_again()
        for _ in range(2):  # what is under way comes first
            self.tick()
            if self._busy is None or self.introduction is not None:
                return
            met: Deferred[None] = Deferred()

            def over(result: object, met: Deferred[None] = met) -> object:
                met.callback(None)
                return result

            self._busy.addBoth(over)
            await met

    def tick(self) -> None:
        """Introduce or probe the node, unless that is under way or not due."""
        self.breaker.tick()
        node = self.node
        if node is None or self._busy is not None:
            return
        if self.breaker.open and not self._confirming and not self.breaker.probe_due():
            return
        refused_s = self._refused_s
        if refused_s is not None and self._clock.seconds() - refused_s >= _MEET_AGAIN_S:
            # What stood in its way may be gone.
            self.introduction = None
        introducing = self.introduction is None
        if introducing and not self.breaker.probe_due():
            return
        attempt = self._meet(node) if introducing else self._probe(node)
        busy = self._busy = Deferred.fromCoroutine(attempt)

        def over(_: object) -> None:
            if self._busy is busy:
                self._busy = None
            self._tell()
            if self._confirming:
                self.tick()

        busy.addErrback(self._unexpected).addBoth(over)

    def leave(self) -> Deferred[Any] | None:
        """The daemon stops: close connections; fires when a contact under way is over."""
        busy = self._busy
        self._leave("stopping")
        return busy

    # -- inside -----------------------------------------------------------------------------------

    async def _meet(self, node: INode) -> None:
        """The first contact at this address."""
        sighting = self.sighting
        assert sighting is not None
        assert sighting.address is not None and sighting.credentials is not None
        probing, consented = not self._known, self._consented
        try:
            introduction = await self._introduce(
                self.member.name, sighting.address, sighting.credentials, probing, consented
            )
        except NodeError as error:
            if self.node is node:
                self.why = str(error)
                self._refused_s = None
                self.breaker.probe_failed(str(error))
                self._metrics.node_errors.labels(self.member.name, type(error).__name__).inc()
            return
        if consented is not self._consented:
            self.breaker.hurry()
            return  # once more, as it is to be now
        if self.node is node:
            if probing:
                self._sorts = introduction.sorted_listing
            node.sorts = self._sorts
            self.introduction = introduction
            if probing:
                self.hides = introduction.hides_beneath
            self._refused_s = None
            self.breaker.close()
            self.why = "reached, and not taken in yet"
            self._met()

    async def _probe(self, node: INode) -> None:
        """One round over the control connection.

        One that takes long is doubted, but not given up before the node counts as down: to
        give it up breaks the connection, and then nobody knows what happened meanwhile.
        """
        name = self.member.name
        confirming, self._confirming = self._confirming, []
        self._probe_began_s = self._clock.seconds()
        self._impatience.start()
        try:
            marker = await within(
                self._clock,
                self._down_after_s,
                node.probe(),
                lambda: NodeTimeout(name, f"no answer to a probe in {self._down_after_s:g} s"),
            )
            if self.node is not node:
                raise NodeUnavailable(name, "it moved")
            self._answered(marker)
            self._announced = False
        except AosdError as error:
            if self.node is node:
                self._doubt(str(error))
                silent = isinstance(error, NodeTimeout) or self._announced
                if silent and self.incarnation is not None:
                    self._lost = True
                self._announced = False
            self._confirmed(confirming, Failure(NodeUnavailable(name, str(error))))
        except BaseException:
            self._confirmed(confirming, Failure(NodeUnavailable(name, "not probed")))
            raise
        else:
            self._confirmed(confirming, None)
        finally:
            self._impatience.stop()

    def _confirmed(self, waiting: list[Deferred[None]], outcome: Failure | None) -> None:
        for each in waiting:
            # Who was waiting may have given up meanwhile.
            if not each.called:
                each.callback(outcome)

    def _impatient(self) -> None:
        """A probe takes long; who hears of the node in other ways doesn't mind."""
        if self.breaker.alive_at_s >= self._probe_began_s:
            self._probe_began_s = self._clock.seconds()
            self._impatience.start()
        else:
            self._doubt(f"no answer to a probe in {self._probe_timeout_s:g} s")

    @property
    def clock_ahead_s(self) -> float:
        """How far its clock is ahead of ours, as its last probe told."""
        return self.breaker.clock_ahead_s

    def _answered(self, marker: bytes | None) -> None:
        """It answered a probe with its marker."""
        name = self.member.name
        if self.incarnation is not None:
            found = read_marker(name, marker) if marker is not None else None
            if found is None or found.node != name or found.incarnation != self.incarnation:
                # Emptied, or another disk: meet it afresh.
                self._lost = True
                self.meet_again()
                self.breaker.close()
                self.why = "its marker is gone" if found is None else "its marker changed"
                raise NodeUnavailable(name, self.why)
            if self._lost:
                self._lost = False
                self.up_since_s = self._clock.seconds()
                self._returns.returned(name)
                self._log.info("node {node} is back", node=name)
            elif self.breaker.open:
                self._log.info("node {node} answers again", node=name)
            self.why = ""
            ahead_s = self.breaker.clock_ahead_s
            if abs(ahead_s) > CLOCK_WARNING_S:
                self.why = f"its clock is {ahead_s:+.0f} s from ours"
        self.breaker.close()

    def _doubt(self, why: str) -> None:
        if self.breaker.open:
            self.breaker.probe_failed(why)
        else:
            self._log.warn("node {node} is suspect: {why}", node=self.member.name, why=why)
            self.breaker.trip(why)
        self.why = self.breaker.why

    def _control_lost(self, announced: bool) -> None:
        """The connection that only probes go over broke: was it restarted?"""
        self.losses += 1
        if self.node is None or self.incarnation is None:
            return
        if announced:
            # That is no return if a new one is answered at once.
            self._announced = True
        else:
            self._lost = True
            self.why = "its control connection broke"
        self.breaker.hurry()
        self._tell()
        self.tick()

    def _confirm(self) -> Deferred[None]:
        if self.node is None:
            return fail(NodeUnavailable(self.member.name, self.why))
        waiting: Deferred[None] = Deferred(self._forget)
        self._confirming.append(waiting)
        if self.introduction is not None:
            self.tick()
        return waiting

    def _forget(self, waiting: Deferred[None]) -> None:
        if waiting in self._confirming:
            self._confirming.remove(waiting)

    def _leave(self, why: str) -> None:
        node, self.node = self.node, None
        self.losses += 1
        self.introduction = None
        self.incarnation = None
        self._refused_s = None
        self._lost = False
        self.why = why
        confirming, self._confirming = self._confirming, []
        for waiting in confirming:
            waiting.errback(Failure(NodeUnavailable(self.member.name, why)))
        if node is not None:
            self.breaker.trip(why)
            self.breaker.close()
            node.close().addErrback(
                lambda failure: self._log.failure("closing connections", failure)
            )
        self._tell()

    def _tell(self) -> None:
        name = self.member.name
        if self.state is not NodeState.DOWN:
            self.down_since_s = None
        elif self.down_since_s is None:
            self.down_since_s = self._clock.seconds()
        self._metrics.node_up.labels(name).set(self.candidate.node is not None)
        self._metrics.breaker_open.labels(name).set(self.breaker.open)

    def _unexpected(self, failure: Any) -> None:
        self._log.failure("watching node {node}", failure, node=self.member.name)
        self.breaker.trip("watching it failed; the log says why")


def _absence(sighting: Sighting | None) -> str:
    if sighting is None:
        return "no provider reports it any more"
    return sighting.problem or "not running"
