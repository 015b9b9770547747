"""A daemon whose nodes can be told to misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.conftest import NAMES
from tests.fault.bad_node import BadNode, Fault, in_front_of
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, running_nodes, write_nodes_file
from tests.integration.waiting import until

# Short, so that what runs into them is over soon; all in seconds.
DEADLINES = (
    "--first-byte-timeout-s=1",
    "--node-idle-timeout-s=1",
    "--complete-timeout-s=2",
    "--probe-interval-s=0.2",
    "--breaker-backoff-s=0.2",
    "--breaker-backoff-max-s=0.5",
    "--late-write-window-s=1",
)

# What Twisted's client logs about an answer that is no HTTP and comes in the middle of a body.
TWISTEDS_OWN = (
    "_newclient.ParseError",
    "'NoneType' object has no attribute 'errback'",
    "'NoneType' object has no attribute 'chainDeferred'",
)


@dataclass(frozen=True)
class Fragile:
    """A daemon that keeps one copy of each key, and its nodes behind proxies, by name."""

    daemon: Daemon
    proxies: dict[str, BadNode]
    nodes: dict[str, RealNode]

    def store(self, key: str, data: bytes) -> None:
        """What a test begins with: on a busy machine a node may take longer than it is given."""

        def is_stored() -> bool:
            answer = self.daemon.ask("PUT", f"/object/{key}", {}, data, 60.0)
            assert answer.status in (201, 504), answer
            return answer.status == 201

        until(is_stored, "it is stored")

    def misbehave(self, key: str, fault: Fault, verb: str = "") -> None:
        """Let the fault hit requests for `key` alone, whoever stands in for its node."""
        self.misbehave_for(meant(verb, key), fault)

    def misbehave_for(self, meant_for: Callable[[str], bool], fault: Fault) -> None:
        """Let the fault hit such requests on every node; probes and others go on."""
        for proxy in self.proxies.values():
            proxy.misbehave(replace(fault, meant_for=meant_for))

    def proxy_of(self, key: str) -> BadNode:
        return self.proxies[self.daemon.primary(key)]

    def serving(self, key: str) -> int:
        """Requests for `key` that aren't answered to the end, by whichever node.

        A write may end on a handoff, when the machine is so busy that the primary is suspect.
        """
        return sum(proxy.serving(key) for proxy in self.proxies.values())

    def node_of(self, key: str) -> RealNode:
        return self.nodes[self.daemon.primary(key)]

    def behave(self) -> None:
        """All as it was: nodes answer, and the daemon knows it."""
        for proxy in self.proxies.values():
            proxy.behave()
            if proxy.refuses:
                proxy.listen()
        # For half a minute when a node has said that it is full.
        until(lambda: set(self.daemon.states().values()) == {"up"}, "all nodes are up", 60)


def meant(verb: str, key: str) -> Callable[[str], bool]:
    return lambda line: line.startswith(verb) and f"/object/{key}" in line


@contextmanager
def running_fragile(folder: Path, *flags: str) -> Iterator[Fragile]:
    """Three nodes of its own, behind proxies, and a daemon."""
    with (
        running_nodes(folder, NAMES) as nodes,
        in_front_of([node.port for node in nodes]) as proxies,
    ):
        file = write_nodes_file(folder / "nodes.toml", nodes, [each.port for each in proxies])
        with running_daemon(
            folder / "daemon", file, *DEADLINES, *flags, up=NAMES, expected=TWISTEDS_OWN
        ) as daemon:
            by_name = dict(zip(NAMES, proxies, strict=True))
            yield Fragile(daemon, by_name, {node.name: node for node in nodes})


@pytest.fixture(scope="session")
def shared_fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fragile]:
    with running_fragile(tmp_path_factory.mktemp("fragile"), "--replicas=1") as running:
        yield running


@pytest.fixture
def fragile(shared_fragile: Fragile) -> Iterator[Fragile]:
    """Everything works when a test begins, and again when it has ended."""
    shared_fragile.behave()
    yield shared_fragile
    shared_fragile.behave()
