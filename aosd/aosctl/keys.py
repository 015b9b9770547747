"""The cluster's keys, as its nodes have them: for whoever holds the nodes' credentials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aosd.aosctl.asking import ask_nodes, run
from aosd.consistency.keys import KEYS_KIND, KEYS_NAME, read_pair
from aosd.consistency.registers import Register, read_register
from aosd.model.errors import NoNodes
from aosd.model.marker import MARKER_KEY, read_marker
from aosd.model.node import Address, Credentials
from aosd.nodes.records import read_records
from aosd.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Told:
    """What a node says: which cluster it is of ("" for none), and that one's keys."""

    cluster: str
    keys: Register | None


def ask_keys(settings: Settings) -> list[Told]:
    """What the nodes say that can be found and asked. Raises NoNodes, ConfigurationError."""
    answers = run(lambda reactor: ask_nodes(settings, reactor, ask))
    return list(answers.values())


def ask(name: str, address: Address, credentials: Credentials) -> Told:
    """Blocking. Raises NodeError."""
    marker, record = read_records(
        name, address, credentials, MARKER_KEY, f"{KEYS_KIND}/{KEYS_NAME}"
    )
    keys = None
    if record is not None:
        try:
            keys = read_register(KEYS_KIND, KEYS_NAME, record)
        except ValueError:
            keys = None  # the daemon passes it by as well
    return Told("" if marker is None else read_marker(name, marker).cluster, keys)


def newest_pair(told: Sequence[Told]) -> Credentials:
    """The pair that was set last, of the cluster that most of the nodes are of.

    Raises NoNodes when there is none, or as many nodes are of another cluster.
    """
    return _newest(told, read_pair)


def newest_token(told: Sequence[Told]) -> str:
    """The operator's token, likewise."""
    return _newest(told, read_token)


def read_token(value: Mapping[str, Any]) -> str | None:
    """The operator's token in a value of the register; None when it holds none."""
    token = value.get("token")
    return token if isinstance(token, str) and token else None


def _newest(told: Sequence[Told], read: Callable[[Mapping[str, Any]], T | None]) -> T:
    clusters = Counter(each.cluster for each in told if each.cluster)
    if not clusters:
        raise NoNodes("the nodes are of no cluster yet: it is founded when aosd has its nodes")
    (cluster, most), *others = clusters.most_common()
    if others and others[0][1] == most:
        raise NoNodes(f"these nodes are of two clusters, {cluster} and {others[0][0]}")
    registers = [each.keys for each in told if each.cluster == cluster and each.keys is not None]
    for register in sorted(registers, key=lambda each: each.stamp, reverse=True):
        if (found := read(register.value)) is not None:
            return found
    raise NoNodes("the cluster has no keys yet: aosd makes them before it is ready")
