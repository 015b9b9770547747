"""The two clients to nodes side by side: what a request costs this process, and how many go.

Run as `python -m bench.clients`; it starts a null node (nginx) of its own. Interleaved, medians.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from aosd.cluster.breaker import Breaker
from aosd.model.node import Address, Credentials
from aosd.nodes.express.node import ExpressNode
from aosd.nodes.s3 import S3Node
from aosd.nodes.wiring import Wiring
from aosd.observe.metrics import Metrics
from aosd.streams.bodies import HeldBody
from aosd.testing.bodies import CollectingConsumer
from bench.nginx import start_null_nodes

ROUNDS = 7
REQUESTS = 3000
AT_ONCE = 32
_KEY = "bench/some-key"
_BODY = b"x" * 1024

Work = Callable[[S3Node], Awaitable[object]]


@dataclass
class Row:
    """The samples of one kind of request by one client."""

    cpu_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)


async def get(node: S3Node) -> None:
    reading = await node.get("object", _KEY)
    taken = CollectingConsumer()
    await reading.deliver(taken)
    assert len(taken.data) == len(_BODY)


async def head(node: S3Node) -> None:
    await node.head("object", _KEY)


async def put(node: S3Node) -> None:
    stamp = b"0193594b3a7c-0000-1f2e3d4c"
    await node.put("object", _KEY, HeldBody([_BODY]), ((b"x-amz-meta-aos-stamp", stamp),))


async def _sample(node: S3Node, work: Work, row: Row) -> None:
    async def some() -> None:
        for _ in range(REQUESTS // AT_ONCE):
            await work(node)

    began_s, cpu_s = time.perf_counter(), time.process_time()
    await gatherResults([Deferred.fromCoroutine(some()) for _ in range(AT_ONCE)])
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    done = REQUESTS // AT_ONCE * AT_ONCE
    row.cpu_us.append(cpu_s / done * 1e6)
    row.rate.append(done / took_s)


async def _main(reactor: Any) -> None:
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory()))
        (home / "files").mkdir()
        (home / "files" / "small").write_bytes(_BODY)
        home.chmod(0o755)
        (port,) = start_null_nodes(stack, home / "null", home / "files", [1])
        nodes = {
            each.__name__: each(
                Wiring(
                    "n",
                    Address("http", "127.0.0.1", port),
                    Credentials("access", "secret-key"),
                    reactor=reactor,
                    now=time.time,
                    health=Breaker("n", reactor, None, failures=9, backoff_s=1, backoff_max_s=2),  # type: ignore[arg-type]
                    metrics=Metrics(),
                )
            )
            for each in (S3Node, ExpressNode)
        }
        works: dict[str, Work] = {"GET 1 KiB": get, "HEAD": head, "PUT 1 KiB": put}
        rows = {(what, name): Row() for what in works for name in nodes}
        for _ in range(ROUNDS):
            for (what, name), row in rows.items():
                await _sample(nodes[name], works[what], row)
        for (what, name), row in rows.items():
            print(
                f"{what:10} {name:12} {statistics.median(row.cpu_us):7.0f} µs of CPU "
                f"{statistics.median(row.rate):7.0f} a second"
            )
        for node in nodes.values():
            await node.close()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(_main(reactor)), sys.argv[1:0])
