"""The simulated world: nodes, a gateway that comes and goes, clients, and what must hold.

world = World(random.Random(7), nodes=3, replicas=2)
world.start_gateway(); world.until_ready()
world.put("a", b"one")              # returns an Operation at once
world.node("n1").lose_power(5.0)
world.pass_time(3.0)
world.quiet()                       # heals everything, waits, and checks where copies lie
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from aosd.model.node import Credentials, Sighting
from aosd.model.objects import SYSTEM_BUCKET
from aosd.model.ring import Ring
from aosd.testing.memory_disk import Copy
from aosd.testing.simulation import quiet
from aosd.testing.simulation.clientele import Clientele
from aosd.testing.simulation.clocks import WorldClock
from aosd.testing.simulation.gateway import Gateway
from aosd.testing.simulation.nodes import Kind, Mutation, SimulatedNode
from aosd.testing.simulation.operations import Operation
from aosd.testing.simulation.operators import Acting, Operator, Pausing
from aosd.testing.simulation.paths import split
from aosd.testing.simulation.promise import Promise
from aosd.testing.simulation.reference import PromiseBroken, Reference
from aosd.testing.simulation.upload_operations import ClientUpload
from aosd.testing.simulation.weather import Fate

START_S = 1_700_000_000.0
_CREDENTIALS = Credentials("key", "secret")
# What Twisted says of a Deferred that is collected with an error, before it says which.
_PREAMBLE = "Unhandled error in Deferred:"
_COLLECTED = "cannot reuse already awaited coroutine"


@dataclass(eq=False)
class Ambush:
    """Something that happens when a number of changes were made."""

    changes: int
    act: Callable[[], None]
    node: str


@implementer(ILogObserver)
class World(Clientele):
    """Everything that a scenario plays with. `faulty` says that errors are to be expected.

    What breaks the promise raises PromiseBroken from the step during which it happened.
    `kinds` are of the nodes, in order; those that come later are as AWS describes them.
    `gateway_ahead_s` is how far the clock of the gateway's host is off. `tally` counts what
    befell whom.

    `nodes` are those that there are, `gone` those that were lost for ever, with all on them.

    `reference` knows what clients wrote, by path, `tags` what is beside that; `buckets` which
    buckets they made (b"") and removed (None), `bucket_touched_s` when they were last at it;
    `uploads` are all that clients have begun.
    """

    def __init__(
        self,
        chance: random.Random,
        *,
        nodes: int = 3,
        replicas: int = 2,
        tracing: Callable[[str], object] | None = None,
        notices_stops: bool = True,
        kinds: Sequence[Kind] = (),
    ) -> None:
        self.chance = chance
        self.clock = WorldClock(START_S)
        self.replicas = replicas
        self.tags = Reference(self.clock.seconds)
        self.reference = Reference(self.clock.seconds, self.tags)
        self.buckets = Reference(self.clock.seconds)
        self.bucket_touched_s: dict[str, float] = {}
        self.uploads: list[ClientUpload] = []
        self.nodes: dict[str, SimulatedNode] = {}
        self.gone: dict[str, SimulatedNode] = {}
        self.operator = Operator(self)
        self.gateway: Gateway | None = None
        self.gateway_ahead_s = 0.0
        self.clock_wrong_since_s = START_S
        self.ambushes: list[Ambush] = []
        self.tally: Counter[str] = Counter()
        self.promise = Promise(self)
        self.faulty = False
        self.stale_until_s = 0.0
        self.notices_stops = notices_stops
        self._tracing = tracing
        self._graveyard: list[Gateway] = []
        self._kinds = kinds
        for _ in range(nodes):
            self.add_node()

    # -- nodes ------------------------------------------------------------------------------------

    def add_node(self, *, unseen: bool = False) -> SimulatedNode:
        """A new empty node, seen by discovery (`unseen`: at its next round)."""
        number = len(self.machines) + 1
        node = SimulatedNode(
            f"n{number}",
            number,
            self.clock,
            self.chance,
            self._mutated,
            kind=self._kinds[number - 1] if number <= len(self._kinds) else Kind(),
            tally=self.tally,
        )
        self.nodes[node.name] = node
        if not unseen:
            self.look_around()
        return node

    def add_foreign_node(self, objects: Sequence[tuple[str, bytes, float]]) -> SimulatedNode:
        """A new node with objects: each a path, bytes, and when it was last modified."""
        node = self.add_node(unseen=True)
        for path, data, modified_s in objects:
            self.operator.bring(node, path, data, modified_s)
        self.look_around()
        return node

    def lose_for_ever(self, name: str) -> None:
        """The node burns down: nothing that lay there is ever seen again."""
        node = self.gone[name] = self.nodes.pop(name)
        node.lose_power(0.0)
        self.trace(f"{name} is gone for ever")

    @property
    def machines(self) -> dict[str, SimulatedNode]:
        """All nodes, those that are gone for ever, too."""
        return {**self.nodes, **self.gone}

    def node(self, name: str) -> SimulatedNode:
        """The node of that name."""
        return self.nodes[name]

    def sightings(self) -> list[Sighting]:
        """What discovery sees now."""
        return [
            Sighting(node.name, node.address, _CREDENTIALS)
            if node.running or not self.notices_stops
            else Sighting(node.name, None, _CREDENTIALS, running=False)
            for node in self.nodes.values()
        ]

    def look_around(self) -> None:
        """A round of discovery."""
        if self.gateway is not None and self.gateway.lives and not self.gateway.stopping:
            self.gateway.discovery.see(*self.sightings())

    def primaries(self, key: str) -> list[SimulatedNode]:
        """Where the key's copies belong, by the ring of all nodes."""
        return self.order(key)[: self.replicas]

    def order(self, key: str) -> list[SimulatedNode]:
        """All nodes in the key's order, by the gateway's ring."""
        assert self.gateway is not None
        ring: Ring = self.gateway.assembly.roster.ring
        return [self.machines[name] for name in ring.order(*split(key))]

    # -- the gateway ------------------------------------------------------------------------------

    def start_gateway(self) -> Gateway:
        """A new run; there must be none."""
        assert self.gateway is None
        by_address = {node.address: node for node in self.machines.values()}

        def find(address: Any) -> SimulatedNode | None:
            found = by_address.get(address)
            if found is None:
                by_address.update({node.address: node for node in self.machines.values()})
                found = by_address.get(address)
            return found

        self.gateway = Gateway(
            self.clock,
            self.chance,
            self.replicas,
            find,
            self.sightings(),
            self.promise.broken,
            self.gateway_ahead_s,
        )
        return self.gateway

    def set_gateway_clock(self, ahead_s: float) -> None:
        """Its host's time of day is so far off from now on, for a run that is and those to come."""
        self.trace(f"the gateway's clock is {ahead_s:+g} s off")
        self.gateway_ahead_s = ahead_s
        self.clock_wrong_since_s = self.clock.seconds()
        if self.gateway is not None:
            self.gateway.clock.ahead_s = ahead_s

    def kill_gateway(self) -> None:
        """Gone, at once."""
        assert self.gateway is not None
        self.operator.watch()  # it may have taken somebody in since the last step
        gateway, self.gateway = self.gateway, None
        self._graveyard.append(gateway)
        gateway.kill()
        self._unplug(gateway)
        # Stamps that it gave are older than whatever comes after it.
        self.all_idle()

    def stop_gateway(self) -> None:
        """Begin a clean stop; `gateway` is None once it is over."""
        assert self.gateway is not None and not self.gateway.stopping
        self.gateway.stop()

    def all_idle(self) -> None:
        """No gateway is at work on anything any more."""
        self.reference.all_idle()
        self.tags.all_idle()
        self.buckets.all_idle()

    def _unplug(self, gateway: Gateway) -> None:
        for node in self.machines.values():
            node.lines = [line for line in node.lines if line.clock is not gateway.clock]

    @property
    def is_ready(self) -> bool:
        """Whether a gateway serves."""
        return (
            self.gateway is not None
            and self.gateway.takes_requests
            and self.gateway.assembly.ready()[0]
        )

    # -- clients ----------------------------------------------------------------------------------

    def wait(self, operation: Operation, limit_s: float = 400.0) -> Operation:
        """Let time pass until it is over."""
        until_s = self.clock.seconds() + limit_s
        while not operation.over:
            if self.clock.seconds() > until_s:
                raise PromiseBroken(f"{operation.what} doesn't end in {limit_s:g} s")
            self.pass_time(0.05)
        return operation

    def acts(self, verb: str, name: str, **how: Any) -> Acting:
        """The operator's; see Acting."""
        acting = Acting(self, verb, name, **how)
        self._begin(acting)
        return acting

    def pauses(self, *, paused: bool) -> Pausing:
        """The operator's; see Pausing."""
        pausing = Pausing(self, paused=paused)
        self._begin(pausing)
        return pausing

    # -- time -------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass, and check what must always hold."""
        self.clock.pass_time(seconds)
        self._bury()
        self.check()

    def wait_for(self, holds: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
        """Let time pass until it holds."""
        until_s = self.clock.seconds() + limit_s
        while not holds():
            if self.clock.seconds() > until_s:
                raise PromiseBroken(f"after {limit_s:g} s: not {what}")
            self.pass_time(0.1)

    def until_ready(self, limit_s: float = 120.0) -> None:
        """Let time pass until the gateway serves."""
        self.wait_for(lambda: self.is_ready, f"ready ({self.why_not_ready()})", limit_s)

    def why_not_ready(self) -> str:
        """What the gateway says."""
        return self.gateway.assembly.ready()[1] if self.gateway is not None else "no gateway"

    def sleep(self, seconds: float, leap_s: float = 60.0) -> None:
        """Let much time pass: in leaps as long as nothing is in flight."""
        until_s = self.clock.seconds() + seconds
        while (left_s := until_s - self.clock.seconds()) > 0:
            if self.is_still():
                self.clock.leap(min(leap_s, left_s))
                self.pass_time(min(0.3, max(0.0, until_s - self.clock.seconds())))
            else:
                self.pass_time(min(0.5, left_s))

    def is_still(self) -> bool:
        """Whether nobody waits for anything."""
        gateway = self.gateway
        if gateway is not None and (gateway.operations or gateway.stopping or gateway.contacts):
            return False
        return not any(line.is_busy for node in self.nodes.values() for line in node.lines)

    def _bury(self) -> None:
        gateway = self.gateway
        if gateway is not None and gateway.stopped:
            self.gateway = None
            self._graveyard.append(gateway)
            self._unplug(gateway)
            self.all_idle()
            self.trace("the gateway has stopped")

    # -- what must hold ---------------------------------------------------------------------------

    def trace(self, line: str) -> None:
        """Note what happens."""
        if self._tracing is not None:
            self._tracing(f"{self.clock.seconds() - START_S:14.4f} {line}")

    @property
    def is_tracing(self) -> bool:
        """Whether anybody wants to know."""
        return self._tracing is not None

    def broken(self, why: str) -> None:
        """The promise is broken; raised by the step that runs."""
        self.promise.broken(why)

    def check(self) -> None:
        """See Promise.check."""
        self.operator.watch()
        self.promise.check()

    def copies(self, key: str) -> dict[str, Copy]:
        """Who has the key, running or not."""
        return self.promise.copies(key)

    def effective(self, key: str, copy: Copy) -> str:
        """The stamp that a copy counts as, for the gateway that there is."""
        return self.promise.effective(key, copy)

    def ambush(self, changes: int, act: Callable[[], None], node: str = "") -> None:
        """Let `act` happen when so many more keys were changed (on that node, if one is named)."""
        self.ambushes.append(Ambush(changes, act, node))

    def _mutated(self, mutation: Mutation) -> None:
        for ambush in list(self.ambushes):
            if ambush.node in ("", mutation.node):
                ambush.changes -= 1
                if not ambush.changes:
                    self.ambushes.remove(ambush)
                    # Its answer is on the way by then.
                    self.clock.callLater(0.0, ambush.act)
        if mutation.bucket != SYSTEM_BUCKET:
            self.promise.mutated(mutation)
        elif mutation.key.startswith("members/"):
            # A node may be out and in again between two steps.
            self.clock.callLater(0.0, self._watch_operator)

    def _watch_operator(self) -> None:
        try:
            self.operator.watch()
        except PromiseBroken as broken:
            self.broken(str(broken))

    # -- quiet ------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Nothing is wrong any more, and everything is there."""
        self._bury()
        quiet.heal(self)

    def quiet(self) -> None:
        """Heal everything, wait until all is settled, and check that it is as it should be."""
        self._bury()
        quiet.become_quiet(self)
        quiet.check_quiet(self)

    def end(self) -> None:
        """Stop the gateway, if there is one; it must leave nothing behind."""
        gateway = self.gateway
        if gateway is None:
            return
        if not gateway.stopping:
            self.stop_gateway()
        self.wait_for(lambda: self.gateway is None, "stopped", 400.0)

    # -- the log ----------------------------------------------------------------------------------

    def __enter__(self) -> World:
        globalLogPublisher.addObserver(self)
        return self

    def __exit__(self, *_: object) -> None:
        globalLogPublisher.removeObserver(self)
        if self.gateway is not None:
            self.gateway.clock.die()
        for each in self._graveyard:
            each.clock.die()

    def __call__(self, event: dict[str, Any]) -> None:
        """See ILogObserver: what is logged as an unexpected error is one."""
        if self._tracing is not None and event.get("log_namespace", "").startswith("aosd."):
            where = event["log_namespace"].rpartition(".")[2]
            self.trace(f"        [{where}] {formatEvent(event)}")
        if event.get("log_level") is LogLevel.critical and not self._is_anothers(event):
            failure = event.get("log_failure")
            what = failure.getTraceback() if failure is not None else event.get("log_format")
            self.broken(f"an unexpected error: {what}")

    def _is_anothers(self, event: dict[str, Any]) -> bool:
        """Whether it is of a world before, whose remains are collected only now.

        A coroutine that is collected while it waits for a lock wakes who waits behind it, and
        that one was collected, too.
        """
        failure = event.get("log_failure")
        if failure is None:
            return event.get("log_format") == _PREAMBLE  # what it is about comes next
        return failure.check(RuntimeError) is not None and _COLLECTED in str(failure.value)

    def fates(self, chances: dict[Fate, float], *names: str) -> None:
        """Give nodes (all, without names) this weather."""
        for name in names or self.nodes:
            self.nodes[name].weather.chances = chances
        if chances:
            self.faulty = True
            if Fate.STALE in chances:
                self.stale_until_s = float("inf")
