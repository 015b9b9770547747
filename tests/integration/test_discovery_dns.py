"""SRV names, asked of a real name server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import CancelledError
from twisted.internet.protocol import DatagramProtocol
from twisted.names import dns, server
from twisted.names.authority import FileAuthority
from twisted.names.error import DNSNameError

from aosd.discovery.dns import look_up_service

reactor = cast(Any, installed_reactor)


class Zone(FileAuthority):
    """`example`, with one SRV name of `count` targets and one that says "not here"."""

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__("unused")

    def loadFile(self, filename: str) -> None:  # noqa: N802
        """See FileAuthority: what the zone has, without a file."""
        soa = dns.Record_SOA(b"ns.example", b"admin.example", 1, 60, 60, 60, 60, 60)
        targets = [
            dns.Record_SRV(number, 5, 9000 + number, b"n%d.example" % number)
            for number in range(1, self._count + 1)
        ]
        self.soa = (b"example", soa)
        self.records = {
            b"example": [soa],
            b"_s3._tcp.example": targets,
            b"_none._tcp.example": [dns.Record_SRV(0, 0, 0, b"")],
        }


@asynccontextmanager
async def name_server(count: int) -> AsyncIterator[list[tuple[str, int]]]:
    """A name server on loopback, by UDP and TCP at one port."""
    factory = server.DNSServerFactory(authorities=[Zone(count)])
    factory.noisy = False
    tcp = reactor.listenTCP(0, factory, interface="127.0.0.1")
    port = tcp.getHost().port
    udp = reactor.listenUDP(port, dns.DNSDatagramProtocol(factory), interface="127.0.0.1")
    try:
        yield [("127.0.0.1", port)]
    finally:
        await udp.stopListening()
        await tcp.stopListening()


@pytest.mark.parametrize("count", [3, 60])  # sixty don't fit a datagram
@pytest_twisted.ensureDeferred
async def test_hosts_and_ports(count: int) -> None:
    async with name_server(count) as servers:
        found = await look_up_service("_s3._tcp.example", reactor, servers)
    assert sorted(found) == sorted(
        (f"n{number}.example", 9000 + number) for number in range(1, count + 1)
    )


@pytest_twisted.ensureDeferred
async def test_not_available_here() -> None:
    async with name_server(1) as servers:
        assert await look_up_service("_none._tcp.example", reactor, servers) == []


@pytest_twisted.ensureDeferred
async def test_no_such_name() -> None:
    async with name_server(1) as servers:
        with pytest.raises(DNSNameError):
            await look_up_service("_other._tcp.example", reactor, servers)


@pytest_twisted.ensureDeferred
async def test_giving_up_a_name_server_that_is_silent() -> None:
    silent = reactor.listenUDP(0, DatagramProtocol(), interface="127.0.0.1")
    looking = look_up_service("_s3._tcp.example", reactor, [("127.0.0.1", silent.getHost().port)])
    looking.cancel()
    with pytest.raises(CancelledError):
        await looking
    await silent.stopListening()
