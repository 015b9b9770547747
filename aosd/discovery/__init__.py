"""Providers: where nodes are found. One provider a module; see `IDiscovery`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.python.threadpool import ThreadPool

from aosd.model.node import Credentials


@dataclass(frozen=True)
class DiscoveryContext:
    """What a provider may need of the daemon; it takes nothing from anywhere else.

    `reactor` is the whole reactor (time, TCP, threads, processes); `threads` a small pool
    for blocking calls, started and stopped by the daemon. `data_dir` is where embedded
    nodes keep their data. `credentials` are for nodes whose provider knows none (dns).
    `interval_s` is the time between two rounds of a provider that has to look. `only_look`:
    the daemon may be running elsewhere, and nothing that it started is to be started again.
    """

    reactor: Any
    threads: ThreadPool
    data_dir: Path
    credentials: Credentials | None = None
    interval_s: float = 10.0
    only_look: bool = False
