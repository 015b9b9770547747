"""Stories of clients' multipart uploads, and of those that end while nodes are away.

They begin as the traces do: v1 on A and B, C the handoff, two copies. An upload begins on all
three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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


STORIES: tuple[Callable[[], None], ...] = (
    copied_to_a_node_that_has_it_open,
    disk_of_before_remembers_it,
)
