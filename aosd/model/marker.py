"""A node's marker, `node.json`, and what a first contact finds out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aosd.model.errors import NodeNonsense

MARKER_KEY = "node.json"


@dataclass(frozen=True, slots=True)
class Marker:
    """What `node.json` tells.

    The cluster that a node belongs to, its name in it, and a random id that a wiped disk
    doesn't have any more. `left`: all that is aosd's own is being removed from the node, and
    what is there of it yet says nothing.
    """

    cluster: str
    node: str
    incarnation: str
    left: bool = False

    def to_bytes(self) -> bytes:
        """As it lies on the node."""
        told: dict[str, Any] = {
            "cluster": self.cluster,
            "node": self.node,
            "incarnation": self.incarnation,
        }
        if self.left:
            told["left"] = True
        return json.dumps(told).encode()


@dataclass(frozen=True, slots=True)
class Introduction:
    """What the first contact with a node found.

    `marker`: its node.json's bytes. `objects`: whether it holds any in a bucket that isn't
    aosd's own memory. `problem`: why it can't hold copies, "" when it can. The rest says
    how it keeps to S3.
    """

    marker: bytes | None
    objects: bool = False
    problem: str = ""
    checks_sha256: bool = True
    conditional_put: bool = True
    sorted_listing: bool = True
    hides_beneath: bool = False


def read_marker(name: str, data: bytes) -> Marker:
    """What a node's marker says; NodeNonsense when it can't be read."""
    try:
        told = json.loads(data)
        cluster, left = str(told.get("cluster", "")), bool(told.get("left"))
        return Marker(cluster, str(told["node"]), str(told["incarnation"]), left)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NodeNonsense(name, f"its {MARKER_KEY} can't be read") from error
