"""Where the daemon is, and the operator's token: said, or found on the daemon's own host.

What the daemon was told decides where its operations door is; so the same settings are read,
from the same flags, variables and file. The token is there too, or else it lies on the nodes.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aosd.aosctl.call import Call, TokenUnknown
from aosd.aosctl.connection import Connection
from aosd.model.errors import AosdError, ConfigurationError

if TYPE_CHECKING:
    from aosd.settings import Settings

URL_VARIABLE = "AOSD_URL"
TOKEN_VARIABLE = "AOSD_OPERATOR_TOKEN"  # noqa: S105 — the name of a variable

_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 — to reach it
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1")
_ESCAPED = re.compile(r"\\(.)")
_TOKEN = re.compile(r"[!-~]+")
_COLON = re.compile(r"(?<!\\):")


def find_daemon(call: Call) -> Connection:
    """A connection, nothing asked yet. Raises ConfigurationError."""
    said = _url_said(call)
    url = said or url_listened(settings_of(call))
    return Connection(url, lambda: find_token(call, url, at_hand=not said or is_loopback(url)))


def unknown_nodes(call: Call, settings: Settings) -> str:
    """Why the nodes that `settings` find may not be the daemon's; "" when they are.

    Raises ConfigurationError.
    """
    said = _url_said(call)
    if not said or is_loopback(said) or _names_nodes(settings):
        return ""
    return f"which nodes {said} has isn't known here: --nodes or AOSD_NODES says it"


def settings_of(call: Call) -> Settings:
    """The daemon's settings, as far as they are known here. Raises ConfigurationError."""
    from aosd.settings_sources import load_settings

    return load_settings(call.flags, os.environ).settings


def find_token(call: Call, url: str, *, at_hand: bool) -> str:
    """The operator's token. Raises TokenUnknown, and ConfigurationError for what can be none.

    `at_hand`: the daemon is on this host, so its nodes are those that the settings find even
    where these say nothing of nodes.
    """
    if token := call.token or os.environ.get(TOKEN_VARIABLE, ""):
        if _TOKEN.fullmatch(token) is None:
            raise ConfigurationError(
                f"the operator's token is ASCII without white space: --token or {TOKEN_VARIABLE} "
                "gives something else"
            )
        return token
    settings = settings_of(call)
    if settings.operator_token is not None:
        return settings.operator_token.get_secret_value()
    gives = f"--token or {TOKEN_VARIABLE} gives it"
    if not at_hand and not _names_nodes(settings):
        # The nodes of this host may be another cluster's, whose token is nobody's business there.
        raise TokenUnknown(f"the operator's token of {url} isn't known here: {gives}")
    from aosd.aosctl.keys import ask_keys, newest_token

    try:
        return newest_token(ask_keys(settings))
    except ConfigurationError:
        raise
    except AosdError as error:
        raise TokenUnknown(f"the operator's token isn't known ({error}): {gives}") from error


def _url_said(call: Call) -> str:
    said = call.url or os.environ.get(URL_VARIABLE, "")
    return url_said(said) if said else ""


def _names_nodes(settings: Settings) -> bool:
    return "nodes" in settings.model_fields_set


def url_said(words: str) -> str:
    """As an operator writes it, `host:3000` or `https://host/`. Raises ConfigurationError."""
    url = words if "://" in words else f"http://{words}"
    url = url.rstrip("/").removesuffix("/-")
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment or parts.username is not None:
        raise ConfigurationError(
            f"{words!r} is no URL of a daemon, such as http://127.0.0.1:3000: --url or "
            f"{URL_VARIABLE} has to be one"
        )
    return url


def url_listened(settings: Settings) -> str:
    """Where a daemon with these settings has its operations door, as seen from its host.

    Raises ConfigurationError when that is nothing that HTTP reaches.
    """
    endpoints = [settings.operations] if settings.operations else list(settings.http)
    for each in endpoints:
        if url := _reached(each):
            return url
    raise ConfigurationError(
        f"the daemon listens at {' '.join(endpoints)}, which can't be asked: --url or "
        f"{URL_VARIABLE} has to say where it is"
    )


def is_loopback(url: str) -> bool:
    """Whether the URL leads to this host, for sure."""
    return _LOOPBACK.fullmatch(urlsplit(url).hostname or "") is not None


def _reached(endpoint: str) -> str:
    """The URL that reaches what listens at a Twisted endpoint's description; "" for none."""
    kind, *words = [_ESCAPED.sub(r"\1", each) for each in _COLON.split(endpoint)]
    named = dict(each.split("=", 1) for each in words if "=" in each)
    ports = [each for each in words if "=" not in each]
    port = named.get("port") or (ports[0] if ports else "")
    if kind not in ("tcp", "tcp6", "ssl") or not port.isdigit():
        return ""
    host = named.get("interface", "")
    host = _EVERYWHERE.get(host, host) if kind != "tcp6" or host else "::1"
    scheme = "https" if kind == "ssl" else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
