"""The plugins that `twisted/plugins/aosd_discovery.py` offers; each imports its provider late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.plugin import IPlugin
from zope.interface import implementer

from aosd.discovery import DiscoveryContext
from aosd.model.errors import ConfigurationError
from aosd.ports import IDiscovery, IDiscoveryPlugin


@implementer(IPlugin, IDiscoveryPlugin)
class DiscoveryPlugin:
    """See IDiscoveryPlugin."""

    def __init__(
        self, scheme: str, usage: str, create: Callable[[str, DiscoveryContext], IDiscovery]
    ) -> None:
        self.scheme = scheme
        self.usage = usage
        self._create = create

    def create(self, argument: str, context: object) -> IDiscovery:
        """See IDiscoveryPlugin."""
        assert isinstance(context, DiscoveryContext)
        return self._create(argument, context)


def _static(argument: str, context: DiscoveryContext) -> IDiscovery:
    from aosd.discovery.static import StaticDiscovery

    if not argument:
        raise ConfigurationError("--nodes static:PATH needs the path of a TOML file")
    provider: IDiscovery = StaticDiscovery(Path(argument), context)
    return provider


def _dns(argument: str, context: DiscoveryContext) -> IDiscovery:
    from aosd.discovery.dns import DnsDiscovery

    provider: IDiscovery = DnsDiscovery(argument, context)
    return provider


def _embedded(argument: str, context: DiscoveryContext) -> IDiscovery:
    from aosd.discovery.embedded import EmbeddedDiscovery

    if argument and not (argument.isascii() and argument.isdigit() and 1 <= int(argument) <= 32):
        raise ConfigurationError(f"--nodes embedded:{argument}: a number from 1 to 32 goes there")
    provider: IDiscovery = EmbeddedDiscovery(int(argument or 3), context)
    return provider


def _docker(argument: str, context: DiscoveryContext) -> IDiscovery:
    from aosd.discovery.docker import DockerDiscovery

    if argument:
        raise ConfigurationError("--nodes docker takes nothing more; DOCKER_HOST says where it is")
    provider: IDiscovery = DockerDiscovery(context)
    return provider


static = DiscoveryPlugin("static", "the path of a TOML file", _static)
dns = DiscoveryPlugin("dns", "host names such as http://minio-{0...3}:9000, or an SRV name", _dns)
embedded = DiscoveryPlugin("embedded", "how many S3 servers to start, 3 by default", _embedded)
docker = DiscoveryPlugin("docker", "nothing; DOCKER_HOST says where the engine is", _docker)
