"""What scenarios begin with: three quiet nodes, and an object whose places are known."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aosd.assembly import Assembly
from aosd.testing.simulation.nodes import SimulatedNode
from aosd.testing.simulation.operations import Operation
from aosd.testing.simulation.quiet import check_orphans_go, has_open_uploads
from aosd.testing.simulation.world import World

KEY = "k"
WINDOW_S = 1200.0


class Scene:
    """A world, and its nodes by their part: `a` and `b` are KEY's primaries, `c` the handoff.

    `others` are what else there is, of more than three; `lines` tell what happened.
    """

    def __init__(self, *, seed: int = 1, notices_stops: bool = False, **how: Any) -> None:
        self.lines: list[str] = []
        self.world = World(
            random.Random(seed), notices_stops=notices_stops, tracing=self.lines.append, **how
        )

    def begin(self) -> None:
        """Found the cluster, and store v1."""
        world = self.world
        world.start_gateway()
        world.until_ready()
        self.a, self.b, self.c, *self.others = world.order(KEY)
        self.does(world.put(KEY, b"v1"))
        assert self.lying() == {each.name: b"v1" for each in world.primaries(KEY)}
        world.pass_time(70.0)
        world.faulty = True

    @property
    def assembly(self) -> Assembly:
        """The inside of the gateway that runs now."""
        assert self.world.gateway is not None
        return self.world.gateway.assembly

    def lying(self) -> dict[str, bytes]:
        """What lies where, of KEY."""
        return {name: copy.data for name, copy in self.world.copies(KEY).items()}

    def does(self, operation: Operation) -> None:
        """It ends, and well."""
        self.world.wait(operation)
        assert operation.error is None, operation.outcome

    def fails(self, operation: Operation) -> None:
        """It ends with an error."""
        self.world.wait(operation)
        assert operation.error is not None, operation.outcome

    def ends(self, operation: Any) -> Any:
        """It ends, somehow; the world's reference judges it."""
        self.world.wait(operation)
        return operation

    def read(self, **how: Any) -> bytes | str | None:
        """What a GET gives: bytes, None for 404, or words for an error."""
        operation = self.world.get(KEY, **how)
        self.world.wait(operation)
        if operation.error is None or "NoSuchKey" in operation.outcome:
            return operation.value
        return str(operation.outcome)

    def read_in_every_way(self) -> None:
        """Clients look; the reference judges what they find."""
        for newest in (False, True):
            self.ends(self.world.get(KEY, newest=newest))
        self.ends(self.world.head(KEY))
        self.ends(self.world.list())

    def reboots(self, node: SimulatedNode, lost_s: float, off_s: float = 0.2) -> None:
        """A power loss: what it acknowledged in the last `lost_s` is gone."""
        node.lose_power(lost_s)
        self.world.pass_time(off_s)
        node.start()

    def killed_while_writing(self, data: bytes) -> None:
        """The gateway is killed while a PUT is on its way, and another one begins."""
        self.world.put(KEY, data)
        self.world.pass_time(1.0)
        self.restart_gateway()
        self.world.until_ready()

    def restart_gateway(self, *, clean: bool = False) -> None:
        """Stop or kill it, and start another."""
        world = self.world
        if clean:
            world.stop_gateway()
            world.wait_for(lambda: world.gateway is None, "stopped", 60.0)
        else:
            world.kill_gateway()
        world.start_gateway()

    def until(self, holds: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
        """Let time pass until then."""
        self.world.wait_for(holds, what, limit_s)

    def state(self, node: SimulatedNode) -> str:
        """What the gateway thinks of a node."""
        assert self.world.gateway is not None
        watched = self.world.gateway.assembly.roster.watched.get(node.name)
        return str(watched.state) if watched is not None else "unknown"


@contextmanager
def scene(**how: Any) -> Iterator[Scene]:
    """A scene that has begun; at its end all is healed, quiet, checked, and stopped."""
    made = Scene(**how)
    try:
        with made.world:
            made.begin()
            yield made
            made.world.quiet()
            if has_open_uploads(made.world):
                check_orphans_go(made.world)
            made.world.end()
    except BaseException as error:
        error.add_note("\n".join(made.lines))
        raise


def moves(s: Scene) -> bool:
    """Whether the ring that comes has another primary for KEY."""
    gateway = s.world.gateway
    assert gateway is not None
    s.until(lambda: gateway.assembly.changing, "changing")
    coming, former = gateway.store.orders("object", KEY)
    return {each.name for each in coming[:2]} != {each.name for each in former[:2]}


def is_wiped(node: SimulatedNode) -> None:
    node.kill()
    node.restore({})
    node.start()
