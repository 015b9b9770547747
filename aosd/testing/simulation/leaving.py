"""The end of a simulated store: aosd is taken away, and plain objects are what is left."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from aosd.cluster.acts import ALL_WEIGHT
from aosd.model.errors import AosdError
from aosd.model.leave import Phase
from aosd.model.objects import SYSTEM_BUCKET
from aosd.testing.simulation.nodes import holders
from aosd.testing.simulation.paths import split
from aosd.testing.simulation.reference import PromiseBroken

if TYPE_CHECKING:
    from aosd.testing.simulation.world import World

_PATIENCE_S = 8 * 3600.0


def leave(world: World, chance: random.Random) -> None:
    """Leave, from quiet; now and then the gateway is killed in the middle, or asked twice."""
    gather = chance.choice((None, *world.operator.members()))
    world.trace(f"the cluster is left; all is gathered on {gather}")
    world.tally["the cluster is left"] += 1
    members = world.operator.members()
    if gather is not None:
        world.operator.wanted(gather).weights.add(ALL_WEIGHT)
    kills = chance.choice((0, 0, 1, 2))
    world.faulty = True
    until_s = world.clock.seconds() + _PATIENCE_S
    while _phase(world) is not Phase.LEFT:
        if world.clock.seconds() > until_s:
            raise PromiseBroken(f"it isn't left: {_told(world)}")
        if kills and chance.random() < 0.3:
            kills -= 1
            world.tally["the gateway is killed while it is left"] += 1
            world.kill_gateway()
            world.start_gateway()
        if _phase(world) is Phase.NONE:
            if _is_over(world):
                break  # what a run that found nothing of aosd's any more would say
            _ask(world, gather)
        world.pass_time(chance.choice((0.02, 0.1, 0.5, 3.0)))
        if _phase(world) is not Phase.NONE and not kills:
            world.sleep(30.0)
    _check(world, members, gather)


def _phase(world: World) -> Phase:
    gateway = world.gateway
    return Phase.NONE if gateway is None else gateway.assembly.leaving.phase


def _told(world: World) -> object:
    return None if world.gateway is None else world.gateway.assembly.leaving.told()


def _ask(world: World, gather: str | None) -> None:
    gateway = world.gateway
    if gateway is None or not world.is_ready:
        return

    def not_yet(failure: object) -> None:
        world.trace(f"leaving: {failure}")

    asking = Deferred.fromCoroutine(gateway.assembly.leaving.leave(gather))
    asking.addErrback(lambda failure: not_yet(failure.trap(AosdError)))


def _is_over(world: World) -> bool:
    return all(SYSTEM_BUCKET not in node.disk.buckets for node in world.nodes.values())


def _check(world: World, members: list[str], gather: str | None) -> None:
    """Nothing of aosd's lies anywhere, and each object is there, as any client would read it."""
    for name in members:
        node = world.nodes[name]
        if SYSTEM_BUCKET in node.disk.buckets or node.disk.uploads:
            raise PromiseBroken(f"the cluster was left, and {name} has what is aosd's")
    now_s = world.clock.seconds()
    for key in world.reference.keys:
        possible = {each.value for each in world.reference.may_be(key, now_s)}
        copies = holders([world.nodes[name] for name in members], *split(key))
        lying = {copy.data for copy in copies.values()}
        if not lying <= possible or len(lying) > 1 or (not lying and None not in possible):
            raise PromiseBroken(f"the cluster was left, and {key} is {lying} of {possible}")
        if lying and len(copies) < min(world.replicas, len(members)):
            raise PromiseBroken(f"the cluster was left, and {key} lies on {sorted(copies)}")
        if lying and gather is not None and gather not in copies:
            raise PromiseBroken(f"all was gathered on {gather}, and {key} on {sorted(copies)}")
