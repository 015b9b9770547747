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


STORIES: tuple[Callable[[], None], ...] = (copied_to_a_node_that_has_it_open,)
