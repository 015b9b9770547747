"""From the words after `--nodes`, such as `static:PATH`, to providers."""

from __future__ import annotations

from twisted.plugin import getPlugins

from aosd.discovery import DiscoveryContext
from aosd.model.errors import ConfigurationError
from aosd.ports import IDiscovery, IDiscoveryPlugin


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
