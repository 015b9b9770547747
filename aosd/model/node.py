"""What is known of a node: its name, where it is, what a provider saw of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")


def is_node_name(name: str) -> bool:
    """Whether `name` can name a node: 1 to 254 of `[A-Za-z0-9._-]`, ends alphanumeric."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node's S3 API listens."""

    scheme: str  # "http" or "https"
    host: str
    port: int

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair of a node. The secret is kept out of every repr and log."""

    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sighting:
    """One provider's observation of one node.

    A sighting with a `problem` names a node that can't be used as it stands and says why,
    in words for the operator. One without has credentials; its `address` is None while
    the node isn't running (it is a member that is down).

    `weight` is its share of first copies relative to the others (0.1 to 100); `zone` None
    stands for the node's own name. `seen_as` says where it was seen: a container id, a
    file, a host name. Only for people: it identifies nothing.
    """

    name: str
    address: Address | None = None
    credentials: Credentials | None = None
    weight: float = 1.0
    zone: str | None = None
    running: bool = True
    problem: str | None = None
    seen_as: str = ""


class NodeState(StrEnum):
    """What a member can be used for; DESIGN's words."""

    UP = "up"
    SUSPECT = "suspect"  # its breaker is open, but its control connection never broke
    DOWN = "down"  # not running, never reached yet, or silent for long
    RETURNING = "returning"  # up again, and not yet swept
    FULL = "full"  # refuses writes for lack of space; reads and deletes go on

    @property
    def away(self) -> bool:
        """Whether its copies can't be counted on: it is down or returning."""
        return self in (NodeState.DOWN, NodeState.RETURNING)


@dataclass(frozen=True, slots=True)
class Member:
    """A node as the ring sees it: nothing that changes when it is restarted.

    `weight` is relative, over 0; `zone` is never empty.
    """

    name: str
    weight: float
    zone: str
