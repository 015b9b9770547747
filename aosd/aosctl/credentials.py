"""`aosctl credentials`: the pair that may do everything.

The settings give it, or else it lies on the nodes, where it was put when the cluster was
founded. It is read there with the nodes' own credentials: whoever has none is told nothing,
wherever they connect from.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.python import usage

from aosd.aosctl.nodes import ask_nodes
from aosd.consistency.keys import KEYS_KIND, KEYS_NAME, read_pair
from aosd.consistency.registers import Register, read_register
from aosd.model.errors import NoNodes
from aosd.model.marker import MARKER_KEY, read_marker
from aosd.model.node import Address, Credentials
from aosd.nodes.records import read_records
from aosd.options import Options


class CredentialsOptions(Options):
    """The daemon's own options, since what it is told decides where the pair is; and a form."""

    synopsis = "Usage: aosctl credentials [options]"
    longdesc = (
        "Shows the access key and the secret key that may do everything. It takes the daemon's "
        "options, environment and file, and is to be given those that the daemon has."
    )
    program = "aosctl"
    usage_from = "aosctl credentials --help"
    optFlags = (
        ("json", None, "Write it as JSON."),
        ("env", None, "Write it as commands for a shell to evaluate."),
    )

    def postOptions(self) -> None:
        """See usage.Options."""
        super().postOptions()
        if self["json"] and self["env"]:
            raise usage.UsageError("--json and --env exclude each other")

    async def run(self, reactor: Any, write: Callable[[str], object]) -> None:
        """Show it. Raises AosdError."""
        pair = self.settings.root_pair
        if pair is None:
            pair = newest_pair(await ask_nodes(self.settings, reactor, ask))
        write(shown(pair, "json" if self["json"] else "env" if self["env"] else "lines"))


@dataclass(frozen=True, slots=True)
class Told:
    """What a node says: which cluster it is of ("" for none), and that one's keys."""

    cluster: str
    keys: Register | None


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
    clusters = Counter(each.cluster for each in told if each.cluster)
    if not clusters:
        raise NoNodes("the nodes are of no cluster yet: it is founded when aosd has its nodes")
    (cluster, most), *others = clusters.most_common()
    if others and others[0][1] == most:
        raise NoNodes(f"these nodes are of two clusters, {cluster} and {others[0][0]}")
    registers = [each.keys for each in told if each.cluster == cluster and each.keys is not None]
    for register in sorted(registers, key=lambda each: each.stamp, reverse=True):
        if (pair := read_pair(register.value)) is not None:
            return pair
    raise NoNodes("the cluster has no keys yet: aosd makes them before it is ready")


def shown(pair: Credentials, form: str) -> str:
    """As `lines` for people, as `json`, or as `env`: commands for a shell."""
    access_key, secret_key = pair.access_key, pair.secret_key
    if form == "json":
        return json.dumps({"access_key": access_key, "secret_key": secret_key}) + "\n"
    if form == "env":
        return (
            f"export AWS_ACCESS_KEY_ID={shlex.quote(access_key)}\n"
            f"export AWS_SECRET_ACCESS_KEY={shlex.quote(secret_key)}\n"
        )
    return f"access key: {access_key}\nsecret key: {secret_key}\n"
