"""Stories of buckets: made, deleted and made again, while nodes and gateways come and go.

They begin as the traces do; the bucket `box` is made in each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.simulation.scenes import Scene, scene

BOX = "box"
IN_BOX = "box:k"


@contextmanager
def scene_with_box(**how: Any) -> Iterator[Scene]:
    """A scene in which the bucket is there, with nothing in it."""
    with scene(**how) as s:
        s.does(s.world.make_bucket(BOX))
        yield s


def deleted_while_parts_come() -> None:
    """A PUT of unknown length is on its way when its bucket is deleted: it is told so."""
    with scene_with_box() as s:
        slow = s.world.put(IN_BOX, b"0123456789" * 5, told=False, gap_s=1.0)
        s.world.pass_time(1.5)
        s.does(s.world.remove_bucket(BOX))
        s.fails(slow)
        assert "NoSuchBucket" in slow.outcome, slow.outcome


STORIES: tuple[Callable[[], None], ...] = (deleted_while_parts_come,)
