"""The plugins that `twisted/plugins/aosd_discovery.py` offers; each imports its provider late."""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from aosd.discovery import DiscoveryContext
from aosd.model.errors import ConfigurationError
from aosd.ports import IDiscovery, IDiscoveryPlugin


@implementer(IDiscoveryPlugin)
class DiscoveryPlugin:
    """See IDiscoveryPlugin. Whoever adds a provider of their own may use it too."""

    def __init__(
        self, scheme: str, usage: str, create: Callable[[str, DiscoveryContext], IDiscovery]
    ) -> None:
        self.scheme = scheme
        self.usage = usage
        self._create = create

    def create(self, argument: str, context: object) -> IDiscovery:
        """See IDiscoveryPlugin."""
        if not isinstance(context, DiscoveryContext):
            raise TypeError(f"no DiscoveryContext: {context!r}")
        return self._create(argument, context)


def _static(argument: str, context: DiscoveryContext) -> IDiscovery:
    from aosd.discovery.static import StaticDiscovery

    if not argument:
        raise ConfigurationError("a file is missing, as in static:/etc/aosd/nodes.toml")
    provider: IDiscovery = StaticDiscovery(argument, context)
    return provider


def _dns(argument: str, context: DiscoveryContext) -> IDiscovery:
    from aosd.discovery.dns import DnsDiscovery, look_up_service

    provider: IDiscovery = DnsDiscovery(
        argument, context, lambda name: look_up_service(name, context.reactor)
    )
    return provider


def _embedded(argument: str, context: DiscoveryContext) -> IDiscovery:
    from aosd.discovery.embedded import MOST_NODES, EmbeddedDiscovery, EmbeddedFolder

    number = argument or "3"
    if not (number.isascii() and number.isdigit() and 1 <= int(number[:9]) <= MOST_NODES):
        raise ConfigurationError(f"a number from 1 to {MOST_NODES} must follow, as in embedded:3")
    kind = EmbeddedFolder if context.only_look else EmbeddedDiscovery
    provider: IDiscovery = kind(int(number), context)
    return provider


def _docker(argument: str, context: DiscoveryContext) -> IDiscovery:
    from aosd.discovery.docker import DockerDiscovery, Engine, EngineEvents, connect

    if argument:
        raise ConfigurationError("nothing may follow it; DOCKER_HOST says where the engine is")
    provider: IDiscovery = DockerDiscovery(context, Engine(connect), EngineEvents(connect))
    return provider


docker = DiscoveryPlugin("docker", "docker, whose engine DOCKER_HOST may name", _docker)
static = DiscoveryPlugin("static", "static:PATH of a TOML file", _static)
dns = DiscoveryPlugin("dns", "dns:NAMES such as http://minio-{0...3}.example:9000", _dns)
embedded = DiscoveryPlugin("embedded", "embedded:N to start N servers, 3 unless told", _embedded)
