"""What operators write about a node, checked once for all providers.

Each function returns the value or raises ValueError with what would be right.
"""

from __future__ import annotations

import math
import re
from urllib.parse import urlsplit

from aosd.model.node import Address

LIGHTEST = 0.1
HEAVIEST = 100.0
_LONGEST_ZONE = 254
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def weight_of(written: str | float) -> float:
    """A node's weight, 0.1 to 100."""
    try:
        weight = float(written)
    except ValueError:
        weight = math.nan
    if not LIGHTEST <= weight <= HEAVIEST:
        raise ValueError(f"must be a number from {LIGHTEST:g} to {HEAVIEST:g}, not {written!r}")
    return weight


def zone_of(written: str) -> str:
    """A zone's name: anything that can be printed, without spaces around it."""
    if not written or written != written.strip() or not written.isprintable():
        raise ValueError(f"must be a word such as rack-1, not {written!r}")
    if len(written) > _LONGEST_ZONE:
        raise ValueError(f"must not be longer than {_LONGEST_ZONE} characters")
    return written


def port_of(written: str) -> int:
    """A TCP port, 1 to 65,535."""
    if not re.fullmatch(r"[0-9]{1,5}", written) or not 1 <= int(written) <= 65_535:
        raise ValueError(f"must be a port from 1 to 65535, not {written!r}")
    return int(written)


def address_of(url: str) -> Address:
    """Where `url` points to: scheme, host and perhaps a port, and nothing more.

    The URL is never repeated in the error when it may hold a password.
    """
    right = "must be like http://host:9000 or https://host"
    if "@" in url:
        raise ValueError(f"{right}, without user and password")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"{right}, not {url!r}") from None
    host = parts.hostname or ""
    beyond = parts.path.strip("/") or parts.query or parts.fragment or "?" in url or "#" in url
    named = ":" in host or _HOST.fullmatch(host) is not None
    if parts.scheme not in _DEFAULT_PORTS or not named or beyond or port == 0:
        raise ValueError(f"{right}, not {url!r}")
    return Address(parts.scheme, host, _DEFAULT_PORTS[parts.scheme] if port is None else port)
