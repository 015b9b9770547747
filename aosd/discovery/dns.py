"""Nodes by host name: MinIO's notation with ellipses, or an SRV name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

from twisted.internet.defer import Deferred
from twisted.names import client
from twisted.names.dns import SRV, Record_SRV
from twisted.names.error import DNSNameError, DomainError
from zope.interface import implementer

from aosd.discovery import DiscoveryContext
from aosd.discovery.rounds import Rounds
from aosd.discovery.static import parse_url
from aosd.model.errors import AosdError, ConfigurationError
from aosd.model.node import Address, Sighting
from aosd.ports import IDiscovery, Report, Trouble

_ELLIPSIS = re.compile(r"\{(\d+)\.\.\.(\d+)\}")
_SRV = re.compile(r"(?:srv\+(https?)://)?(_[^/:]+)", re.IGNORECASE)
_MOST_NODES = 1024
_LOOKUP_TIMEOUTS_S = (1, 2, 4)


class LookupFailed(AosdError):
    """The name server gave no answer, or the name doesn't exist."""


def expand(pattern: str) -> list[str]:
    """All that `a{1...3}b` stands for, several ellipses multiplied, in order.

    Numbers keep the width of the first one where it begins with a zero: `{01...12}`.
    """
    parts = _ELLIPSIS.split(pattern)
    if "{" in "".join(parts[::3]) or "}" in "".join(parts[::3]):
        raise ConfigurationError(f"{pattern!r}: an ellipsis is written {{1...4}}, with three dots")
    choices: list[list[str]] = []
    for first, last in zip(parts[1::3], parts[2::3], strict=True):
        width = len(first) if first.startswith("0") else 0
        numbers = range(int(first), int(last) + 1)
        if not 0 < len(numbers) <= _MOST_NODES:
            raise ConfigurationError(f"{pattern!r}: {{{first}...{last}}} must count upwards")
        choices.append([f"{number:0{width}d}" for number in numbers])
    literals = parts[::3]
    names = []
    for chosen in product(*choices):
        text = literals[0]
        for number, literal in zip(chosen, literals[1:], strict=True):
            text += number + literal
        names.append(text)
        if len(names) > _MOST_NODES:
            raise ConfigurationError(f"{pattern!r} stands for over {_MOST_NODES} nodes")
    return names


def parse_names(argument: str) -> tuple[list[Address], list[tuple[str, str]]]:
    """The hosts and the SRV names (with their scheme) of `dns:`'s argument.

    Names are separated by commas or white space. Raises ConfigurationError.
    """
    addresses: list[Address] = []
    services: list[tuple[str, str]] = []
    for pattern in re.split(r"[\s,]+", argument.strip()):
        if match := _SRV.fullmatch(pattern):
            services.append((match[1] or "http", match[2]))
            continue
        for url in expand(pattern):
            try:
                addresses.append(parse_url(url))
            except ValueError as error:
                raise ConfigurationError(f"--nodes dns:{pattern}: {url!r} {error}") from error
    return addresses, services


@implementer(IDiscovery)
class DnsDiscovery:
    """See IDiscovery. The host name is the node's name.

    A host's address is looked up by each new connection to it, so a node may move; an SRV
    name is looked up each round, and who it names is a node. Two nodes on one host are
    told apart by their ports.
    """

    def __init__(
        self, argument: str, context: DiscoveryContext, resolver: client.Resolver | None = None
    ) -> None:
        self.name = f"dns:{argument}"
        self._addresses, self._services = parse_names(argument)
        self._context = context
        self._resolver = resolver
        interval_s = context.interval_s
        self._rounds = Rounds(self._look, context.reactor, interval_s)

    def start(self, report: Report, trouble: Trouble) -> Deferred[None]:
        """See IDiscovery."""
        if self._resolver is None:
            self._resolver = client.Resolver("/etc/resolv.conf", reactor=self._context.reactor)
        return self._rounds.start(report, trouble)

    def stop(self) -> Deferred[None]:
        """See IDiscovery."""
        return self._rounds.stop()

    async def _look(self) -> Sequence[Sighting]:
        found = list(self._addresses)
        for scheme, name in self._services:
            found += await self._service(scheme, name)
        hosts = [address.host for address in found]
        return [
            self._sighting(
                f"{address.host}-{address.port}" if hosts.count(address.host) > 1 else address.host,
                address,
            )
            for address in found
        ]

    def _sighting(self, name: str, address: Address) -> Sighting:
        credentials = self._context.credentials
        problem = None
        if credentials is None:
            problem = "no credentials: set AOSD_NODE_ACCESS_KEY and AOSD_NODE_SECRET_KEY"
        return Sighting(name, address, credentials, problem=problem, seen_as=address.url)

    async def _service(self, scheme: str, name: str) -> list[Address]:
        assert self._resolver is not None
        try:
            answers, _, _ = await self._resolver.lookupService(name, _LOOKUP_TIMEOUTS_S)
        except (DNSNameError, DomainError, TimeoutError) as error:
            raise LookupFailed(f"SRV {name}: {type(error).__name__}") from error
        records = [
            answer.payload
            for answer in answers
            if answer.type == SRV and isinstance(answer.payload, Record_SRV)
        ]
        if not records:
            raise LookupFailed(f"SRV {name}: it names no host")
        return sorted(
            (Address(scheme, _host(record), record.port) for record in records),
            key=lambda address: (address.host, address.port),
        )


def _host(record: Record_SRV) -> str:
    host: str = record.target.name.decode("ascii").rstrip(".")
    return host
