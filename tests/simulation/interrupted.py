"""What is cut short, or lands when nobody thinks of it any more: mending, notes, records."""

from __future__ import annotations

import json
from collections.abc import Callable

from aosd.model.objects import SYSTEM_BUCKET
from aosd.testing.memory_disk import Copy, Snapshot
from aosd.testing.simulation.nodes import SimulatedNode
from aosd.testing.simulation.weather import Fate
from tests.simulation.scenes import KEY, WINDOW_S, Scene, scene


def stopped_while_a_copy_is_unanswered() -> None:
    """The gateway ends cleanly while mending waits for A, who takes the copy minutes later."""
    with scene() as s:
        s.a.weather.foretell("put", KEY, Fate.REFUSED)
        s.a.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=200.0)
        s.does(s.world.put(KEY, b"v2"))
        s.until(lambda: not s.a.weather.foretold, "the copy is on its way")
        # The last steps of a stop take longer than the copy is waited for.
        heartbeat = f"gateways/{s.assembly.run}"
        s.b.weather.foretell("delete", heartbeat, Fate.SLOW, there_s=0.0, back_s=40.0)
        s.restart_gateway(clean=True)
        s.world.until_ready()
        s.world.pass_time(20.0)
        s.does(s.world.put(KEY, b"v3"))
        s.world.pass_time(200.0)
        s.read_in_every_way()


def swept_while_a_copy_is_unanswered() -> None:
    """A sweep by the calendar copies v2 to B, and makes way for one that C's return asks for."""
    with scene() as s:
        _sweep_copies_without_an_answer(s)
        _restarts(s, s.c)
        s.world.pass_time(120.0)
        s.does(s.world.put(KEY, b"v3"))
        for _ in range(40):
            s.world.pass_time(10.0)
            s.read_in_every_way()


def stopped_while_mending_looks_again() -> None:
    """A's copy is unanswered; mending looks at D once more, who is slow, when the gateway ends."""
    with scene(nodes=4) as s:
        (d,) = s.others
        s.world.sleep(120.0)
        for node in (s.a, s.b):
            node.weather.foretell("put", KEY, Fate.REFUSED)
        s.a.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=200.0)
        s.does(s.world.put(KEY, b"v2"))
        s.until(lambda: not s.a.weather.foretold, "the copy is on its way", 120.0)
        s.world.pass_time(20.0)
        writing = s.world.put(KEY, b"v3")
        s.world.pass_time(0.1)
        d.weather.foretell("head", KEY, Fate.SLOW, there_s=6.0)
        s.until(lambda: not d.weather.foretold, "it looks again")
        s.restart_gateway(clean=True)
        s.world.until_ready()
        s.ends(writing)
        for _ in range(40):
            s.world.pass_time(5.0)
            s.read_in_every_way()


def mark_of_a_sweep_cut_short_is_refused() -> None:
    """Mending is cut short and leaves a mark, which takes seconds, and all nodes refuse it."""
    with scene() as s:
        nodes = list(s.world.nodes.values())
        _sweep_copies_without_an_answer(s)
        for node in nodes:
            node.weather.quick_s = 5.0
            node.weather.chances = {Fate.REFUSED: 1.0}
        _restarts(s, s.c)
        s.world.pass_time(6.0)
        for node in nodes:
            node.weather.quick_s = 0.02
            node.weather.chances = {}
        s.world.pass_time(30.0)
        s.restart_gateway(clean=True)
        s.world.until_ready()
        s.world.pass_time(60.0)
        s.does(s.world.put(KEY, b"v3"))
        for _ in range(50):
            s.world.pass_time(10.0)
            s.read_in_every_way()


def abort_takes_long_when_a_copy_is_cut_short() -> None:
    """A copy in parts makes way for another sweep, and B doesn't say that it was aborted."""
    with scene() as s:
        s.world.sleep(120.0)
        for _ in range(7):
            s.b.weather.foretell("complete_upload", KEY, Fate.REFUSED)
        s.does(s.world.put(KEY, b"0123456789" * 30, told=False))
        s.until(lambda: not s.b.weather.foretold, "refused again and again", 300.0)
        for _ in range(30):
            s.b.weather.foretell("put_part", KEY, Fate.SLOW, there_s=5.0)
        s.b.weather.foretell("abort_upload", KEY, Fate.SILENT)
        s.assembly.keeper.calendar._due_s = s.world.clock.seconds()
        s.until(lambda: len(s.b.weather.foretold) < 30, "the copy has begun", 120.0)
        _restarts(s, s.c)
        s.world.pass_time(5.0)
        s.b.weather.foretold.clear()


def power_is_lost_after_the_note_was_read() -> None:
    """A run begins, reads A's note of a clean stop, and waits for C: A loses its last seconds."""
    _goes_back_after_its_note_was_read(lambda s, _: s.reboots(s.a, lost_s=5.0))


def snapshot_is_restored_after_the_note_was_read() -> None:
    """The same, with a disk of an hour ago."""

    def restored(s: Scene, before: Snapshot) -> None:
        s.a.kill()
        s.a.restore(before)
        s.a.start()

    _goes_back_after_its_note_was_read(restored)


def another_disk_is_there_after_the_note_was_read() -> None:
    """And the same, while discovery sees no A for a moment: it is made anew, on an old disk."""

    def made_anew(s: Scene, before: Snapshot) -> None:
        s.a.kill()
        s.a.restore(before)
        assert s.world.gateway is not None
        others = [each for each in s.world.sightings() if each.name != s.a.name]
        s.world.gateway.discovery.see(*others)
        s.a.start()
        s.world.look_around()

    _goes_back_after_its_note_was_read(made_anew)


def _goes_back_after_its_note_was_read(goes_back: Callable[[Scene, Snapshot], None]) -> None:
    with scene() as s:
        before = s.a.snapshot()
        s.world.sleep(3600.0)
        s.does(s.world.put(KEY, b"v2"))
        s.world.stop_gateway()
        s.until(lambda: s.world.gateway is None, "stopped")
        s.c.kill()
        s.world.start_gateway()
        read = s.assembly.beginning._read
        s.until(lambda: {s.a.name, s.b.name} <= read.keys(), "their notes are read")
        goes_back(s, before)
        s.until(lambda: s.world.is_ready, "ready")
        s.c.start()
        for _ in range(20):
            s.world.pass_time(1.0)
            s.read_in_every_way()


def cleared_while_another_gateway_is_seen() -> None:
    """A mark's records are being removed when another heartbeat moves, and then no more."""
    with scene() as s:
        assembly = s.assembly
        for beats in (1, 2):
            _another_beats(s, beats)
            s.world.pass_time(5.1)
        s.b.weather.foretell("put", KEY, Fate.REFUSED)
        s.does(s.world.put(KEY, b"v2"))
        records = [key for key in s.c.disk.buckets[SYSTEM_BUCKET] if key.startswith("marks/")]
        for node in s.world.nodes.values():
            for record in records:
                node.weather.foretell("delete", record, Fate.SILENT)
        s.until(lambda: not len(assembly.marks), "cleared")
        _another_beats(s, 3)
        s.until(lambda: assembly.heartbeat.other, "another one is seen")
        s.until(lambda: not assembly.heartbeat.other, "it is no more", 120.0)


def _another_beats(s: Scene, beats: int) -> None:
    for node in s.world.nodes.values():
        data = json.dumps({"beats": beats, "stamp": ""}).encode()
        record = Copy(data, '"x"', node.now())
        node.disk.buckets[SYSTEM_BUCKET]["gateways/feedfeedfeedfeed"] = record


def mark_given_to_a_returning_node_lands_late() -> None:
    """A is given the record of a mark, doesn't say so, and has it when the mark is gone."""
    with scene() as s:
        s.world.sleep(120.0)
        s.c.kill()
        s.world.pass_time(15.0)
        s.b.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=40.0)
        s.ends(s.world.put(KEY, b"v2"))
        records = [key for key in s.a.disk.buckets[SYSTEM_BUCKET] if key.startswith("marks/")]
        assert records
        s.world.sleep(800.0)
        for record in records:
            s.c.weather.foretell("put", record, Fate.SILENT_LATE, there_s=850.0)
        s.c.start()
        s.until(lambda: not s.c.weather.foretold, "it is given them")
        s.world.sleep(3 * WINDOW_S)


def mark_of_the_run_before_lands_late() -> None:
    """A mark is cleared, the gateway ends cleanly; C has the mark's record once more after that."""
    with scene() as s:
        s.b.weather.foretell("put", KEY, Fate.REFUSED)
        s.does(s.world.put(KEY, b"v2"))
        there = s.c.disk.buckets[SYSTEM_BUCKET]
        ((name, record),) = ((key, there[key]) for key in there if key.startswith("marks/"))
        s.until(lambda: name not in there, "cleared")
        s.restart_gateway(clean=True)
        s.world.until_ready()
        s.world.pass_time(100.0)
        there[name] = record


def last_run_lands_late() -> None:
    """C takes minutes to remember run 2, which ended cleanly; run 3 is killed. Then C answers."""
    with scene() as s:
        keys = [f"x{number}" for number in range(8)]
        for key in keys:
            s.does(s.world.put(key, b"v1"))
        s.world.pass_time(30.0)
        s.c.weather.foretell("put", "runs/last", Fate.SILENT_LATE, there_s=110.0)
        s.restart_gateway(clean=True)
        s.world.until_ready()
        s.world.pass_time(50.0)
        s.world.stop_gateway()
        s.until(lambda: s.world.gateway is None, "stopped")
        s.b.kill()
        s.c.weather.foretell("delete", "stopped.json", Fate.REFUSED)
        s.world.start_gateway()
        s.world.until_ready()
        for key in keys:
            s.does(s.world.put(key, b"v2"))
        s.does(s.world.delete(KEY))
        s.world.pass_time(5.0)
        s.world.kill_gateway()
        s.world.pass_time(60.0)
        s.a.kill()
        s.b.start()
        s.world.pass_time(0.2)
        s.world.start_gateway()
        s.world.until_ready()
        for key in (*keys, KEY):
            s.ends(s.world.get(key))


def _sweep_copies_without_an_answer(s: Scene) -> None:
    """A sweep by the calendar copies v2 to B, who says nothing and takes it minutes later."""
    s.world.sleep(120.0)
    for _ in range(6):
        s.b.weather.foretell("put", KEY, Fate.REFUSED)
    s.does(s.world.put(KEY, b"v2"))
    s.until(lambda: not s.b.weather.foretold, "refused again and again", 120.0)
    s.b.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=400.0)
    s.assembly.keeper.calendar._due_s = s.world.clock.seconds()
    s.until(lambda: not s.b.weather.foretold, "the copy is on its way")


def _restarts(s: Scene, node: SimulatedNode) -> None:
    node.kill()
    s.world.pass_time(0.3)
    node.start()


STORIES: tuple[Callable[[], None], ...] = (
    stopped_while_a_copy_is_unanswered,
    swept_while_a_copy_is_unanswered,
    stopped_while_mending_looks_again,
    mark_of_a_sweep_cut_short_is_refused,
    abort_takes_long_when_a_copy_is_cut_short,
    power_is_lost_after_the_note_was_read,
    snapshot_is_restored_after_the_note_was_read,
    another_disk_is_there_after_the_note_was_read,
    cleared_while_another_gateway_is_seen,
    mark_given_to_a_returning_node_lands_late,
    mark_of_the_run_before_lands_late,
    last_run_lands_late,
)
