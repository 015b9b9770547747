"""How earlier rules failed: each a story that the present ones must survive.

v1 is on the primaries A and B at the start of each; C is the handoff; R is 2. Whatever
clients find is judged by the world's reference; at the end all is quiet and checked.
"""

from __future__ import annotations

from collections.abc import Callable

from aosd.model.node import Member
from aosd.model.objects import OBJECT_BUCKET
from aosd.model.ring import Ring
from aosd.testing.simulation.nodes import Kind, SimulatedNode
from aosd.testing.simulation.weather import Fate
from tests.simulation.scenes import KEY, WINDOW_S, Scene, scene

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
        s.world.put(KEY, b"v2")
        s.world.pass_time(1.0)
        s.restart_gateway()
        s.world.until_ready()
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
            if KEY and _moves(s):
                break
            s.world.quiet()
        slow = s.world.put(KEY, LONG, gap_s=25.0)
        s.until(lambda: not s.world.gateway.assembly.changing, "changed", 200.0)  # type: ignore[union-attr]
        s.ends(slow)
        s.read_in_every_way()


def _moves(s: Scene) -> bool:
    """Whether the ring that comes has another primary for KEY."""
    gateway = s.world.gateway
    assert gateway is not None
    s.until(lambda: gateway.assembly.changing, "changing")
    coming, former = gateway.store.orders("object", KEY)
    return {each.name for each in coming[:2]} != {each.name for each in former[:2]}


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
        s.world.pass_time(5.0)
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
        s.does(s.world.put(KEY, b"v2"))
        s.a.freeze()
        s.b.freeze()
        s.c.start()
        s.world.pass_time(15.0)
        for _ in range(4):
            s.read_in_every_way()


# -- no trace of an earlier rule, but what each clause is there for --------------------------------


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


def mark_outlives_a_gateway() -> None:
    """B gave no answer to v2, which lands late; a clean stop between."""
    with scene() as s:
        s.b.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=800.0)
        s.ends(s.world.put(KEY, b"v2"))
        s.does(s.world.put(KEY, b"v3"))
        s.world.sleep(60.0)
        s.restart_gateway(clean=True)
        s.world.until_ready()
        s.world.sleep(800.0)
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


def returning_node_cannot_be_listed() -> None:
    """A has v1 again after its DELETE, and gives no listing of objects to its sweep."""
    with scene() as s:
        s.does(s.world.delete(KEY))
        s.a.weather.foretell("list", "", Fate.WELL)
        for _ in range(3):
            s.a.weather.foretell("list", "", Fate.REFUSED)
        s.reboots(s.a, lost_s=5.0)
        s.until(lambda: not s.a.weather.foretold, "refused")
        s.world.pass_time(0.5)
        for _ in range(4):
            s.read_in_every_way()


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
        _is_wiped(s.a)
        s.world.pass_time(1.0)


def _is_wiped(node: SimulatedNode) -> None:
    node.kill()
    node.restore({})
    node.start()


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
        _is_wiped(s.b)
        s.world.pass_time(1.0)
        s.read_in_every_way()


def copy_stands_in_for_a_primary() -> None:
    """B refuses v2 again and again, C has it instead; A loses its disk."""
    with scene() as s:
        for _ in range(20):
            s.b.weather.foretell("put", KEY, Fate.REFUSED)
        s.does(s.world.put(KEY, b"v2"))
        s.world.pass_time(10.0)
        _is_wiped(s.a)
        s.world.pass_time(1.0)
        s.read_in_every_way()


def copy_is_left_behind_by_a_change() -> None:
    """A node joins and is KEY's primary; what a former one has is to go."""
    with scene() as s:
        for _ in range(20):
            s.world.add_node()
            if _moves(s):
                break
            s.world.quiet()


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


def disk_is_emptied() -> None:
    """A is back with nothing: no bucket, no marker."""
    with scene() as s:
        _is_wiped(s.a)
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


def absence_by_one_node_of_three() -> None:
    """Both that have a key stand still, and the third says that there is none."""
    with scene() as s:
        s.a.freeze()
        s.b.freeze()
        s.world.pass_time(10.0)
        s.read_in_every_way()


def upload_that_is_left_open() -> None:
    """A client leaves an upload, and A doesn't abort it."""
    with scene() as s:
        s.a.weather.foretell("abort_upload", KEY, Fate.REFUSED)
        s.fails(s.world.put(KEY, LONG, told=False, gone_at=16))
        assert s.a.disk.uploads


def register_lands_late() -> None:
    """What is remembered of A's new disk reaches B and C late, after what is newer."""
    with scene() as s:
        for node in (s.b, s.c):
            key = f"members/{s.a.name}"
            node.weather.foretell("put", key, Fate.SILENT_LATE, there_s=300.0)
        _is_wiped(s.a)
        s.until(lambda: not s.b.weather.foretold, "sent")
        s.world.sleep(2 * WINDOW_S)


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
    put_while_a_delete_is_on_its_way,
    two_creations_at_once,
    wrong_digest_where_nodes_check_none,
    client_leaves_in_mid_body,
    restamped_just_before_a_kill,
    delete_comes_back_without_its_restamping,
    delete_that_one_node_remembers,
    delete_that_two_nodes_remember,
    note_left_over_and_nobody_else_answers,
    refused_by_all_and_stored_by_one,
    refused_by_a_primary,
    mark_outlives_a_gateway,
    suspect_primary_is_passed_by,
    returning_node_cannot_be_listed,
    the_other_primary_goes_when_one_is_back,
    only_the_stale_primary_answers,
    copy_on_its_way_is_overtaken,
    wrong_clock_is_noticed,
    clock_goes_back_while_the_gateway_is_off,
    clock_goes_back_while_the_gateway_is_dead,
    body_goes_on_from_another_node,
    put_that_one_node_took,
    delete_carried_out_late,
    late_delete_where_a_stray_is_left,
    copy_stands_in_for_a_primary,
    copy_is_left_behind_by_a_change,
    late_writes_land_on_all_targets,
    disk_is_emptied,
    absence_by_a_node_that_lost_it,
    absence_by_a_node_that_lost_it_unwatched,
    copy_lands_late,
    absence_by_one_node_of_three,
    upload_that_is_left_open,
    register_lands_late,
    many_nodes_join_at_once,
)
