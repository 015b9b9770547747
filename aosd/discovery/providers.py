"""From the words after `--nodes`, such as `static:PATH`, to providers."""

from __future__ import annotations

from typing import Any

from twisted.plugin import getPlugins
from twisted.python.threadpool import ThreadPool

from aosd.discovery import DiscoveryContext
from aosd.model.errors import ConfigurationError
from aosd.model.node import Credentials
from aosd.ports import IDiscovery, IDiscoveryPlugin
from aosd.settings import Settings


def context_of(
    settings: Settings, reactor: Any, threads: ThreadPool, *, only_look: bool = False
) -> DiscoveryContext:
    """What the settings say to providers."""
    credentials = None
    if settings.node_access_key and settings.node_secret_key:
        credentials = Credentials(
            settings.node_access_key, settings.node_secret_key.get_secret_value()
        )
    return DiscoveryContext(
        reactor, threads, settings.data, credentials, settings.discovery_interval_s, only_look
    )


def make_provider(words: str, context: DiscoveryContext) -> IDiscovery:
    """The provider that `words` ask for, not started.

    Raises ConfigurationError, in one line, when there is none of that name, or it can't use
    the rest.
    """
    scheme, _, argument = words.partition(":")
    plugins = {plugin.scheme: plugin for plugin in getPlugins(IDiscoveryPlugin)}
    plugin = plugins.get(scheme)
    if plugin is None:
        known = "; ".join(plugins[each].usage for each in sorted(plugins))
        raise ConfigurationError(f"nodes: {words!r}: no such provider; there are {known}")
    try:
        provider: IDiscovery = plugin.create(argument, context)
    except ConfigurationError as error:
        raise ConfigurationError(f"nodes: {words!r}: {error}") from error
    return provider
