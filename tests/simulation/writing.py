"""Stories of writes, copies and reads: what each clause of consistency is there for.

They begin as the traces do: v1 on A and B, C the handoff, two copies.
"""

from __future__ import annotations

from collections.abc import Callable

from aosd.testing.simulation.nodes import Kind
from aosd.testing.simulation.weather import Fate
from tests.simulation.scenes import KEY, is_wiped, scene

LONG = b"v2 is so long that it flows"
DAY_S = 86400.0


def put_while_a_delete_is_on_its_way() -> None:
    """A DELETE takes long to arrive; a PUT that begins meanwhile is newer."""
    with scene() as s:
        for node in (s.a, s.b):
            node.weather.foretell("delete", KEY, Fate.WELL, there_s=5.0)
        deleting = s.world.delete(KEY)
        s.world.pass_time(1.0)
        s.does(s.world.put(KEY, b"v3"))
        s.does(deleting)
        s.world.pass_time(10.0)
        s.read_in_every_way()


def two_creations_at_once() -> None:
    """Both find nothing when they begin; at their turns one finds the other."""
    with scene() as s:
        both = [s.world.put("new", LONG, gap_s=1.0, condition="new") for _ in range(2)]
        for each in both:
            s.ends(each)


def wrong_digest_where_nodes_check_none() -> None:
    """A body that isn't what its client said, on nodes that take anything."""
    with scene(kinds=[Kind(checks_digests=False)] * 3) as s:
        for data, told in ((b"v2", True), (LONG, True), (LONG, False)):
            s.fails(s.world.put(KEY, data, digest="sha256", wrong=True, told=told))
            s.read_in_every_way()


def client_leaves_in_mid_body() -> None:
    """A body ends early, and with it what was stored of it."""
    with scene() as s:
        for data, told in ((b"v2", True), (LONG, True), (LONG, False)):
            s.fails(s.world.put(KEY, data, gone_at=0 if data != LONG else 16, told=told))
            s.read_in_every_way()


def refused_by_all_and_stored_by_one() -> None:
    """A stores v2 and says that it failed; B and C refuse; the client hears of no success."""
    with scene() as s:
        s.a.weather.foretell("put", KEY, Fate.REFUSED_AFTER)
        for node in (s.b, s.c):
            node.weather.foretell("put", KEY, Fate.REFUSED)
        s.fails(s.world.put(KEY, b"v2"))
        assert s.lying() == {s.a.name: b"v2", s.b.name: b"v1"}
        s.read_in_every_way()


def refused_by_a_primary() -> None:
    """B refuses v2, and C takes it instead: B still has v1."""
    with scene() as s:
        s.b.weather.foretell("put", KEY, Fate.REFUSED)
        s.does(s.world.put(KEY, b"v2"))
        assert s.lying() == {s.a.name: b"v2", s.b.name: b"v1", s.c.name: b"v2"}
        for _ in range(4):
            s.read_in_every_way()


def suspect_primary_is_passed_by() -> None:
    """A stands still for seconds; v2 goes to B and C; A goes on, with its connections."""
    with scene() as s:
        s.a.freeze()
        s.until(lambda: s.state(s.a) == "suspect", "suspect")
        s.does(s.world.put(KEY, b"v2"))
        s.a.thaw()
        s.until(lambda: s.state(s.a) == "up", "up again")
        for _ in range(4):
            s.read_in_every_way()


def copy_on_its_way_is_overtaken() -> None:
    """Mending copies v2 to B; before its last bytes are sent, v3 is acknowledged."""
    with scene() as s:
        s.c.kill()
        s.until(lambda: s.state(s.c) == "down", "noticed")
        s.b.weather.foretell("put", KEY, Fate.REFUSED)
        s.a.weather.foretell("get", KEY, Fate.SLOW)
        s.fails(s.world.put(KEY, LONG))
        s.until(lambda: not s.a.weather.foretold, "copying")
        s.world.pass_time(0.3)
        s.does(s.world.put(KEY, b"v3"))
        s.world.pass_time(5.0)
        s.read_in_every_way()


def body_goes_on_from_another_node() -> None:
    """A GET of v2 is half-way when its node goes; the other one has v3 by then."""
    with scene() as s:
        s.does(s.world.put(KEY, LONG * 3))
        reading = s.world.get(KEY, pause_bytes=16)
        s.world.pass_time(0.5)
        (sender,) = [
            node for node in s.world.nodes.values() if any(line.readings for line in node.lines)
        ]
        s.does(s.world.put(KEY, LONG.upper() * 3))
        sender.kill()
        s.ends(reading)


def put_that_one_node_took() -> None:
    """C is away, B refuses v2: A alone has it, and loses its disk."""
    with scene() as s:
        s.c.kill()
        s.until(lambda: s.state(s.c) == "down", "noticed")
        for data in (b"v2", LONG):
            s.b.weather.foretell("put", KEY, Fate.REFUSED)
            s.ends(s.world.put(KEY, data))
        is_wiped(s.a)
        s.world.pass_time(1.0)


def delete_carried_out_late() -> None:
    """A's connection breaks during a DELETE, which is carried out after the next PUT."""
    with scene() as s:
        s.a.weather.foretell("delete", KEY, Fate.RESET_LATE, there_s=5.0)
        s.ends(s.world.delete(KEY))
        s.world.pass_time(2.0)
        s.does(s.world.put(KEY, b"v3"))
        s.world.pass_time(10.0)
        for _ in range(4):
            s.read_in_every_way()


def delete_that_too_few_remember() -> None:
    """It failed, and counts all the same: what it made dead goes, and no read finds it any more."""
    with scene() as s:
        s.world.fates({Fate.RESET: 1.0}, s.a.name, s.c.name)
        s.fails(s.world.delete(KEY))
        s.world.fates({})
        s.world.quiet()
        assert s.read(newest=True) is None
        assert s.read() is None


def late_delete_where_a_stray_is_left() -> None:
    """A DELETE lands late on A, after v3 went to A and C, and to B by mending; then B is wiped."""
    with scene() as s:
        s.a.weather.foretell("delete", KEY, Fate.SILENT_LATE, there_s=300.0)
        s.does(s.world.delete(KEY))
        s.until(lambda: s.state(s.a) == "up", "up")
        s.b.weather.foretell("put", KEY, Fate.REFUSED)
        s.does(s.world.put(KEY, b"v3"))
        s.until(lambda: s.a.name in s.lying() and s.b.name in s.lying(), "mended")
        s.until(lambda: s.a.name not in s.lying(), "landed", 400.0)
        is_wiped(s.b)
        s.world.pass_time(1.0)
        s.read_in_every_way()


def copy_stands_in_for_a_primary() -> None:
    """B refuses v2 again and again, C has it instead; A loses its disk."""
    with scene() as s:
        for _ in range(20):
            s.b.weather.foretell("put", KEY, Fate.REFUSED)
        s.does(s.world.put(KEY, b"v2"))
        s.world.pass_time(10.0)
        is_wiped(s.a)
        s.world.pass_time(1.0)
        s.read_in_every_way()


def late_writes_land_on_all_targets() -> None:
    """A and B gave no answer to v2, which lands on both of them when v3 is acknowledged."""
    with scene() as s:
        for node in (s.a, s.b):
            node.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=100.0)
        s.ends(s.world.put(KEY, b"v2"))
        s.until(lambda: s.state(s.a) == s.state(s.b) == "up", "up")
        s.does(s.world.put(KEY, b"v3"))
        s.world.pass_time(100.0)
        s.read_in_every_way()


def copy_lands_late() -> None:
    """B gives no answer to mending's copy of v2, which lands after v3."""
    with scene() as s:
        s.c.kill()
        s.until(lambda: s.state(s.c) == "down", "noticed")
        s.b.weather.foretell("put", KEY, Fate.REFUSED)
        s.b.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=300.0)
        s.fails(s.world.put(KEY, b"v2"))
        s.world.pass_time(40.0)
        s.does(s.world.put(KEY, b"v3"))
        s.c.start()
        s.world.pass_time(300.0)
        s.read_in_every_way()


def second_creation_while_the_first_is_made_up() -> None:
    """B refused the first creation; while it is copied to C another one asks, and B says 404."""
    for told, verb in ((True, "put"), (False, "complete_upload")):
        with scene() as s:
            s.does(s.world.delete(KEY))
            s.world.pass_time(70.0)
            s.b.weather.foretell(verb, KEY, Fate.REFUSED)
            s.b.weather.foretell("put", KEY, Fate.REFUSED)
            # The copy from A to C takes a while, and B is the quicker one to ask.
            s.a.weather.foretell("get", KEY, Fate.SLOW, there_s=0.68)
            assert s.world.gateway is not None
            s.world.gateway.store.traffic.latency_s[s.a.name] = 1.0
            first = s.world.put(KEY, LONG, told=told, condition="new")
            s.until(lambda s=s: s.lying() == {s.a.name: LONG}, "on A")  # type: ignore[misc]
            s.world.pass_time(0.5)
            s.ends(s.world.put(KEY, b"v3", condition="new"))
            s.ends(first)
            s.read_in_every_way()


def writes_of_a_killed_gateway_land_late() -> None:
    """v1b is on its way to A and B, who are slow; the gateway is killed, the next one writes v2."""
    with scene() as s:
        for node in (s.a, s.b):
            node.weather.foretell("put", KEY, Fate.SLOW, there_s=6.0)
        s.killed_while_writing(b"v1b")
        s.does(s.world.put(KEY, b"v2"))
        s.world.pass_time(10.0)
        s.read_in_every_way()


def one_lands_late_and_the_other_primary_is_lost() -> None:
    """The same on A alone; B's disk is lost before anything was compared for good."""
    with scene() as s:
        s.a.weather.foretell("put", KEY, Fate.SLOW, there_s=6.0)
        s.b.weather.foretell("put", KEY, Fate.RESET)
        s.killed_while_writing(b"v1b")
        s.does(s.world.put(KEY, b"v2"))
        s.world.sleep(600.0)
        is_wiped(s.b)
        s.world.pass_time(5.0)
        s.read_in_every_way()


STORIES: tuple[Callable[[], None], ...] = (
    delete_that_too_few_remember,
    second_creation_while_the_first_is_made_up,
    writes_of_a_killed_gateway_land_late,
    one_lands_late_and_the_other_primary_is_lost,
    put_while_a_delete_is_on_its_way,
    two_creations_at_once,
    wrong_digest_where_nodes_check_none,
    client_leaves_in_mid_body,
    refused_by_all_and_stored_by_one,
    refused_by_a_primary,
    suspect_primary_is_passed_by,
    copy_on_its_way_is_overtaken,
    body_goes_on_from_another_node,
    put_that_one_node_took,
    delete_carried_out_late,
    late_delete_where_a_stray_is_left,
    copy_stands_in_for_a_primary,
    late_writes_land_on_all_targets,
    copy_lands_late,
)
