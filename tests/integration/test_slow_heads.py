"""A head that takes too long is answered, whatever comes behind it, in either lane."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import LANES, NAMES
from tests.integration.bodies import KIB
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, write_nodes_file
from tests.integration.smuggling_cases import HIDDEN
from tests.integration.wire import Wire


@pytest.fixture(scope="module", params=LANES.values(), ids=list(LANES))
def hasty(
    other_nodes: list[RealNode],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Daemon]:
    """A daemon that waits for a head for a second."""
    folder = tmp_path_factory.mktemp("hasty")
    file = write_nodes_file(folder / "nodes.toml", other_nodes)
    flags = (request.param, "--client-idle-timeout-s=1")
    with running_daemon(folder, file, *flags, up=NAMES) as running:
        yield running


def test_a_slow_head_whose_rest_comes_at_last(hasty: Daemon) -> None:
    assert hasty.ask("PUT", "/object/kept", {}, b"kept").status == 201
    with Wire(hasty.port) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: h\r\nX-A: ")
        answer = wire.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        wire.send(b"\r\n\r\n" + HIDDEN * (700 * KIB // len(HIDDEN)))
        assert wire.ends_well()
    assert hasty.ask("GET", "/object/kept").body == b"kept"
