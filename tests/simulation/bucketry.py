"""Stories of buckets: made, deleted and made again, while nodes and gateways come and go.

They begin as the traces do; the bucket `box` is made in each of them, and `k` in it lies on
two of three nodes, which are called `first` and `second`; `third` is the handoff.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aosd.testing.simulation.nodes import Kind
from aosd.testing.simulation.quiet import check_orphans_go
from aosd.testing.simulation.weather import Fate
from tests.simulation.scenes import WINDOW_S, Scene, scene

BOX = "box"
IN_BOX = "box:k"
LONG = b"so long that it flows"
_CARELESS = (Kind(keeps_full_buckets=False),) * 3


@contextmanager
def scene_with_box(**how: Any) -> Iterator[Scene]:
    """A scene in which the bucket is there, with nothing in it."""
    with scene(**how) as s:
        s.does(s.world.make_bucket(BOX))
        yield s


def read_in_box(s: Scene) -> None:
    """Clients look; the reference judges what they find."""
    for newest in (False, True):
        s.ends(s.world.get(IN_BOX, newest=newest))
    s.ends(s.world.head(IN_BOX))
    s.ends(s.world.list(bucket=BOX))


def deleted_while_parts_come() -> None:
    """A PUT of unknown length is on its way when its bucket is deleted: it is told so."""
    with scene_with_box() as s:
        slow = s.world.put(IN_BOX, b"0123456789" * 5, told=False, gap_s=1.0)
        s.world.pass_time(1.5)
        s.world.faulty = False
        s.does(s.world.remove_bucket(BOX))
        s.fails(slow)
        s.world.faulty = True


def upload_begins_late_in_the_next_bucket() -> None:
    """First doesn't answer a Create, which it carries out when its bucket was made again."""
    with scene_with_box() as s:
        first = s.world.order(IN_BOX)[0]
        first.weather.foretell("create_upload", "k", Fate.RESET_LATE, there_s=200.0)
        s.does(s.world.put(IN_BOX, b"0123456789" * 5, told=False))
        s.does(s.world.delete(IN_BOX))
        s.does(s.world.remove_bucket(BOX))
        s.does(s.world.make_bucket(BOX))
        s.world.pass_time(250.0)
        assert first.disk.uploads
        s.world.quiet()
        check_orphans_go(s.world)
        assert not first.disk.uploads


def made_again_while_a_node_is_away() -> None:
    """Second has what nobody acknowledged, and is away; the bucket is deleted, and made again."""
    with scene_with_box(notices_stops=True) as s:
        first, second, third = s.world.order(IN_BOX)
        for node in (first, third):
            node.weather.foretell("put", "k", Fate.REFUSED)
        s.fails(s.world.put(IN_BOX, b"b1"))
        assert s.world.copies(IN_BOX).keys() == {second.name}
        second.kill()
        s.until(lambda: s.state(second) == "down", "noticed")
        s.does(s.world.remove_bucket(BOX))
        s.does(s.world.make_bucket(BOX))
        second.start()
        s.until(lambda: s.state(second) != "down", "back")
        for _ in range(4):
            read_in_box(s)


def deleted_while_a_node_is_away() -> None:
    """Second, with an old copy, is away when the bucket goes, and the gateway too; then back."""
    with scene_with_box(notices_stops=True) as s:
        second = s.world.order(IN_BOX)[1]
        s.does(s.world.put(IN_BOX, b"b1"))
        second.kill()
        s.until(lambda: s.state(second) == "down", "noticed")
        s.does(s.world.delete(IN_BOX))
        s.does(s.world.remove_bucket(BOX))
        s.restart_gateway()
        second.start()
        s.world.until_ready()
        for _ in range(4):
            read_in_box(s)


def restored_disk_has_a_bucket_that_is_gone() -> None:
    """A disk of before the delete of the bucket comes back, with its object; and once more."""
    with scene_with_box() as s:
        first = s.world.order(IN_BOX)[0]
        s.does(s.world.put(IN_BOX, b"b1"))
        before = first.snapshot()
        s.does(s.world.delete(IN_BOX))
        s.does(s.world.remove_bucket(BOX))
        for _ in range(2):
            first.kill()
            first.restore(before)
            first.start()
            for _ in range(4):
                read_in_box(s)
            s.world.quiet()
            s.ends(s.world.make_bucket(BOX))


def put_of_the_bucket_before() -> None:
    """A slow PUT began in a bucket that is deleted, and made again, before it ends."""
    with scene_with_box() as s:
        slow = s.world.put(IN_BOX, LONG, gap_s=1.0)
        s.world.pass_time(0.5)
        s.does(s.world.remove_bucket(BOX))
        s.does(s.world.make_bucket(BOX))
        s.ends(slow)
        read_in_box(s)


def put_while_the_bucket_goes() -> None:
    """All nodes have been found empty, and remove the bucket in a while; a PUT comes."""
    with scene_with_box(kinds=_CARELESS) as s:
        for node in s.world.nodes.values():
            node.weather.foretell("delete_bucket", "", Fate.SLOW, there_s=3.0)
        removing = s.world.remove_bucket(BOX)
        s.world.pass_time(1.0)
        s.ends(s.world.put(IN_BOX, b"b1"))
        s.ends(removing)
        read_in_box(s)


def emptied_by_listings_alone() -> None:
    """The nodes' listings don't show yet what was written just now."""
    with scene_with_box(kinds=_CARELESS) as s:
        for node in s.world.nodes.values():
            node.weather.chances = {Fate.STALE: 1.0}
        s.does(s.world.put(IN_BOX, b"b1"))
        s.ends(s.world.remove_bucket(BOX))
        for node in s.world.nodes.values():
            node.weather.chances = {}
        s.world.stale_until_s = s.world.clock.seconds() + 30.0
        read_in_box(s)


def holders_are_away() -> None:
    """Both nodes that have the object are away when the bucket is to be deleted."""
    with scene_with_box(notices_stops=True, nodes=6) as s:
        first, second, *_ = s.world.order(IN_BOX)
        s.does(s.world.put(IN_BOX, b"b1"))
        s.world.pass_time(70.0)
        for node in (first, second):
            node.kill()
        s.until(lambda: s.state(first) == s.state(second) == "down", "noticed")
        s.ends(s.world.remove_bucket(BOX))


def removed_late() -> None:
    """No node answers the delete of the bucket, which is made again, and filled; then they act."""
    with scene_with_box(kinds=_CARELESS) as s:
        for node in s.world.nodes.values():
            node.weather.foretell("delete_bucket", "", Fate.SILENT_LATE, there_s=400.0)
        s.ends(s.world.remove_bucket(BOX))
        for _ in range(2):
            s.ends(s.world.make_bucket(BOX))
            s.ends(s.world.put(IN_BOX, b"b1"))
            s.world.sleep(WINDOW_S + 60.0)


def removed_late_after_a_kill() -> None:
    """The same, and the gateway is killed before the bucket is made again."""
    _removed_late_after_a_restart(clean=False)


def removed_late_after_a_stop() -> None:
    """The same, and the gateway is stopped cleanly instead."""
    _removed_late_after_a_restart(clean=True)


def _removed_late_after_a_restart(*, clean: bool) -> None:
    with scene_with_box(kinds=_CARELESS) as s:
        for node in s.world.nodes.values():
            node.weather.foretell("delete_bucket", "", Fate.SILENT_LATE, there_s=400.0)
        s.ends(s.world.remove_bucket(BOX))
        s.restart_gateway(clean=clean)
        s.world.until_ready()
        for _ in range(2):
            s.ends(s.world.make_bucket(BOX))
            s.ends(s.world.put(IN_BOX, b"b1"))
            s.world.sleep(WINDOW_S + 60.0)


def killed_while_a_bucket_goes() -> None:
    """The gateway is killed when the bucket is closed already, and looked at for the last time."""
    with scene_with_box() as s:
        for node in s.world.nodes.values():
            node.weather.foretell("list", "", Fate.WELL)
            node.weather.foretell("list", "", Fate.SLOW, there_s=5.0)
        s.world.remove_bucket(BOX)
        s.world.pass_time(1.0)
        bucket = s.assembly.buckets.get(BOX)
        assert bucket is not None and bucket.state == "closed"
        s.restart_gateway()
        s.world.until_ready()
        s.ends(s.world.put(IN_BOX, b"b1"))
        s.world.quiet()
        assert s.assembly.buckets.get(BOX).state == "deleted"  # type: ignore[union-attr]


def killed_at_each_change() -> None:
    """The gateway is killed anywhere in a delete that is followed by a new bucket of the name."""
    for changes in (1, 3, 5, 7):
        with scene_with_box() as s:
            s.does(s.world.put(IN_BOX, b"b1"))
            s.does(s.world.delete(IN_BOX))
            s.world.ambush(changes, lambda s=s: s.world.gateway and s.world.kill_gateway())  # type: ignore[misc]
            for act in (s.world.remove_bucket, s.world.make_bucket):
                if s.world.gateway is not None:
                    s.ends(act(BOX))
            s.world.ambushes.clear()
            if s.world.gateway is None:
                s.world.start_gateway()
            s.world.until_ready()
            read_in_box(s)
            s.ends(s.world.make_bucket(BOX))
            s.ends(s.world.put(IN_BOX, b"b2"))
            read_in_box(s)


STORIES: tuple[Callable[[], None], ...] = (
    deleted_while_parts_come,
    upload_begins_late_in_the_next_bucket,
    made_again_while_a_node_is_away,
    deleted_while_a_node_is_away,
    restored_disk_has_a_bucket_that_is_gone,
    put_of_the_bucket_before,
    put_while_the_bucket_goes,
    emptied_by_listings_alone,
    holders_are_away,
    removed_late,
    removed_late_after_a_kill,
    removed_late_after_a_stop,
    killed_while_a_bucket_goes,
    killed_at_each_change,
)
