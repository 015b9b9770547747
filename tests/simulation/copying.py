"""Stories of copies and of changed tags: the same bytes, written again.

They begin as the traces do: v1 on A and B, C the handoff, two copies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aosd.testing.simulation.reference import Write
from aosd.testing.simulation.weather import Fate
from tests.simulation.scenes import KEY, Scene, scene
from tests.simulation.uploading import begun, sent

OTHER = "other"


def present(s: Scene, key: str = KEY) -> Write:
    """What is there, and nothing else may be."""
    (write,) = s.world.reference.may_be(key, s.world.clock.seconds())
    return write


def _meanwhile(s: Scene, operation: Callable[[], Any], *others: Callable[[], Any]) -> None:
    """Others are acknowledged after it has read, and before it writes."""
    for node in (s.a, s.b):
        node.weather.foretell("get", KEY, Fate.SLOW, back_s=3.0)
    running = operation()
    s.world.pass_time(1.0)
    for other in others:
        s.does(other())
    s.ends(running)
    for node in (s.a, s.b):
        node.weather.foretold.clear()
    s.read_in_every_way()


def touched_while_a_put_comes() -> None:
    """A copy onto itself has read v1 when PUT v2 is acknowledged."""
    with scene() as s:
        source = present(s)
        _meanwhile(s, lambda: s.world.touch(source), lambda: s.world.put(KEY, b"v2"))


def touched_while_it_is_deleted() -> None:
    """A copy onto itself has read v1 when a DELETE is acknowledged."""
    with scene() as s:
        source = present(s)
        _meanwhile(s, lambda: s.world.touch(source), lambda: s.world.delete(KEY))


def tagged_while_a_put_comes() -> None:
    """A change of tags has read v1 when PUT v2 is acknowledged, and a DELETE."""
    with scene() as s:
        _meanwhile(s, lambda: s.world.tag(KEY, b"t"), lambda: s.world.put(KEY, b"v2"))
        _meanwhile(s, lambda: s.world.tag(KEY, b"u"), lambda: s.world.delete(KEY))


def tags_are_changed_at_once() -> None:
    """Two changes of tags, and a copy onto itself, all at once; a node is away, and returns."""
    with scene(notices_stops=True) as s:
        s.b.kill()
        s.until(lambda: s.state(s.b) == "down", "noticed")
        running = [
            s.world.tag(KEY, b"one"),
            s.world.touch(present(s)),
            s.world.tag(KEY, b"two"),
        ]
        for each in running:
            s.ends(each)
        s.does(s.world.tag(KEY, b"three"))
        s.b.start()
        s.world.quiet()
        s.does(s.world.head(KEY))


def tags_go_with_copies() -> None:
    """B refuses the tagged object, and gets it by mending."""
    with scene() as s:
        for node in (s.b, s.c):
            node.weather.foretell("put", KEY, Fate.REFUSED)
        s.ends(s.world.tag(KEY, b"t"))
        s.world.quiet()
        s.does(s.world.head(KEY))


def tagged_in_its_parts() -> None:
    """What was uploaded in parts keeps its ETag when its tags change."""
    with scene() as s:
        upload = begun(s)
        sent(s, upload, b"v2 in", b" two parts")
        s.does(s.world.complete_upload(upload))
        s.does(s.world.tag(KEY, b"t"))
        s.read_in_every_way()


def tags_go_with_the_bytes() -> None:
    """An object that is written anew has no tags of the one before; a copy has its own."""
    with scene() as s:
        s.does(s.world.tag(KEY, b"t"))
        s.does(s.world.copy(present(s), OTHER, b"u"))
        s.does(s.world.head(OTHER))
        s.does(s.world.put(KEY, b"v2"))
        s.does(s.world.head(KEY))


def copied_with_nodes_away() -> None:
    """A copy to another key while a node is away, and its source is overwritten."""
    with scene() as s:
        source = present(s)
        s.c.kill()
        copying = s.world.copy(source, OTHER)
        s.ends(s.world.put(KEY, b"v2"))
        s.ends(copying)
        s.c.start()
        s.ends(s.world.get(OTHER))


def killed_while_it_is_tagged() -> None:
    """The gateway is killed anywhere in a change of tags."""
    for changes in (1, 2):
        with scene() as s:
            s.world.ambush(changes, lambda s=s: s.world.gateway and s.world.kill_gateway())  # type: ignore[misc]
            s.ends(s.world.tag(KEY, b"t"))
            s.world.ambushes.clear()
            if s.world.gateway is None:
                s.world.start_gateway()
            s.world.until_ready()
            s.read_in_every_way()


STORIES: tuple[Callable[[], None], ...] = (
    touched_while_a_put_comes,
    touched_while_it_is_deleted,
    tagged_while_a_put_comes,
    tags_are_changed_at_once,
    tags_go_with_copies,
    tagged_in_its_parts,
    tags_go_with_the_bytes,
    copied_with_nodes_away,
    killed_while_it_is_tagged,
)
