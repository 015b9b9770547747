"""Stories of nodes, clocks and the cluster's memory: what each clause is there for.

They begin as the traces do: v1 on A and B, C the handoff, two copies.
"""

from __future__ import annotations

from collections.abc import Callable

from aosd.model.node import Member
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.model.ring import Ring
from aosd.testing.simulation.weather import Fate
from tests.simulation.scenes import KEY, WINDOW_S, is_wiped, moves, scene

LONG = b"v2 is so long that it flows"
DAY_S = 86400.0
BOX = "buckets/box"


def restamped_just_before_a_kill() -> None:
    """A slow PUT, newer than a DELETE by its restamping alone, is acknowledged; then a kill."""
    with scene() as s:
        slow = s.world.put(KEY, LONG, gap_s=1.0)
        s.world.pass_time(0.5)
        s.does(s.world.delete(KEY))
        s.does(slow)
        s.read_in_every_way()
        s.restart_gateway()
        s.world.until_ready()
        s.read_in_every_way()


def delete_comes_back_without_its_restamping() -> None:
    """The journal has forgotten both; a disk of between the two brings back the DELETE alone."""
    with scene() as s:
        slow = s.world.put(KEY, LONG, gap_s=1.0)
        s.world.pass_time(0.5)
        s.does(s.world.delete(KEY))
        before = s.a.snapshot()
        s.does(slow)
        s.read_in_every_way()
        s.world.sleep(8 * DAY_S, leap_s=6 * 3600.0)
        s.world.sleep(600.0)
        s.a.kill()
        s.a.restore(before)
        s.a.start()
        s.restart_gateway()
        s.world.until_ready()
        s.read_in_every_way()


def delete_that_one_node_remembers() -> None:
    """A DELETE reaches B alone, its journal too; A still has v1; B goes, and the gateway."""
    with scene() as s:
        for node in (s.a, s.c):
            node.weather.chances = {Fate.REFUSED: 1.0}
        s.ends(s.world.delete(KEY))
        s.b.kill()
        for node in (s.a, s.c):
            node.weather.chances = {}
        s.restart_gateway()
        s.world.until_ready()
        s.read_in_every_way()


def delete_that_two_nodes_remember() -> None:
    """A DELETE reaches those alone that can't hold KEY, and its journal too; then both are away."""
    with scene(nodes=6) as s:
        others = s.others[1:]
        for node in s.world.nodes.values():
            if node not in others:
                node.weather.chances = {Fate.REFUSED: 1.0}
        s.ends(s.world.delete(KEY))
        s.world.kill_gateway()
        for node in s.world.nodes.values():
            node.weather.chances = {}
        for node in others:
            node.kill()
        s.world.start_gateway()
        s.world.pass_time(30.0)
        s.read_in_every_way()


def note_left_over_and_nobody_else_answers() -> None:
    """A has the note of a clean stop, was away when that was used up, and is alone now."""
    with scene() as s:
        s.world.stop_gateway()
        s.until(lambda: s.world.gateway is None, "stopped")
        s.a.kill()
        s.world.start_gateway()
        s.world.until_ready()
        s.does(s.world.put(KEY, b"v2"))
        s.world.pass_time(5.0)
        s.world.kill_gateway()
        s.a.start()
        s.world.start_gateway()
        s.world.until_ready()
        s.b.freeze()
        s.c.freeze()
        s.read_in_every_way()


def mark_outlives_a_gateway() -> None:
    """B gave no answer to v2, which lands late; a clean stop between."""
    with scene() as s:
        s.b.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=800.0)
        s.ends(s.world.put(KEY, b"v2"))
        s.does(s.world.put(KEY, b"v3"))
        s.world.sleep(70.0)  # until nothing is in flight: the stop is to be a clean one
        s.restart_gateway(clean=True)
        s.world.until_ready()
        s.world.sleep(800.0)
        for _ in range(4):
            s.read_in_every_way()


def returning_node_cannot_be_listed() -> None:
    """A has v1 again after its DELETE, and gives no listing of objects to its sweep."""
    with scene() as s:
        s.does(s.world.delete(KEY))
        for _ in range(3):
            s.a.weather.foretell("list", "", Fate.WELL)  # of what it remembers
        for _ in range(3):
            s.a.weather.foretell("list", "", Fate.REFUSED)
        s.reboots(s.a, lost_s=5.0)
        s.until(lambda: not s.a.weather.foretold, "refused")
        s.world.pass_time(0.5)
        for _ in range(4):
            s.read_in_every_way()


def one_key_is_not_told_while_a_wiped_node_is_swept() -> None:
    """A has an empty disk; its sweep gets all from B but KEY, of which B refuses a request.

    Then B is away. Nobody knows that there is no KEY, however well A was swept.
    """
    for verb in ("get", "head"):
        for restarted in (False, True):
            with scene() as s:
                is_wiped(s.a)
                s.until(lambda: s.state(s.a) == "returning", "it is back")
                for _ in range(100):
                    s.b.weather.foretell(verb, KEY, Fate.REFUSED)
                s.until(lambda: s.state(s.a) == "up", "it was swept")
                s.b.kill()
                s.b.weather.foretold.clear()
                if restarted:
                    s.restart_gateway(clean=True)
                    s.world.until_ready()
                s.world.pass_time(20.0)
                s.read_in_every_way()
                s.b.start()


def a_wiped_node_has_no_space() -> None:
    """A has an empty disk, which is too small for KEY; then B, which has it, is away."""
    with scene() as s:
        is_wiped(s.a)
        s.until(lambda: s.state(s.a) == "returning", "it is back")
        s.a.full = True
        s.until(lambda: s.state(s.a) != "returning", "it was swept")
        s.world.pass_time(5.0)
        s.b.kill()
        s.world.pass_time(20.0)
        s.read_in_every_way()
        s.b.start()
        s.a.full = False


def only_a_wiped_and_a_new_node_are_there() -> None:
    """A has an empty disk, D has joined; nobody could give them the memory yet. Then a restart."""
    with scene() as s:
        keys = (f"x{number}" for number in range(100))
        key = next(each for each in keys if s.a not in s.world.order(each)[:2])
        s.does(s.world.put(key, b"of B and C"))
        is_wiped(s.a)
        for node in (s.a, s.world.add_node()):
            for _ in range(5):
                node.weather.foretell("list", "", Fate.REFUSED)
        gateway = s.world.gateway
        assert gateway is not None
        s.until(lambda: gateway.assembly.changing, "joining")
        s.until(lambda: s.state(s.a) == "returning", "back")
        s.world.pass_time(1.0)
        s.world.kill_gateway()
        for node in s.world.nodes.values():
            node.weather.foretold.clear()
        for node in (s.b, s.c):
            node.kill()
        s.world.start_gateway()
        s.world.pass_time(60.0)
        s.ends(s.world.get(key))


def the_other_primary_goes_when_one_is_back() -> None:
    """A was away when v2 went to B and C. It is back, B goes, and so does the gateway."""
    with scene() as s:
        s.a.kill()
        s.until(lambda: s.state(s.a) == "down", "noticed")
        s.does(s.world.put(KEY, b"v2"))
        s.world.kill_gateway()
        s.b.kill()
        s.a.start()
        s.world.start_gateway()
        s.world.until_ready()
        for _ in range(4):
            s.read_in_every_way()


def only_the_stale_primary_answers() -> None:
    """As before, and C stands still when clients look."""
    with scene() as s:
        s.a.kill()
        s.until(lambda: s.state(s.a) == "down", "noticed")
        s.does(s.world.put(KEY, b"v2"))
        s.world.kill_gateway()
        s.b.kill()
        s.a.start()
        s.world.start_gateway()
        s.world.until_ready()
        s.c.freeze()
        for _ in range(4):
            s.read_in_every_way()


def wrong_clock_is_noticed() -> None:
    """The gateway's clock is set to something else: its stamps are of no use."""
    with scene() as s:
        s.world.set_gateway_clock(100.0)
        s.world.pass_time(10.0)
        s.fails(s.world.put(KEY, b"v2"))
        s.world.set_gateway_clock(0.0)
        s.world.pass_time(10.0)
        s.does(s.world.put(KEY, b"v3"))
        s.read_in_every_way()


def clock_goes_back_while_the_gateway_is_off() -> None:
    """v1 is deleted by a clock that is ahead; a clean stop, and a clock that is behind."""
    with scene() as s:
        s.world.set_gateway_clock(4.0)
        s.does(s.world.delete(KEY))
        s.world.stop_gateway()
        s.until(lambda: s.world.gateway is None, "stopped")
        s.world.set_gateway_clock(-4.0)
        s.world.start_gateway()
        s.world.until_ready()
        s.does(s.world.put(KEY, b"v2"))
        s.read_in_every_way()


def clock_goes_back_while_the_gateway_is_dead() -> None:
    """The same with a PUT, of which nothing tells in aos-system, and a kill."""
    with scene() as s:
        s.world.set_gateway_clock(4.0)
        s.does(s.world.put(KEY, b"v2"))
        s.world.kill_gateway()
        s.world.set_gateway_clock(-4.0)
        s.world.start_gateway()
        s.world.until_ready()
        s.does(s.world.put(KEY, b"v3"))
        s.read_in_every_way()


def copy_is_left_behind_by_a_change() -> None:
    """A node joins and is KEY's primary; what a former one has is to go."""
    with scene() as s:
        for _ in range(20):
            s.world.add_node()
            if moves(s):
                break
            s.world.quiet()


def disk_is_emptied() -> None:
    """A is back with nothing: no bucket, no marker."""
    with scene() as s:
        is_wiped(s.a)
        s.world.pass_time(5.0)
        s.read_in_every_way()


def absence_by_a_node_that_lost_it() -> None:
    """One of two that have a new key has lost it, the other stands still; the third had none."""
    with scene() as s:
        s.does(s.world.put("new", b"v1"))
        one, other, _ = s.world.order("new")
        other.freeze()
        s.reboots(one, lost_s=5.0)
        s.until(lambda: s.state(one) == "returning", "noticed")
        for newest in (False, True):
            s.ends(s.world.get("new", newest=newest))
        s.ends(s.world.head("new"))
        s.ends(s.world.list())


def absence_by_a_node_that_lost_it_unwatched() -> None:
    """The same, but it lost it while there was no gateway."""
    with scene() as s:
        s.does(s.world.put("new", b"v1"))
        one, other, _ = s.world.order("new")
        s.world.kill_gateway()
        s.reboots(one, lost_s=5.0)
        s.world.start_gateway()
        s.world.until_ready()
        other.freeze()
        for newest in (False, True):
            s.ends(s.world.get("new", newest=newest))
        s.ends(s.world.head("new"))
        s.ends(s.world.list())


def absence_by_one_node_of_three() -> None:
    """Both that have a key stand still, and the third says that there is none."""
    with scene() as s:
        s.a.freeze()
        s.b.freeze()
        s.world.pass_time(10.0)
        s.read_in_every_way()


def seen_by_nobody_while_it_is_read() -> None:
    """A gateway starts, and reads what D remembers, when discovery doesn't see D any more."""
    with scene(nodes=4) as s:
        d = s.world.node("n4")  # the last one that is read
        s.restart_gateway()
        assert s.world.gateway is not None
        d.weather.foretell("list", "", Fate.SILENT)
        s.until(lambda: not d.weather.foretold, "it is being read")
        sightings = [each for each in s.world.sightings() if each.name != d.name]
        s.world.gateway.discovery.see(*sightings)
        s.world.until_ready()
        s.read_in_every_way()


def upload_that_is_left_open() -> None:
    """A client leaves an upload, and A doesn't abort it."""
    with scene() as s:
        s.a.weather.foretell("abort_upload", KEY, Fate.REFUSED)
        s.fails(s.world.put(KEY, LONG, told=False, gone_at=16))
        assert s.a.disk.uploads


def upload_that_nobody_was_told_of() -> None:
    """A begins an upload, and what it answers is lost: it is aborted after seven days."""
    for fate in (Fate.RESET_AFTER, Fate.SILENT_LATE, Fate.REFUSED_AFTER):
        with scene() as s:
            s.a.weather.foretell("create_upload", KEY, fate)
            s.ends(s.world.put(KEY, LONG, told=False))
            s.world.sleep(2 * WINDOW_S)
            assert len(s.a.disk.uploads) == 1


def killed_while_an_upload_begins() -> None:
    """All nodes are asked to begin an upload, and who asked is no more when they answer."""
    with scene() as s:
        for node in (s.a, s.b):
            node.weather.foretell("create_upload", KEY, Fate.SLOW, there_s=1.0, back_s=9.0)
        writing = s.world.put(KEY, LONG, told=False)
        s.until(lambda: bool(s.a.disk.uploads and s.b.disk.uploads), "begun")
        s.world.kill_gateway()
        s.ends(writing)
        s.world.start_gateway()
        s.world.until_ready()
        assert s.a.disk.uploads and s.b.disk.uploads


def register_lands_late() -> None:
    """What is remembered of A's new disk reaches B and C late, after what is newer."""
    with scene() as s:
        for node in (s.b, s.c):
            key = f"members/{s.a.name}"
            node.weather.foretell("put", key, Fate.SILENT_LATE, there_s=300.0)
        is_wiped(s.a)
        s.until(lambda: not s.b.weather.foretold, "sent")
        s.world.sleep(2 * WINDOW_S)


def register_that_nodes_refused() -> None:
    """Two of four nodes refuse the register of a bucket: it isn't gone with the other two."""
    with scene(nodes=4) as s:
        one, two, *others = s.world.nodes.values()
        for node in others:
            node.weather.foretell("put", BOX, Fate.REFUSED)
        s.does(s.world.make_bucket("box"))
        s.world.sleep(150.0)
        assert all(node.copy(SYSTEM_BUCKET, BOX) for node in others)
        for node in (one, two):
            node.kill()
        s.restart_gateway()
        s.world.pass_time(60.0)
        s.ends(s.world.list(bucket="box"))


def register_that_a_node_refused_before_a_stop() -> None:
    """C refuses the register of a bucket, and the gateway is stopped at once: C is given it."""
    with scene(nodes=4) as s:
        s.c.weather.foretell("put", BOX, Fate.REFUSED)
        s.does(s.world.make_bucket("box"))
        s.world.sleep(5.0)
        s.restart_gateway(clean=True)
        s.world.until_ready()
        s.world.sleep(2 * 60.0)
        assert s.c.copy(SYSTEM_BUCKET, BOX)


def pause_is_set_after_one_that_couldnt_be() -> None:
    """A and B don't answer "paused"; it is said again, and holds, also when C is away."""
    with scene() as s:
        for node in (s.a, s.b):
            node.weather.foretell("put", "repair/pause", Fate.SILENT)
        s.fails(s.world.pauses(paused=True))
        s.world.sleep(60.0)
        s.does(s.world.pauses(paused=True))
        s.world.sleep(2 * WINDOW_S)
        s.c.kill()
        s.restart_gateway()
        s.world.until_ready()
        assert s.assembly.keeper.paused


def many_nodes_join_at_once() -> None:
    """So many that none of those that have a key could hold it in the ring that comes."""
    with scene() as s:
        names = [f"n{number}" for number in range(1, 9)]
        key = _moves_far_away(names)
        s.does(s.world.put(key, b"v2"))
        for _ in names[3:]:
            s.world.add_node()
        for _ in range(100):
            s.world.pass_time(0.1)
            s.ends(s.world.get(key))


def _moves_far_away(names: list[str]) -> str:
    """A key of which none of the first three nodes is among the first four of all."""
    ring = Ring([Member(name, 1.0, name) for name in names])
    for number in range(1000):
        if not set(ring.order(OBJECT_BUCKET, f"k{number}")[:4]) & set(names[:3]):
            return f"k{number}"
    raise AssertionError("there is none")


STORIES: tuple[Callable[[], None], ...] = (
    restamped_just_before_a_kill,
    delete_comes_back_without_its_restamping,
    delete_that_one_node_remembers,
    delete_that_two_nodes_remember,
    note_left_over_and_nobody_else_answers,
    mark_outlives_a_gateway,
    returning_node_cannot_be_listed,
    one_key_is_not_told_while_a_wiped_node_is_swept,
    a_wiped_node_has_no_space,
    only_a_wiped_and_a_new_node_are_there,
    the_other_primary_goes_when_one_is_back,
    only_the_stale_primary_answers,
    wrong_clock_is_noticed,
    clock_goes_back_while_the_gateway_is_off,
    clock_goes_back_while_the_gateway_is_dead,
    copy_is_left_behind_by_a_change,
    disk_is_emptied,
    absence_by_a_node_that_lost_it,
    absence_by_a_node_that_lost_it_unwatched,
    absence_by_one_node_of_three,
    seen_by_nobody_while_it_is_read,
    upload_that_is_left_open,
    upload_that_nobody_was_told_of,
    killed_while_an_upload_begins,
    register_lands_late,
    register_that_nodes_refused,
    register_that_a_node_refused_before_a_stop,
    pause_is_set_after_one_that_couldnt_be,
    many_nodes_join_at_once,
)
