"""A daemon whose nodes can be told to misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import NAMES
from tests.fault.bad_node import BadNode, Fault, in_front_of
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, write_nodes_file
from tests.integration.waiting import until

UP = dict.fromkeys(NAMES, "up")

# Short, so that what runs into them is over soon; all in seconds.
DEADLINES = (
    "--first-byte-timeout-s=1",
    "--node-idle-timeout-s=1",
    "--complete-timeout-s=2",
    "--probe-interval-s=0.2",
    "--breaker-backoff-s=0.2",
    "--breaker-backoff-max-s=0.5",
)

# What Twisted's client logs about an answer that is no HTTP and comes in the middle of a body.
TWISTEDS_OWN = (
    "_newclient.ParseError",
    "'NoneType' object has no attribute 'errback'",
    "'NoneType' object has no attribute 'chainDeferred'",
)


@dataclass(frozen=True)
class Fragile:
    """A daemon, and its nodes behind proxies; all by the nodes' names."""

    daemon: Daemon
    proxies: dict[str, BadNode]
    nodes: dict[str, RealNode]

    def misbehave(self, key: str, fault: Fault, verb: str = "") -> None:
        """Let the fault hit requests for `key` alone; probes and other keys go on."""
        self.proxy_of(key).misbehave(Fault(fault.does, meant(verb, key), fault.answer, fault.count))

    def proxy_of(self, key: str) -> BadNode:
        return self.proxies[self.daemon.primary(key)]

    def node_of(self, key: str) -> RealNode:
        return self.nodes[self.daemon.primary(key)]

    def behave(self) -> None:
        """All as it was: nodes answer, and the daemon knows it."""
        for proxy in self.proxies.values():
            proxy.behave()
            if proxy.refuses:
                proxy.listen()
        # A node that said it is full is thought so for a while; it serves all the same.
        until(lambda: set(self.daemon.states().values()) <= {"up", "full"}, "all nodes serve")


def meant(verb: str, key: str) -> Callable[[str], bool]:
    return lambda line: line.startswith(verb) and f"/object/{key}" in line


@pytest.fixture(scope="session")
def shared_fragile(
    nodes: list[RealNode], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fragile]:
    folder = tmp_path_factory.mktemp("fragile")
    with in_front_of([node.port for node in nodes]) as proxies:
        file = write_nodes_file(folder / "nodes.toml", nodes, [each.port for each in proxies])
        with running_daemon(
            folder / "daemon", file, *DEADLINES, up=NAMES, expected=TWISTEDS_OWN
        ) as daemon:
            by_name = dict(zip(NAMES, proxies, strict=True))
            yield Fragile(daemon, by_name, {node.name: node for node in nodes})


@pytest.fixture
def fragile(shared_fragile: Fragile) -> Iterator[Fragile]:
    """Everything works when a test begins, and again when it has ended."""
    shared_fragile.behave()
    yield shared_fragile
    shared_fragile.behave()
