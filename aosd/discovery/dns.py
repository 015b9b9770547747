"""Nodes by DNS: host names in MinIO's notation, and SRV names.

`dns:NAMES` takes one or more of these, separated by commas or spaces:

- `http://minio-{0...3}.minio:9000`: each number (or hexadecimal number) of the range, both
  ends included; several ranges in one name multiply; `{01...16}` keeps the zeros.
- `_s3._tcp.example` or `srv+http://_s3._tcp.example`, and `srv+https://…` for nodes that
  speak TLS: an SRV name, written in full, is looked up every round. Priority and weight of
  its records aren't the ring's and aren't used.

A node's name is its host name. Addresses aren't looked up here: the client does that on
each new connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ConnectError
from twisted.names import client, dns
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DomainError
from twisted.python.failure import Failure
from zope.interface import implementer

from aosd.discovery import DiscoveryContext
from aosd.discovery.fields import address_of
from aosd.discovery.rounds import Rounds, Seen
from aosd.model.errors import ConfigurationError
from aosd.model.node import Address, Credentials, Sighting, is_node_name
from aosd.ports import IDiscovery, Report, Trouble

_RANGE = re.compile(r"\{([0-9a-fA-F]+)\.\.\.([0-9a-fA-F]+)\}")
_SERVICE = re.compile(r"(?:srv\+(https?)://)?(_[A-Za-z0-9-]+\._tcp(?:\.[A-Za-z0-9_-]+)+)\.?/?")
_MOST_NODES = 1_000
_QUERY_TIMEOUTS_S = (1, 2, 4)
_RESOLV_CONF = Path("/etc/resolv.conf")

LookUp = Callable[[str], Deferred[Sequence[tuple[str, int]]]]
"""Fires with hosts and ports of an SRV name; what fails is twisted.names' error."""


@implementer(IDiscovery)
class DnsDiscovery:
    """Reports the hosts of its patterns, and those that its SRV names point to.

    An SRV name that can't be looked up is trouble, and stands for what it last pointed to.
    """

    def __init__(self, names: str, context: DiscoveryContext, look_up: LookUp) -> None:
        self.name = f"dns:{names}"
        self._credentials = context.credentials
        self._look_up = look_up
        self._hosts, self._services = _split(names)
        self._last: dict[str, list[Address]] = {}
        self._pending: list[Deferred[Sequence[tuple[str, int]]]] = []
        self._rounds = Rounds(context.reactor, context.interval_s, self._look)

    def start(self, report: Report, trouble: Trouble) -> Deferred[None]:
        """See IDiscovery."""
        return self._rounds.start(report, trouble)

    def stop(self) -> Deferred[None]:
        """See IDiscovery."""
        stopping = Deferred.fromCoroutine(self._rounds.stop())
        for pending in self._pending:
            pending.cancel()
        return stopping

    async def _look(self) -> Seen:
        self._pending = [self._look_up(service) for service in self._services]
        answers: list[tuple[bool, Any]] = await DeferredList(self._pending, consumeErrors=True)
        self._pending = []
        troubles = []
        for (service, scheme), (_, answer) in zip(self._services.items(), answers, strict=True):
            if isinstance(answer, Failure):
                troubles.append(f"{service}: {_reason(answer)}")
            elif not answer:
                troubles.append(f"{service}: no records")
            else:
                self._last[service] = [
                    Address(scheme, host.rstrip(".").lower(), port) for host, port in answer
                ]
        addresses = [*self._hosts]
        for service in self._services:
            addresses.extend(self._last.get(service, ()))
        # Two SRV names may point to one server; that is one sighting.
        return Seen(
            [_sighting(address, self._credentials) for address in dict.fromkeys(addresses)],
            "; ".join(troubles),
        )


def _sighting(address: Address, credentials: Credentials | None) -> Sighting:
    sighting = Sighting(
        address.host, address, credentials, seen_as=f"{address.host}:{address.port}"
    )
    problem = None
    if credentials is None:
        problem = "no credentials: set AOSD_NODE_ACCESS_KEY and AOSD_NODE_SECRET_KEY"
    elif _is_ip(address.host) or not is_node_name(address.host):
        problem = "its host name can't name a node"
    return sighting if problem is None else replace(sighting, address=None, problem=problem)


# -- names ----------------------------------------------------------------------------------


def _split(names: str) -> tuple[list[Address], dict[str, str]]:
    """The hosts of the patterns, and the SRV names with their nodes' scheme."""
    hosts: dict[str, Address] = {}
    services: dict[str, str] = {}
    for name in re.split(r"[,\s]+", names.strip(", \t\r\n")):
        service = _SERVICE.fullmatch(name)
        if service is not None:
            services[service[2].lower()] = service[1] or "http"
            continue
        for address in _addresses(name):
            if address.host in hosts:
                raise ConfigurationError(
                    f"two nodes would be called {address.host!r}: the host name is the name"
                )
            hosts[address.host] = address
            if len(hosts) > _MOST_NODES:
                raise ConfigurationError(f"more than {_MOST_NODES} nodes")
    return list(hosts.values()), services


def _addresses(name: str) -> Iterator[Address]:
    for url in islice(expand(name), _MOST_NODES + 1):
        try:
            address = address_of(url)
        except ValueError as error:
            if name.startswith(("_", "srv+")):
                raise ConfigurationError(
                    f"{name!r}: must be like srv+http://_s3._tcp.example"
                ) from error
            raise ConfigurationError(f"a name {error}") from error
        if _is_ip(address.host) or not is_node_name(address.host):
            raise ConfigurationError(
                f"{address.host!r} can't name a node, as host names can; static:PATH takes it"
            )
        yield address


def expand(pattern: str) -> Iterator[str]:
    """The names that a pattern in MinIO's notation stands for, in order.

    Raises ConfigurationError for braces that aren't a range. Source: MinIO's
    `internal/…/ellipses`, as documented under «Expansion notation» of its server reference.
    """
    pieces = _RANGE.split(pattern)
    literals = pieces[::3]
    if any("{" in each or "}" in each or "..." in each for each in literals):
        raise ConfigurationError(f"{pattern!r}: a range must be like {{0...3}}")
    ranges = [
        _range(first, last, pattern) for first, last in zip(pieces[1::3], pieces[2::3], strict=True)
    ]
    for chosen in product(*ranges):
        yield literals[0] + "".join(
            value + literal for value, literal in zip(chosen, literals[1:], strict=True)
        )


def _range(first: str, last: str, pattern: str) -> list[str]:
    decimal = first.isdecimal() and last.isdecimal()
    begin, end = (int(each, 10 if decimal else 16) for each in (first, last))
    if begin > end:
        raise ConfigurationError(f"{pattern!r}: {{{first}...{last}}} ends before it begins")
    if end - begin >= _MOST_NODES:
        raise ConfigurationError(f"{pattern!r}: more than {_MOST_NODES} nodes")
    padded = any(len(each) > 1 and each[0] == "0" for each in (first, last))
    width = len(last) if padded else 0
    return [
        f"{each:0{width}d}" if decimal else f"{each:0{width}x}" for each in range(begin, end + 1)
    ]


def _is_ip(host: str) -> bool:
    return bool(isIPAddress(host) or isIPv6Address(host))


# -- looking up -----------------------------------------------------------------------------


def look_up_service(
    name: str, reactor: Any, servers: Sequence[tuple[str, int]] | None = None
) -> Deferred[Sequence[tuple[str, int]]]:
    """Ask for an SRV name (RFC 2782): hosts and ports, none for "not available here".

    `servers` are the name servers' addresses and ports; None: those of this machine, read
    anew each time. Takes 7 s at most; cancelling gives up.
    """
    if servers is None:
        servers = _name_servers()
    # With `servers` rather than `resolv` it leaves no timer behind that nothing could stop.
    resolver = client.Resolver(servers=list(servers), reactor=reactor)
    looking: Deferred[Any] = resolver.lookupService(name, _QUERY_TIMEOUTS_S)

    def records(answer: tuple[list[Any], list[Any], list[Any]]) -> Sequence[tuple[str, int]]:
        found = [each.payload for each in answer[0] if each.type == dns.SRV]
        return sorted(
            (each.target.name.decode("ascii", "replace"), each.port)
            for each in found
            if each.target.name not in (b"", b".")
        )

    return looking.addCallback(records)


def _name_servers() -> list[tuple[str, int]]:
    try:
        lines = _RESOLV_CONF.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    return [(each[1], dns.PORT) for each in words if len(each) > 1 and each[0] == "nameserver"] or [
        ("127.0.0.1", dns.PORT)
    ]


def _reason(failure: Failure) -> str:
    if failure.check(DNSNameError):
        return "no such name"
    if failure.check(DNSQueryTimeoutError, TimeoutError):
        return "no answer from the name servers"
    if failure.check(DomainError, ConnectError, OSError):
        return f"the name servers answered {type(failure.value).__name__}"
    return failure.getErrorMessage()
