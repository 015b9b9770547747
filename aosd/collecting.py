"""When garbage is collected."""

from __future__ import annotations

import gc

_NEW_OBJECTS = 10_000


def collect_seldom() -> None:
    """Let objects of requests that are under way be gone before anybody looks for garbage.

    Each takes some 90, and hardly any leaves a circle behind. By Python's own threshold of 700
    those of a few dozen were found alive, again and again, until all there are were looked at:
    a tenth of what small PUTs cost, and a tenth of a second at once.
    """
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
