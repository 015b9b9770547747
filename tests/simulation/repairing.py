"""Stories of repair that isn't possible everywhere: full disks, copies refused, a node that went.

They begin as the traces do: v1 on A and B, C the handoff, two copies.
"""

from __future__ import annotations

from collections.abc import Callable

from aosd.model.node import Member
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.model.ring import Ring
from aosd.testing.simulation.nodes import SimulatedNode
from aosd.testing.simulation.reference import PromiseBroken
from aosd.testing.simulation.weather import Fate
from tests.simulation.scenes import KEY, Scene, is_wiped, scene

HOUR_S = 3600.0


def full_node_returns_and_others_go_on() -> None:
    """A is back, full, and can't be given what was remembered meanwhile; B's disk is replaced.

    What B lacks is copied to it all the same: C's disk may be the next. A gets it later.
    """
    with scene() as s:
        key = _restarted_without_a(s)
        s.a.full = True
        s.a.start()
        s.until(lambda: s.state(s.a) == "returning", "back")
        is_wiped(s.b)
        _comes(s, lambda: s.b.name in s.world.copies(key), "B has its copy", 600.0)
        is_wiped(s.c)
        _comes(s, lambda: s.c.name in s.world.copies(key), "C has its copy", 600.0)
        s.read_in_every_way()
        s.a.full = False
        records = s.b.disk.buckets[SYSTEM_BUCKET].keys
        _comes(s, lambda: records() <= s.a.disk.buckets[SYSTEM_BUCKET].keys(), "A is level", 180.0)


def node_refuses_its_memory_and_others_go_on() -> None:
    """A is back, and refuses what it lacks: it doesn't count. B's disk is replaced."""
    with scene() as s:
        key = _restarted_without_a(s)
        for _ in range(1000):
            s.a.weather.foretell("put", "runs/last", Fate.REFUSED)
        s.a.start()
        s.until(lambda: s.state(s.a) == "returning", "back")
        is_wiped(s.b)
        _comes(s, lambda: s.b.name in s.world.copies(key), "B has its copy", 600.0)
        assert s.state(s.a) == "returning", "it isn't level"
        s.read_in_every_way()
        s.a.weather.foretold.clear()
        _comes(s, lambda: s.state(s.a) == "up", "A is level", 120.0)


def joining_nodes_refuse_their_copies() -> None:
    """Three nodes join, and what belongs to two of them alone lies on A and B, off their order."""
    with scene() as s:
        joining = [f"n{number}" for number in range(4, 7)]
        key, former = _leaves(s, joining)
        s.does(s.world.put(key, b"to come"))
        s.world.sleep(120.0)
        for _ in joining:
            added = s.world.add_node()
            for _ in range(12):
                added.weather.foretell("put", key, Fate.REFUSED)
        s.world.look_around()
        s.until(lambda: s.assembly.changing, "changing")
        s.until(lambda: not s.assembly.changing, "over", HOUR_S)
        could_hold = {node.name for node in s.world.order(key)[:4]}
        for name in former:
            if name in could_hold:
                s.world.node(name).kill()
        s.world.pass_time(4.0)
        s.ends(s.world.get(key))
        s.ends(s.world.get(key, newest=True))


def full_node_for_hours() -> None:
    """Thirty keys can't be written to A: as many marks, no more, and no endless sweeps."""
    with scene() as s:
        keys = _several(s, s.a.name, 30)
        s.a.full = True
        for key in keys:
            s.does(s.world.put(key, b"v2"))
        marks, swept = len(s.assembly.marks), _sweeps(s)
        assert marks == 30
        # In leaps: nobody writes for a minute, and by then it isn't known any more that A is full.
        s.world.sleep(3 * HOUR_S, leap_s=60.0)
        _expect(len(s.assembly.marks) == marks, "as many marks as before")
        records = [key for key in s.c.disk.buckets[SYSTEM_BUCKET] if key.startswith("marks/")]
        _expect(len(records) == marks, "no more of them on disks")
        _expect(_sweeps(s) - swept < 3 * 20, "a sweep every some minutes")
        s.a.full = False
        _comes(s, lambda: not len(s.assembly.marks), "all is mended", HOUR_S)


def full_again_while_its_marks_are_cleared() -> None:
    """A had no space for v2 of twelve keys, was mended, and has none for v3 while marks go."""
    with scene() as s:
        marks, keys = s.assembly.marks, _several(s, s.a.name, 12)
        for key in keys:
            s.does(s.world.put(key, b"v1"))
        s.world.sleep(120.0)
        s.a.full = True
        for key in keys:
            s.does(s.world.put(key, b"v2"))
        s.world.pass_time(5.0)
        for record in s.c.disk.buckets[SYSTEM_BUCKET]:
            if record.startswith("marks/"):
                # Clearing takes its time.
                s.c.weather.foretell("delete", record, Fate.SLOW, there_s=4.0)
        s.a.full = False
        s.until(lambda: len(marks) < 12, "the first one goes", 1200.0)
        s.a.full = True
        for key in keys:
            s.does(s.world.put(key, b"v3"))
        s.world.sleep(20.0)
        for key in keys:
            s.ends(s.world.get(key))


def a_node_is_added_beside_a_full_one() -> None:
    """A has no space, not for what belongs there, and D is to give it some: the ring changes."""
    with scene() as s:
        keys = _several(s, s.a.name, 40)
        for key in keys:
            s.does(s.world.put(key, b"v1"))
        s.a.full = True
        for key in keys[:3]:
            s.does(s.world.put(key, b"v2"))
        s.world.add_node()
        s.until(lambda: s.assembly.changing, "changing")
        _comes(s, lambda: not s.assembly.changing, "the change is over", HOUR_S)
        s.read_in_every_way()


def three_nodes_are_added_beside_a_full_one() -> None:
    """A has no space for what is to lie on it and a new node, and on nobody that has it now."""
    with scene(nodes=5) as s:
        joining = [f"n{6 + number}" for number in range(3)]
        key = _moves_beside(s, s.a.name, joining)
        s.does(s.world.put(key, b"v1"))
        s.world.sleep(120.0)
        s.a.full = True
        s.does(s.world.put(key, b"v2"))
        for _ in joining:
            s.world.add_node()
        s.until(lambda: s.assembly.changing, "changing")
        _comes(s, lambda: not s.assembly.changing, "the change is over", HOUR_S)
        s.ends(s.world.get(key))


def large_copy_and_other_marks() -> None:
    """B gets a copy in many parts, slowly; what A missed meanwhile doesn't wait for that."""
    with scene() as s:
        s.world.sleep(120.0)
        s.b.weather.foretell("complete_upload", KEY, Fate.REFUSED)
        s.does(s.world.put(KEY, b"0123456789" * 30, told=False))
        for _ in range(25):
            s.b.weather.foretell("put_part", KEY, Fate.SLOW, there_s=25.0)
        s.until(lambda: len(s.b.weather.foretold) < 25, "the copy has begun")
        key = _of(s, s.a.name, s.c.name)
        s.a.weather.foretell("put", key, Fate.REFUSED)
        s.does(s.world.put(key, b"v1"))
        _comes(s, lambda: key in s.a.disk.buckets[OBJECT_BUCKET], "the copy on A", 20.0)
        _expect(bool(s.b.weather.foretold), "the large one is under way yet")


def no_sweep_helps_while_a_node_is_away() -> None:
    """A was full, and isn't; C is away: what only C's return can settle isn't swept for."""
    with scene() as s:
        s.a.full = True
        s.does(s.world.put(KEY, b"v2"))
        s.c.kill()
        s.world.pass_time(20.0)
        s.a.full = False
        s.world.pass_time(60.0)
        _expect(s.a.name in s.lying(), "the copy is where it belongs")
        before = _sweeps(s)
        s.world.sleep(HOUR_S, leap_s=1.0)
        _expect(_sweeps(s) == before, "no more sweeps")


def full_twice_while_a_node_is_away() -> None:
    """C is away; A was full, was swept for, and was full once more: it is swept for again."""
    with scene(nodes=4) as s:
        s.world.sleep(120.0)
        keys = [key for key in _several(s, s.a.name, 200) if s.c.name not in _order(s, key)[:2]][:8]
        s.a.full = True
        s.does(s.world.put(keys[0], b"v1"))
        s.c.kill()
        s.world.pass_time(20.0)
        s.a.full = False
        s.world.pass_time(90.0)
        s.a.full = True
        for key in keys[1:]:
            s.does(s.world.put(key, b"v1"))
        s.world.pass_time(60.0)
        s.a.full = False
        there = s.a.disk.buckets[OBJECT_BUCKET]
        _comes(s, lambda: all(key in there for key in keys), "all copies on A", HOUR_S)


def a_large_copy_is_paid_for_alone() -> None:
    """A copy costs minutes of the pace of repair; other keys are looked at meanwhile."""
    with scene() as s:
        s.world.sleep(120.0)
        s.assembly.keeper._copied._per_s = 1.0
        s.b.weather.foretell("put", KEY, Fate.REFUSED)
        s.does(s.world.put(KEY, b"0123456789" * 30))
        s.until(lambda: len(s.lying().get(s.b.name, b"")) == 300, "the copy is made")
        s.world.pass_time(3.0)
        key = _of(s, s.a.name, s.c.name)
        s.a.weather.foretell("put", key, Fate.REFUSED)
        s.does(s.world.put(key, b"v1"))
        _comes(s, lambda: key in s.a.disk.buckets[OBJECT_BUCKET], "the copy on A", 20.0)


def nothing_can_be_listed_for_a_while() -> None:
    """All nodes refuse everything, a mark, too: what couldn't be remembered is compared later."""
    with scene() as s:
        nodes = list(s.world.nodes.values())
        for node in nodes:
            node.weather.chances = {Fate.REFUSED: 1.0}
        s.fails(s.world.put(KEY, b"v2"))
        s.world.pass_time(20.0)
        for node in nodes:
            node.weather.chances = {}


def keys_move_while_they_are_listed() -> None:
    """B stood in for A with its only copies; A is back, and gets them while clients list.

    B makes its page later than A: of after the keys went, where A's is of before they came.
    """
    with scene(replicas=1) as s:
        keys = [key for key in _several(s, s.a.name, 60, among=1) if _order(s, key)[1] == s.b.name]
        s.a.kill()
        s.world.pass_time(20.0)
        for key in keys:
            s.does(s.world.put(key, b"v1"))
        s.a.start()
        s.until(lambda: s.state(s.a) != "down", "A is back")
        while not all(key in s.a.disk.buckets[OBJECT_BUCKET] for key in keys):
            s.b.weather.foretell("list", "", Fate.SLOW, there_s=0.5)
            s.ends(s.world.list())
        _expect(not any(key in s.b.disk.buckets[OBJECT_BUCKET] for key in keys), "they moved")


def clean_restarts_while_a_node_is_away() -> None:
    """C is away for hours, and the gateway is restarted again and again: nothing stops."""
    with scene() as s:
        keys = [f"x{number}" for number in range(12)]
        for key in keys:
            s.does(s.world.put(key, b"v1"))
        s.world.sleep(120.0)
        s.c.kill()
        s.world.pass_time(15.0)
        for clean in (True, True, False, True, True):
            s.restart_gateway(clean=clean)
            s.world.until_ready()
            s.world.sleep(HOUR_S / 2)
            for key in keys:
                operation = s.ends(s.world.get(key))
                _expect(operation.error is None, f"{key} is read: {operation.outcome}")
            operation = s.ends(s.world.list())
            _expect(operation.error is None, f"all is listed: {operation.outcome}")


def delete_that_a_node_refuses_for_days() -> None:
    """A's copy of what was deleted can't be removed: the journal remembers it until it is."""
    with scene() as s:
        for _ in range(400):
            s.a.weather.foretell("delete", KEY, Fate.REFUSED)
        s.does(s.world.delete(KEY))
        for _ in range(9):
            s.world.sleep(24 * HOUR_S, leap_s=HOUR_S)
            s.ends(s.world.get(KEY))
        s.a.weather.foretold.clear()


def new_disk_and_the_gateway_ends() -> None:
    """A has an empty disk, and its marker; before more is known the gateway ends, and B."""
    with scene() as s:
        for node in s.world.nodes.values():
            node.weather.foretell("put", f"members/{s.a.name}", Fate.RESET)
        is_wiped(s.a)
        while s.a.marker is None:
            s.world.pass_time(0.002)
        s.world.kill_gateway()
        s.b.kill()
        for node in s.world.nodes.values():
            node.weather.foretold.clear()
        s.world.start_gateway()
        s.world.until_ready()
        s.world.sleep(HOUR_S)
        s.ends(s.world.get(KEY))
        s.ends(s.world.get(KEY, newest=True))


def return_is_remembered_by_the_next_run() -> None:
    """A lost v2 and is back; B goes before the two were compared; the gateway ends, and begins."""
    with scene() as s:
        s.does(s.world.put(KEY, b"v2"))
        s.b.weather.chances = {Fate.REFUSED: 1.0}  # nothing can be compared with it
        s.reboots(s.a, lost_s=5.0)
        s.until(lambda: s.state(s.a) == "returning", "back")
        s.world.pass_time(3.0)
        s.b.kill()
        s.world.pass_time(2.0)
        s.world.kill_gateway()
        s.world.start_gateway()
        s.world.until_ready()
        s.world.sleep(HOUR_S)
        s.read_in_every_way()


# -- what is expected ------------------------------------------------------------------------------


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise PromiseBroken(f"it isn't so: {what}")


def _comes(s: Scene, holds: Callable[[], bool], what: str, limit_s: float) -> None:
    until_s = s.world.clock.seconds() + limit_s
    while not holds():
        _expect(s.world.clock.seconds() < until_s, what)
        s.world.pass_time(1.0)


# -- places ----------------------------------------------------------------------------------------


def _restarted_without_a(s: Scene) -> str:
    """A is away, and the gateway is restarted meanwhile; returns a key of B and C."""
    key = _of(s, s.b.name, s.c.name)
    s.does(s.world.put(key, b"of B and C"))
    s.a.kill()
    s.until(lambda: s.state(s.a) == "down", "noticed")
    s.restart_gateway(clean=True)
    s.world.until_ready()
    return key


def _order(s: Scene, key: str) -> list[str]:
    return [node.name for node in s.world.order(key)]


def _of(s: Scene, *names: str) -> str:
    """A key whose primaries are these."""
    keys = (f"x{number}" for number in range(1000))
    return next(key for key in keys if set(_order(s, key)[:2]) == set(names))


def _several(s: Scene, name: str, count: int, among: int = 2) -> list[str]:
    """Keys that have the node among so many first."""
    keys = (f"x{number}" for number in range(1000))
    return [key for key in keys if name in _order(s, key)[:among]][:count]


def _leaves(s: Scene, joining: list[str]) -> tuple[str, list[str]]:
    """A key that is to have two new primaries, and an old one that won't be asked any more."""
    members = [*s.world.nodes, *joining]
    coming = Ring([Member(name, 1.0, name) for name in members])
    for number in range(3000):
        key = f"x{number}"
        order, former = list(coming.order(OBJECT_BUCKET, key)), _order(s, key)[:2]
        if set(order[:2]) <= set(joining) and not set(former) <= set(order[:4]):
            return key, former
    raise AssertionError("no such key")


def _moves_beside(s: Scene, name: str, joining: list[str]) -> str:
    """A key of the node's, that is to lie on it and new ones, with no others to stand in."""
    coming = Ring([Member(each, 1.0, each) for each in [*s.world.nodes, *joining]])
    for number in range(20_000):
        key = f"x{number}"
        order = list(coming.order(OBJECT_BUCKET, key))
        stays = name in order[:2] and name in _order(s, key)[:2]
        if stays and set(order[:4]) - {name} <= set(joining):
            return key
    raise AssertionError("no such key")


def _sweeps(s: Scene) -> int:
    return sum("swept" in line for line in s.lines)


def _until(s: Scene, node: SimulatedNode, state: str) -> None:
    s.until(lambda: s.state(node) == state, state)


def lost_before_any_page_shows_it() -> None:
    """A loses what was just written with its power; B's page is of before that was written."""
    for number in range(4):
        with scene() as s:
            key = f"new{number}"
            first, _ = s.world.primaries(key)
            s.does(s.world.put(key, b"1"))
            s.world.fates({Fate.STALE: 1.0})
            s.reboots(first, lost_s=2.0)
            _until(s, first, "returning")
            _until(s, first, "up")
            for _ in range(4):
                s.ends(s.world.get(key))


STORIES: tuple[Callable[[], None], ...] = (
    lost_before_any_page_shows_it,
    full_node_returns_and_others_go_on,
    node_refuses_its_memory_and_others_go_on,
    joining_nodes_refuse_their_copies,
    full_node_for_hours,
    full_again_while_its_marks_are_cleared,
    a_node_is_added_beside_a_full_one,
    three_nodes_are_added_beside_a_full_one,
    large_copy_and_other_marks,
    no_sweep_helps_while_a_node_is_away,
    full_twice_while_a_node_is_away,
    a_large_copy_is_paid_for_alone,
    nothing_can_be_listed_for_a_while,
    keys_move_while_they_are_listed,
    clean_restarts_while_a_node_is_away,
    delete_that_a_node_refuses_for_days,
    new_disk_and_the_gateway_ends,
    return_is_remembered_by_the_next_run,
)
