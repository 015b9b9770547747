"""How earlier rules failed: each a story that the present ones must survive.

v1 is on the primaries A and B at the start of each; C is the handoff; R is 2. Whatever
clients find is judged by the world's reference; at the end all is quiet and checked.
"""

from __future__ import annotations

from collections.abc import Callable

from aosd.testing.simulation.weather import Fate
from tests.simulation.scenes import KEY, WINDOW_S, moves, scene

LONG = b"v2 is so long that it flows"
DAY_S = 86400.0


def slow_put_ends_after_delete_and_put() -> None:
    """1. A slow PUT v2 starts, DELETE d3 and PUT v4 are acknowledged, then v2 ends."""
    with scene() as s:
        slow = s.world.put(KEY, LONG, gap_s=1.0)
        s.world.pass_time(0.5)
        s.does(s.world.delete(KEY))
        s.does(s.world.put(KEY, b"v4"))
        s.does(slow)
        s.read_in_every_way()


def slow_upload_completes_after_delete_and_put() -> None:
    """1, with parts: the stamp left with Create."""
    with scene() as s:
        slow = s.world.put(KEY, LONG, gap_s=1.0, told=False)
        s.world.pass_time(0.5)
        s.does(s.world.delete(KEY))
        s.does(s.world.put(KEY, b"v4"))
        s.does(slow)
        s.read_in_every_way()


def mending_removes_while_a_put_lands() -> None:
    """1. Mending's DELETE of dead copies meets a PUT that lands just then."""
    with scene() as s:
        for node in (s.a, s.b):
            node.weather.foretell("delete", KEY, Fate.REFUSED)
        s.does(s.world.delete(KEY))
        assert s.lying().keys() == {s.a.name, s.b.name}
        # Mending's own DELETE is long on its way; the next PUT isn't.
        for node in (s.a, s.b):
            node.weather.foretell("delete", KEY, Fate.WELL, there_s=5.0)
        s.until(lambda: not (s.a.weather.foretold and s.b.weather.foretold), "mending")
        s.until(lambda: s.state(s.a) == s.state(s.b) == "up", "up")
        s.does(s.world.put(KEY, b"v3"))
        s.world.pass_time(20.0)
        s.read_in_every_way()


def put_lands_long_after_a_kill() -> None:
    """2. PUT v2 is on its way to A; the gateway dies, starts, compares; v2 lands on A alone."""
    with scene() as s:
        s.a.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=600.0)
        s.b.weather.foretell("put", KEY, Fate.SILENT)
        s.killed_while_writing(b"v2")
        s.world.sleep(580.0)
        s.read_in_every_way()
        s.world.sleep(60.0)
        assert s.lying()[s.a.name] == b"v2"
        s.read_in_every_way()
        s.world.sleep(WINDOW_S + 120.0)
        s.read_in_every_way()


def copy_beats_absence_after_power_loss() -> None:
    """3. A settled DELETE is acknowledged; A has v1 again; the gateway dies within the second."""
    with scene() as s:
        s.does(s.world.delete(KEY))
        assert not s.lying()
        s.reboots(s.a, lost_s=5.0, off_s=0.05)
        assert s.lying() == {s.a.name: b"v1"}
        s.restart_gateway()
        s.world.until_ready()
        s.read_in_every_way()


def delete_removes_the_good_copy_first() -> None:
    """3. A falls back from v2 to v1; DELETE d3, unanswered yet, removes v2 from B; a read."""
    with scene() as s:
        s.does(s.world.put(KEY, b"v2"))
        s.reboots(s.a, lost_s=5.0)
        assert s.lying() == {s.a.name: b"v1", s.b.name: b"v2"}
        s.until(lambda: s.state(s.a) == "returning", "noticed")
        s.a.weather.foretell("delete", KEY, Fate.SLOW, there_s=9.0)
        deleting = s.world.delete(KEY)
        s.until(lambda: s.b.name not in s.lying(), "removed from B")
        s.world.get(KEY, newest=True)
        s.world.get(KEY)
        s.world.head(KEY)
        s.ends(deleting)
        s.read_in_every_way()


def put_lands_after_its_delete() -> None:
    """4. PUT v2 gets no answer from B; DELETE d3 is acknowledged and mended; v2 lands on B."""
    with scene() as s:
        s.b.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=800.0)
        s.ends(s.world.put(KEY, b"v2"))
        s.does(s.world.delete(KEY))
        s.world.sleep(300.0)
        s.read_in_every_way()
        s.world.sleep(500.0)
        assert s.lying() == {s.b.name: b"v2"}
        s.read_in_every_way()
        s.world.sleep(WINDOW_S)
        s.read_in_every_way()


def put_lands_after_its_delete_and_a_clean_stop() -> None:
    """4 and 5. The same, with a clean stop between."""
    with scene() as s:
        s.b.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=800.0)
        s.ends(s.world.put(KEY, b"v2"))
        s.does(s.world.delete(KEY))
        s.world.sleep(60.0)
        s.restart_gateway(clean=True)
        s.world.until_ready()
        s.world.sleep(800.0)
        s.read_in_every_way()
        s.world.sleep(WINDOW_S)
        s.read_in_every_way()


def returning_node_and_a_clean_stop() -> None:
    """5. A, rolled back, is returning; a clean stop and a start; v1 read after v2."""
    with scene() as s:
        s.does(s.world.put(KEY, b"v2"))
        # What it remembers of others can't be read: its sweep can't begin.
        for _ in range(200):
            s.a.weather.foretell("list", "", Fate.REFUSED)
            s.a.weather.foretell("list", "journal/", Fate.REFUSED)
        s.reboots(s.a, lost_s=5.0)
        s.until(lambda: s.state(s.a) == "returning", "noticed")
        s.restart_gateway(clean=True)
        s.a.weather.foretold.clear()
        s.world.until_ready()
        for _ in range(8):
            s.read_in_every_way()


def node_rolls_back_while_the_gateway_is_off() -> None:
    """5. A clean stop; A is restored as it was before v2; a start."""
    with scene() as s:
        before = s.a.snapshot()
        s.does(s.world.put(KEY, b"v2"))
        s.world.pass_time(2.0)
        s.world.stop_gateway()
        s.until(lambda: s.world.gateway is None, "stopped")
        s.a.kill()
        s.a.restore(before)
        s.a.start()
        s.world.start_gateway()
        s.world.until_ready()
        for _ in range(8):
            s.read_in_every_way()


def note_left_over_on_a_node_that_was_away() -> None:
    """5. A has the note of a clean stop, and was away when that was used up."""
    with scene() as s:
        s.world.stop_gateway()
        s.until(lambda: s.world.gateway is None, "stopped")
        s.a.kill()
        s.world.start_gateway()
        s.world.until_ready()
        s.ends(s.world.put(KEY, b"v2"))
        s.world.pass_time(5.0)
        s.world.kill_gateway()
        s.a.start()
        s.world.start_gateway()
        s.world.until_ready()
        for _ in range(8):
            s.read_in_every_way()


def sweep_passes_while_a_put_is_on_its_way() -> None:
    """6. A acknowledges its part of a PUT, falls back and is swept; then B gets it."""
    with scene() as s:
        s.b.weather.foretell("put", KEY, Fate.SLOW, there_s=25.0)
        putting = s.world.put(KEY, b"v2")
        s.until(lambda: s.lying()[s.a.name] == b"v2", "landed on A")
        s.world.pass_time(0.5)
        s.reboots(s.a, lost_s=5.0)
        assert s.lying()[s.a.name] == b"v1"
        s.world.pass_time(20.0)
        s.ends(putting)
        s.world.pass_time(10.0)
        for _ in range(8):
            s.read_in_every_way()


def put_aimed_at_a_ring_that_is_gone() -> None:
    """6. A PUT goes to both rings; the change ends, the sweep too; it lands on the old primary."""
    with scene() as s:
        for _ in range(20):
            s.world.add_node()
            if KEY and moves(s):
                break
            s.world.quiet()
        slow = s.world.put(KEY, LONG, gap_s=25.0)
        s.until(lambda: not s.world.gateway.assembly.changing, "changed", 200.0)  # type: ignore[union-attr]
        s.ends(slow)
        s.read_in_every_way()


def node_reboots_between_two_requests() -> None:
    """7. A reboots between two requests and has lost v2."""
    with scene() as s:
        s.does(s.world.put(KEY, b"v2"))
        s.reboots(s.a, lost_s=5.0, off_s=0.01)
        for _ in range(8):
            s.read_in_every_way()


def rolled_back_node_is_away_for_eight_days() -> None:
    """8. A, rolled back to before a DELETE, isn't swept yet when 8 days have passed."""
    with scene() as s:
        s.does(s.world.delete(KEY))
        s.a.lose_power(5.0)
        assert s.lying() == {s.a.name: b"v1"}
        s.world.sleep(60.0)
        s.world.sleep(8 * DAY_S, leap_s=6 * 3600.0)
        s.a.start()
        s.until(lambda: s.state(s.a) in ("returning", "up"), "back")
        for _ in range(4):
            s.read_in_every_way()


def journal_on_a_wiped_and_a_rolled_back_node() -> None:
    """8. The journal is on A and B; B is wiped and refilled; A rolls back data and journal."""
    with scene() as s:
        before = s.a.snapshot()
        s.c.kill()
        s.until(lambda: s.state(s.c) == "down", "noticed")
        s.ends(s.world.delete(KEY))
        s.world.pass_time(2.0)
        s.b.kill()
        s.b.restore({})
        s.b.start()
        s.c.start()
        s.world.quiet()
        s.a.kill()
        s.a.restore(before)
        s.a.start()
        s.restart_gateway()
        s.world.until_ready()
        for _ in range(4):
            s.read_in_every_way()


def rolled_back_copy_of_what_was_deleted_since() -> None:
    """9. DELETE has removed the good copies; a node that was rolled back still has v1."""
    with scene() as s:
        s.does(s.world.put(KEY, b"v2"))
        s.a.lose_power(5.0)
        assert s.lying()[s.a.name] == b"v1"
        s.until(lambda: s.state(s.a) != "up", "noticed", 20.0)
        s.ends(s.world.delete(KEY))
        s.a.start()
        s.until(lambda: s.state(s.a) == "returning", "back", 20.0)
        for _ in range(4):
            s.read_in_every_way()


def same_bytes_again_after_a_delete() -> None:
    """10. v1 and v3 are the same bytes, d2 between them; A is restored with v1, B is wiped."""
    with scene() as s:
        before = s.a.snapshot()
        s.does(s.world.delete(KEY))
        s.does(s.world.put(KEY, b"v1"))
        s.world.pass_time(60.0)  # what was written just now would be looked at anyhow
        s.a.kill()
        s.a.restore(before)
        s.a.start()
        s.world.quiet()
        s.b.kill()
        s.b.restore({})
        s.b.start()
        for _ in range(4):
            s.read_in_every_way()


def both_holders_are_away() -> None:
    """11. Both holders of v2 can't be reached; a comparing GET finds v1 on the third."""
    with scene() as s:
        s.b.kill()
        s.until(lambda: s.state(s.b) != "up", "noticed")
        s.does(s.world.put(KEY, b"v1"))
        assert s.c.name in s.lying()
        s.c.kill()
        s.b.start()
        s.until(lambda: s.state(s.b) in ("returning", "up"), "back", 30.0)
        first = s.world.put(KEY, b"v2")
        s.world.wait(first)
        if first.error is not None:
            # It went out on a connection that the node had before it was killed.
            s.does(s.world.put(KEY, b"v2"))
        s.a.freeze()
        s.b.freeze()
        s.c.start()
        s.world.pass_time(15.0)
        for _ in range(4):
            s.read_in_every_way()


TRACES: tuple[Callable[[], None], ...] = (
    slow_put_ends_after_delete_and_put,
    slow_upload_completes_after_delete_and_put,
    mending_removes_while_a_put_lands,
    put_lands_long_after_a_kill,
    copy_beats_absence_after_power_loss,
    delete_removes_the_good_copy_first,
    put_lands_after_its_delete,
    put_lands_after_its_delete_and_a_clean_stop,
    returning_node_and_a_clean_stop,
    node_rolls_back_while_the_gateway_is_off,
    note_left_over_on_a_node_that_was_away,
    sweep_passes_while_a_put_is_on_its_way,
    put_aimed_at_a_ring_that_is_gone,
    node_reboots_between_two_requests,
    rolled_back_node_is_away_for_eight_days,
    journal_on_a_wiped_and_a_rolled_back_node,
    rolled_back_copy_of_what_was_deleted_since,
    same_bytes_again_after_a_delete,
    both_holders_are_away,
)
