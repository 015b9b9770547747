"""Stories of clients' multipart uploads, and of those that end while nodes are away.

They begin as the traces do: v1 on A and B, C the handoff, two copies. An upload begins on all
three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aosd.model.objects import SYSTEM_BUCKET
from aosd.testing.simulation.upload_operations import ClientUpload
from aosd.testing.simulation.weather import Fate
from tests.simulation.scenes import KEY, Scene, scene

DAY_S = 86400.0


@contextmanager
def scene_with_upload(**how: Any) -> Iterator[tuple[Scene, ClientUpload]]:
    """A scene in which an upload of KEY has begun."""
    with scene(**how) as s:
        yield s, begun(s)


def begun(s: Scene, path: str = KEY) -> ClientUpload:
    """An upload that has begun."""
    operation = s.world.begin_upload(path)
    s.does(operation)
    assert operation.upload is not None
    return operation.upload


def sent(s: Scene, upload: ClientUpload, *parts: bytes) -> None:
    """Its parts, one after the other."""
    for number, data in enumerate(parts, len(upload.parts) + 1):
        s.does(s.world.send_part(upload, number, data))


def copied_to_a_node_that_has_it_open() -> None:
    """C lacks a part, A refuses the Complete: a copy goes to C, where the upload is open yet."""
    with scene_with_upload() as (s, upload):
        s.c.weather.foretell("put_part", KEY, Fate.REFUSED)
        sent(s, upload, b"v2")
        s.a.weather.foretell("complete_upload", KEY, Fate.REFUSED)
        s.does(s.world.complete_upload(upload))
        assert s.lying().keys() >= {s.b.name, s.c.name}


def disk_of_before_remembers_it() -> None:
    """The upload is over when A's disk is restored, on which it stands as open; 8 days pass."""
    with scene_with_upload() as (s, upload):
        sent(s, upload, b"v2")
        before = s.a.snapshot()
        s.does(s.world.complete_upload(upload))
        s.world.pass_time(5.0)
        s.a.kill()
        s.a.restore(before)
        s.a.start()
        s.world.quiet()
        s.world.sleep(60.0)
        s.world.sleep(8 * DAY_S, leap_s=6 * 3600.0)


def deleted_between_create_and_complete() -> None:
    """The object is deleted, as Hadoop's committers do, after its upload began."""
    with scene_with_upload() as (s, upload):
        sent(s, upload, b"v2", b" and more")
        s.does(s.world.delete(KEY))
        s.does(s.world.complete_upload(upload))
        s.read_in_every_way()
        s.restart_gateway()
        s.world.until_ready()
        s.read_in_every_way()


def overwritten_between_create_and_complete() -> None:
    """A PUT of the key is acknowledged after its upload began: the Complete is newer."""
    with scene_with_upload() as (s, upload):
        sent(s, upload, b"v3")
        s.does(s.world.put(KEY, b"v2"))
        s.does(s.world.complete_upload(upload))
        s.read_in_every_way()


def completed_again_after_a_put() -> None:
    """C doesn't hear that the upload is over; a PUT; the Complete comes once more."""
    with scene_with_upload() as (s, upload):
        sent(s, upload, b"v2")
        s.c.weather.foretell("abort_upload", KEY, Fate.SILENT)
        s.does(s.world.complete_upload(upload))
        s.does(s.world.put(KEY, b"v3"))
        s.ends(s.world.complete_upload(upload))
        s.read_in_every_way()


def completed_again_in_vain_while_a_put_flows() -> None:
    """PUT v3 is on its way when a Complete of v2 comes once more, which nobody can remember.

    B, which stands still, has v2 yet when v3 is acknowledged: that is the older one all the same.
    """
    with scene_with_upload() as (s, upload):
        sent(s, upload, b"v2")
        s.b.weather.foretell("complete_upload", KEY, Fate.SILENT_AFTER)
        s.does(s.world.complete_upload(upload))
        s.b.freeze()
        s.until(lambda: s.state(s.b) != "up", "noticed")
        slow = s.world.put(KEY, b"v3 is so long that it flows", gap_s=1.0)
        s.world.pass_time(0.5)
        s.a.full = s.c.full = True
        s.fails(s.world.complete_upload(upload))
        s.a.full = s.c.full = False
        s.does(slow)
        s.b.thaw()
        s.until(lambda: s.state(s.b) == "up", "up")
        s.read_in_every_way()


def completed_after_an_abort() -> None:
    """C doesn't hear of the abort, and has all parts."""
    with scene_with_upload() as (s, upload):
        sent(s, upload, b"v2")
        s.c.weather.foretell("abort_upload", KEY, Fate.SILENT)
        s.does(s.world.abort_upload(upload))
        s.fails(s.world.complete_upload(upload))
        s.fails(s.world.send_part(upload, 1, b"v3"))
        s.read_in_every_way()


def parts_come_while_it_is_aborted() -> None:
    """B alone takes one of two parts, C the other: the rest was told of the abort before.

    Nothing is wrong with any node.
    """
    with scene_with_upload() as (s, upload):
        s.world.faulty = False
        for node, there_s, back_s in ((s.a, 0.1, 0.0), (s.b, 0.3, 0.0), (s.c, 0.1, 2.0)):
            node.weather.foretell("abort_upload", KEY, Fate.WELL, there_s, back_s)
        for delays_s in ((0.2, 0.0, 0.2), (0.2, 0.6, 0.0)):
            for node, there_s in zip((s.a, s.b, s.c), delays_s, strict=True):
                node.weather.foretell("put_part", KEY, Fate.WELL, there_s)
        aborting = s.world.abort_upload(upload)
        parts = [s.world.send_part(upload, number, b"v2") for number in (1, 2)]
        for part in parts:
            s.ends(part)
        assert not aborting.over
        assert "NoSuchUpload" in parts[1].outcome, parts[1].outcome
        s.does(aborting)
        s.world.faulty = True


def aborted_while_a_node_is_away() -> None:
    """C is away when the upload is aborted, and comes back."""
    with scene_with_upload(notices_stops=True) as (s, upload):
        sent(s, upload, b"v2")
        s.c.kill()
        s.until(lambda: s.state(s.c) == "down", "noticed")
        s.does(s.world.abort_upload(upload))
        s.c.start()
        s.world.quiet()
        assert not s.c.disk.uploads


def power_is_lost_after_an_abort() -> None:
    """A falls back to before the abort: the upload is open there, and stands on record."""
    with scene_with_upload() as (s, upload):
        sent(s, upload, b"v2")
        s.world.pass_time(10.0)
        s.does(s.world.abort_upload(upload))
        s.reboots(s.a, lost_s=5.0)
        assert s.a.disk.uploads
        s.world.quiet()


def power_is_lost_after_an_abort_of_the_run_before() -> None:
    """The same, and the gateway is killed: nobody knows that it was aborted.

    To the next run it is as open as it was. The client aborts it once more, or its age does.
    """
    for again in (False, True):
        with scene_with_upload() as (s, upload):
            sent(s, upload, b"v2")
            s.world.pass_time(10.0)
            s.does(s.world.abort_upload(upload))
            s.world.kill_gateway()
            s.reboots(s.a, lost_s=5.0)
            s.world.start_gateway()
            s.world.quiet()
            assert s.a.disk.uploads
            if again:
                s.does(s.world.abort_upload(upload))
                s.world.quiet()
                assert not s.a.disk.uploads
                assert not records(s)


def power_is_lost_after_one_of_the_aborts() -> None:
    """C is away, so that the upload stays on record; A aborts it, and falls back to before that."""
    with scene_with_upload(notices_stops=True) as (s, upload):
        sent(s, upload, b"v2")
        s.c.kill()
        s.until(lambda: s.state(s.c) == "down", "noticed")
        s.world.pass_time(10.0)
        s.does(s.world.abort_upload(upload))
        s.reboots(s.a, lost_s=5.0)
        assert s.a.disk.uploads
        s.c.start()
        s.world.quiet()


def power_is_lost_after_a_refused_complete() -> None:
    """A alone completes it, which is too few, and loses that; nobody comes back to the upload."""
    with scene_with_upload() as (s, upload):
        sent(s, upload, b"v2")
        s.world.pass_time(10.0)
        for node in (s.b, s.c):
            for _ in range(3):
                node.weather.foretell("complete_upload", KEY, Fate.REFUSED)
        s.fails(s.world.complete_upload(upload))
        s.reboots(s.a, lost_s=5.0)
        assert s.a.disk.uploads
        s.world.quiet()
        s.world.sleep(60.0)
        s.world.sleep(8 * DAY_S, leap_s=6 * 3600.0)
        assert not any(node.disk.uploads for node in (s.a, s.b, s.c))


def power_is_lost_before_the_record_goes() -> None:
    """A's Complete of a chunked PUT is lost, and its record was to be removed once more.

    Who ends it there may be another run.
    """
    for killed in (False, True):
        with scene() as s:
            s.world.pass_time(10.0)
            put = s.world.put(KEY, b"v2" * 20, told=False, gap_s=1.0)
            s.until(lambda s=s: bool(records(s)), "begun")  # type: ignore[misc]
            (record,) = records(s)
            s.a.weather.foretell("delete", record, Fate.REFUSED)
            s.does(put)
            s.reboots(s.a, lost_s=1.0)
            assert s.a.disk.uploads
            for _ in range(5 if killed else 0):
                s.a.weather.foretell("abort_upload", KEY, Fate.REFUSED)
            s.world.pass_time(150.0)
            if killed:
                s.restart_gateway()
            s.a.weather.foretold.clear()
            s.world.quiet()
            s.world.sleep(60.0)
            s.world.sleep(8 * DAY_S, leap_s=6 * 3600.0)
            assert not s.a.disk.uploads


def records(s: Scene) -> list[str]:
    """The records of open uploads on A."""
    return [key for key in s.a.disk.buckets[SYSTEM_BUCKET] if key.startswith("uploads/")]


def power_is_lost_after_a_part() -> None:
    """A loses the last part, B the one before: C alone has all, and two copies are made."""
    with scene_with_upload() as (s, upload):
        sent(s, upload, b"v2")
        s.reboots(s.b, lost_s=0.2)
        s.world.pass_time(5.0)
        s.does(s.world.send_part(upload, 2, b" in two parts"))
        s.reboots(s.a, lost_s=0.2)
        s.world.pass_time(5.0)
        s.ends(s.world.complete_upload(upload))
        s.read_in_every_way()


def abort_that_nobody_remembers() -> None:
    """C is away when the upload is aborted, A and B don't remember it; the gateway is killed."""
    with scene_with_upload(notices_stops=True) as (s, upload):
        sent(s, upload, b"v2")
        s.c.kill()
        s.until(lambda: s.state(s.c) == "down", "noticed")
        (record,) = (key for key in s.a.disk.buckets[SYSTEM_BUCKET] if key.startswith("uploads/"))
        for node in (s.a, s.b):
            node.weather.foretell("put", record, Fate.REFUSED)
        s.ends(s.world.abort_upload(upload))
        s.restart_gateway()
        s.c.start()
        s.world.quiet()
        s.ends(s.world.abort_upload(upload))


def abort_once_more() -> None:
    """The same, but the gateway lives; the client sends its abort again until it is taken."""
    with scene_with_upload(notices_stops=True) as (s, upload):
        s.c.kill()
        s.until(lambda: s.state(s.c) == "down", "noticed")
        (record,) = (key for key in s.a.disk.buckets[SYSTEM_BUCKET] if key.startswith("uploads/"))
        for node in (s.a, s.b):
            node.weather.foretell("put", record, Fate.REFUSED)
        s.fails(s.world.abort_upload(upload))
        s.does(s.world.abort_upload(upload))
        s.restart_gateway()
        s.c.start()
        s.world.quiet()


def each_node_lacks_a_part() -> None:
    """B lacks the first part, C the second; what A alone would have all of, it refuses."""
    with scene_with_upload() as (s, upload):
        s.b.weather.foretell("put_part", KEY, Fate.REFUSED)
        sent(s, upload, b"1")
        s.c.weather.foretell("put_part", KEY, Fate.REFUSED)
        sent(s, upload, b"2")
        s.a.weather.foretell("put_part", KEY, Fate.REFUSED)
        s.ends(s.world.send_part(upload, 3, b"3"))
        s.ends(s.world.complete_upload(upload))
        s.read_in_every_way()


def killed_between_any_two() -> None:
    """The gateway is killed after each request; parts come in any order; the same id goes on."""
    with scene_with_upload() as (s, upload):
        for number, data in ((2, b"two"), (1, b"one"), (3, b"three")):
            s.restart_gateway()
            s.world.until_ready()
            s.does(s.world.send_part(upload, number, data))
        s.restart_gateway()
        s.world.until_ready()
        s.does(s.world.complete_upload(upload))
        s.restart_gateway()
        s.world.until_ready()
        assert s.read() == b"onetwothree"
        s.read_in_every_way()


def killed_while_it_completes() -> None:
    """The gateway is killed anywhere in a Complete, which its client sends again."""
    for changes in (1, 2, 3):
        with scene_with_upload() as (s, upload):
            sent(s, upload, b"v2")
            s.world.ambush(changes, lambda s=s: s.world.gateway and s.world.kill_gateway())  # type: ignore[misc]
            s.ends(s.world.complete_upload(upload))
            s.world.ambushes.clear()
            if s.world.gateway is None:
                s.world.start_gateway()
            s.world.until_ready()
            s.ends(s.world.complete_upload(upload))
            s.read_in_every_way()


def part_is_replaced_while_it_completes() -> None:
    """Another part of the number reaches B before its Complete does: B gets a copy."""
    with scene_with_upload(replicas=3) as (s, upload):
        sent(s, upload, b"v2")
        for node in (s.a, s.b):
            node.weather.foretell("put_part", KEY, Fate.WELL, there_s=5.0 if node is s.a else 1.0)
        s.b.weather.foretell("complete_upload", KEY, Fate.WELL, there_s=2.0)
        completing = s.world.complete_upload(upload)
        s.world.send_part(upload, 1, b"v3")
        s.does(completing)
        s.world.pass_time(10.0)
        s.read_in_every_way()


def completed_with_one_node_left() -> None:
    """Two of its nodes are away, which took no part of it: the Complete makes R copies."""
    with scene_with_upload(nodes=5, notices_stops=True) as (s, upload):
        sent(s, upload, b"v2")
        for node in (s.a, s.b):
            node.kill()
        s.until(lambda: s.state(s.a) == s.state(s.b) == "down", "noticed")
        s.ends(s.world.complete_upload(upload))
        s.read_in_every_way()


def upload_of_the_bucket_before() -> None:
    """Its bucket is deleted and made again while C, which has it open, is away."""
    with scene(notices_stops=True) as s:
        s.does(s.world.make_bucket("box"))
        upload = begun(s, "box:k")
        sent(s, upload, b"of the one before")
        s.c.kill()
        s.until(lambda: s.state(s.c) == "down", "noticed")
        s.does(s.world.remove_bucket("box"))
        s.does(s.world.make_bucket("box"))
        s.c.start()
        s.until(lambda: s.state(s.c) != "down", "back")
        s.fails(s.world.send_part(upload, 2, b"?"))
        s.fails(s.world.complete_upload(upload))
        s.ends(s.world.get("box:k"))


STORIES: tuple[Callable[[], None], ...] = (
    copied_to_a_node_that_has_it_open,
    disk_of_before_remembers_it,
    deleted_between_create_and_complete,
    overwritten_between_create_and_complete,
    completed_again_after_a_put,
    completed_again_in_vain_while_a_put_flows,
    completed_after_an_abort,
    parts_come_while_it_is_aborted,
    aborted_while_a_node_is_away,
    power_is_lost_after_an_abort,
    power_is_lost_after_an_abort_of_the_run_before,
    power_is_lost_after_one_of_the_aborts,
    power_is_lost_after_a_refused_complete,
    power_is_lost_before_the_record_goes,
    power_is_lost_after_a_part,
    abort_that_nobody_remembers,
    abort_once_more,
    each_node_lacks_a_part,
    killed_between_any_two,
    killed_while_it_completes,
    completed_with_one_node_left,
    part_is_replaced_while_it_completes,
    upload_of_the_bucket_before,
)
