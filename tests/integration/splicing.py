"""What the kernel has moved for a daemon between its clients and its nodes."""

from __future__ import annotations

from tests.conftest import NAMES
from tests.integration.bodies import MIB
from tests.integration.daemon import Daemon

LONG = 32 * MIB
"""A body of which almost all is spliced."""


def spliced_bytes(daemon: Daemon) -> float:
    """How many bytes the kernel has moved for it."""
    return sum(daemon.metric("aosd_spliced_bytes_total", node=name) for name in NAMES)
