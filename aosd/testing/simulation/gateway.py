"""One run of the gateway in the simulated world, from its start to its death."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.python.failure import Failure

from aosd.assembly import Assembly
from aosd.model.errors import NodeTimeout, NodeUnavailable
from aosd.model.marker import Introduction
from aosd.model.node import Address, Credentials, Sighting
from aosd.observe.metrics import Metrics
from aosd.ports import IHealth, INode
from aosd.settings_sources import load_settings
from aosd.testing.discovery import ScriptedDiscovery
from aosd.testing.simulation.clocks import MortalClock, WorldClock
from aosd.testing.simulation.known import CheckedPlaces
from aosd.testing.simulation.line import Line
from aosd.testing.simulation.nodes import SimulatedNode

if TYPE_CHECKING:
    from aosd.testing.simulation.operations import Operation

_GRACE_S = 30.0
_LAST_ACTS_S = 3.0
_CONTACT_S = 5.0

# Small bodies go all the ways that large ones do: up to 8 bytes are held, longer ones flow,
# and those of unknown length go as parts of 10 bytes and more.
SETTINGS = load_settings({}, {}).settings.model_copy(
    update={"replay_bytes": 8, "part_bytes": 10, "part_bytes_max": 20, "body_memory_bytes": 4096}
)
_metrics = Metrics()


class Gateway:
    """A gateway: `assembly` is the real thing, wired to simulated nodes."""

    def __init__(
        self,
        clock: WorldClock,
        chance: random.Random,
        replicas: int,
        find: Callable[[Address], SimulatedNode | None],
        sightings: Sequence[Sighting],
        broken: Callable[[str], object],
        ahead_s: float = 0.0,
    ) -> None:
        self.clock = MortalClock(clock, ahead_s)
        self.began_s = clock.seconds()
        self.operations: dict[Operation, None] = {}
        self.contacts = 0
        self.stopping = False
        self.stopped = False
        self.discovery = ScriptedDiscovery("simulated", sightings)
        self._world_clock = clock
        self._chance = chance
        self._find = find
        self.assembly = Assembly(
            SETTINGS.model_copy(update={"replicas": replicas}),
            self.clock,
            self.clock.now,
            [self.discovery],
            self._make_node,
            self._introduce,
            self._equip,
            random.Random(chance.getrandbits(32)),  # noqa: S311 - a story's own chance
            _metrics,
            lambda: f"{chance.getrandbits(64):016x}",
            clean=self._clean,
        )
        store = self.assembly.store
        # Parts of clients' uploads are as small as all else.
        limits = replace(store.limits, least_part_bytes=0)
        known = CheckedPlaces(broken)
        self.store = self.assembly.store = replace(store, limits=limits, known=known)
        self.store.copying.held_bytes = 8
        self.assembly.start()

    @property
    def lives(self) -> bool:
        """Whether it is there."""
        return not self.clock.dead

    @property
    def takes_requests(self) -> bool:
        """Whether clients can connect."""
        return self.lives and not self.stopping

    def kill(self) -> None:
        """SIGKILL: nothing it waits for comes any more."""
        self.clock.die()
        operations, self.operations = list(self.operations), {}
        for operation in operations:
            operation.gateway_died()

    def stop(self) -> None:
        """SIGTERM: as the daemon does it."""
        self.stopping = True
        stopping = Deferred.fromCoroutine(self._stop())

        def over(outcome: Failure | None) -> None:
            self.stopped = True
            self.clock.die()
            if isinstance(outcome, Failure):
                outcome.raiseException()

        stopping.addBoth(over)
        self._stopping = stopping

    async def _stop(self) -> None:
        await self._drained(_GRACE_S, lambda: not self.operations)
        for operation in list(self.operations):
            operation.client_leaves()
        idle = Deferred.fromCoroutine(self.assembly.to_the_end.idle())
        await self._drained(_LAST_ACTS_S, lambda: bool(idle.called))
        await self.assembly.stop()

    async def _drained(self, limit_s: float, is_over: Callable[[], bool]) -> None:
        until_s = self.clock.seconds() + limit_s
        while not is_over() and self.clock.seconds() < until_s:
            await self._pause(0.05)

    def _pause(self, seconds: float) -> Deferred[None]:
        pause: Deferred[None] = Deferred()
        self.clock.callLater(seconds, pause.callback, None)
        return pause

    # -- what it finds in the world ---------------------------------------------------------------

    def _make_node(
        self, name: str, address: Address, credentials: Credentials, health: IHealth
    ) -> INode:
        node = self._find(address)
        assert node is not None
        return Line(name, node, self.clock, health)

    def _introduce(
        self,
        name: str,
        address: Address,
        credentials: Credentials,
        probe: bool,
        consented: bool,
    ) -> Deferred[Introduction]:
        def look(node: SimulatedNode) -> Introduction:
            node.check_signature(self.clock.now())
            hides = probe and node.kind.hides_beneath
            in_order = not node.kind.tree_order
            return Introduction(
                node.marker, node.has_objects, sorted_listing=in_order, hides_beneath=hides
            )

        return self._contact(name, address, look)

    def _equip(
        self,
        name: str,
        address: Address,
        credentials: Credentials,
        marker: bytes,
        over: bytes | None,
        records: Mapping[str, bytes],
    ) -> Deferred[bytes]:
        # No world has two clusters in it.
        assert over is None
        return self._contact(name, address, lambda node: node.equip(marker, records))

    def _clean(
        self, name: str, address: Address, credentials: Credentials, cluster: str, buckets: bool
    ) -> Deferred[None]:
        leaving = self._contact(name, address, lambda node: node.is_left())
        return leaving.addCallback(
            lambda _: self._contact(name, address, lambda node: node.clean(buckets=buckets))
        )

    def _contact(
        self, name: str, address: Address, act: Callable[[SimulatedNode], Any]
    ) -> Deferred[Any]:
        """A few requests from a thread of its own; nothing of it is lost half-way here."""
        waiting: Deferred[Any] = Deferred()
        node = self._find(address)
        if self.clock.dead:
            return waiting
        if node is None or not node.running:
            return fail(NodeUnavailable(name, "no connection"))
        epoch = node.epoch

        def too_late() -> None:
            if not waiting.called:
                waiting.errback(NodeTimeout(name, f"no answer in {_CONTACT_S:g} s"))

        limit = self.clock.callLater(_CONTACT_S, too_late)

        def arrive() -> None:
            if waiting.called or self.clock.dead:
                return
            if node.epoch != epoch or not node.running:
                limit.cancel()
                waiting.errback(NodeUnavailable(name, "the connection broke"))
                return
            node.when_awake(answer)

        def answer() -> None:
            if waiting.called or self.clock.dead:
                return
            limit.cancel()
            try:
                outcome = act(node)
            except Exception as error:  # noqa: BLE001 - whatever it answers
                waiting.errback(error)
            else:
                waiting.callback(outcome)

        def over(outcome: Any) -> Any:
            self.contacts -= 1
            return outcome

        self.contacts += 1
        self.clock.callLater(0.005 + self._chance.random() * 0.02, arrive)
        return waiting.addBoth(over)


def is_given_up(error: BaseException) -> bool:
    """Whether an operation failed because its client left."""
    return isinstance(error, CancelledError)
