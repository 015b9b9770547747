"""A member over time: where it is now, and whether it can be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aosd.cluster.breaker import Breaker
from aosd.model.errors import AosdError, NodeError, NodeTimeout
from aosd.model.node import Address, Credentials, Member, NodeState, Sighting
from aosd.observe.metrics import Metrics
from aosd.ports import Candidate, IHealth, INode
from aosd.streams.deadlines import within

MakeNode = Callable[[str, Address, Credentials, IHealth], INode]
Provision = Callable[[str, Address, Credentials], Deferred[str]]
"""Fires with the node's incarnation after buckets and marker were found or made."""


class WatchedMember:
    """One member of the ring. Owned by the Roster; `tick` is called once an interval."""

    _log = Logger()

    def __init__(
        self,
        member: Member,
        clock: IReactorTime,
        breaker: Breaker,
        make_node: MakeNode,
        provision: Provision,
        check_marker: Callable[[str, bytes], str],
        metrics: Metrics,
        probe_timeout_s: float,
    ) -> None:
        self.member = member
        self.breaker = breaker
        self.sighting: Sighting | None = None
        self.node: INode | None = None
        self.incarnation: str | None = None
        self.why = "not seen yet"
        self._clock = clock
        self._make_node = make_node
        self._provision = provision
        self._check_marker = check_marker
        self._metrics = metrics
        self._probe_timeout_s = probe_timeout_s
        self._busy: Deferred[None] | None = None

    @property
    def state(self) -> NodeState:
        """What it can be used for now."""
        if self.node is None or self.incarnation is None:
            return NodeState.DOWN
        if self.breaker.open:
            return NodeState.SUSPECT
        return NodeState.FULL if self.breaker.full else NodeState.UP

    @property
    def candidate(self) -> Candidate:
        """As use cases see it."""
        state = self.state
        usable = state in (NodeState.UP, NodeState.FULL)
        return Candidate(self.member.name, self.node if usable else None, state is NodeState.FULL)

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

    def tick(self) -> None:
        """Contact or probe the node, unless that is under way or not due."""
        node = self.node
        if node is None or self._busy is not None:
            return
        contacting = self.incarnation is None
        if (contacting or self.breaker.open) and not self.breaker.probe_due():
            return
        attempt = self._contact(node) if contacting else self._probe(node)
        busy = self._busy = Deferred.fromCoroutine(attempt)

        def over(_: object) -> None:
            if self._busy is busy:
                self._busy = None
            self._tell()

        busy.addErrback(self._unexpected).addBoth(over)

    def leave(self) -> Deferred[Any] | None:
        """The daemon stops: close connections; fires when a contact under way is over."""
        busy = self._busy
        self._leave("stopping")
        return busy

    async def _contact(self, node: INode) -> None:
        """The first contact at this address."""
        sighting = self.sighting
        assert sighting is not None
        assert sighting.address is not None and sighting.credentials is not None
        try:
            incarnation = await self._provision(
                self.member.name, sighting.address, sighting.credentials
            )
        except NodeError as error:
            if self.node is node:
                self.why = str(error)
                self.breaker.probe_failed(str(error))
                self._metrics.node_errors.labels(self.member.name, type(error).__name__).inc()
            return
        if self.node is node:
            self.incarnation = incarnation
            self.breaker.close()
            self.why = ""
            self._log.info(
                "node {node} is up at {url}", node=self.member.name, url=sighting.address.url
            )

    async def _probe(self, node: INode) -> None:
        """One round over the control connection."""
        began_s = self._clock.seconds()
        timeout_s = self._probe_timeout_s
        try:
            marker = await within(
                self._clock,
                timeout_s,
                node.probe(),
                lambda: NodeTimeout(self.member.name, f"no answer to a probe in {timeout_s:g} s"),
            )
            if self.node is not node:
                return
            if marker is None:
                # Its disk was emptied: meet it afresh.
                self.incarnation = None
                self.why = "its marker is gone"
                self.breaker.hurry()
                return
            self.incarnation = self._check_marker(self.member.name, marker)
        except AosdError as error:
            # Only silence may be a busy node's; a refused connection, a refused signature
            # or another node's marker say what they say.
            busy = isinstance(error, NodeTimeout) and self.breaker.alive_at_s >= began_s
            if self.node is node and not busy:
                self._doubt(str(error))
            return
        if self.breaker.open:
            self._log.info("node {node} answers again", node=self.member.name)
        self.breaker.close()
        self.why = ""

    def _doubt(self, why: str) -> None:
        if self.breaker.open:
            self.breaker.probe_failed(why)
        else:
            self._log.warn("node {node} is suspect: {why}", node=self.member.name, why=why)
            self.breaker.trip(why)
        self.why = self.breaker.why

    def _leave(self, why: str) -> None:
        node, self.node = self.node, None
        self.incarnation = None
        self.why = why
        if node is not None:
            self.breaker.trip(why)
            self.breaker.close()
            node.close().addErrback(
                lambda failure: self._log.failure("closing connections", failure)
            )
        self._tell()

    def _tell(self) -> None:
        name = self.member.name
        self._metrics.node_up.labels(name).set(self.candidate.node is not None)
        self._metrics.breaker_open.labels(name).set(self.breaker.open)

    def _unexpected(self, failure: Any) -> None:
        self._log.failure("watching node {node}", failure, node=self.member.name)
        self.breaker.trip("watching it failed; the log says why")


def _absence(sighting: Sighting | None) -> str:
    if sighting is None:
        return "no provider reports it any more"
    return sighting.problem or "not running"
