"""From what a Docker engine says of a container to a sighting. Pure.

Dictionaries are as `GET /containers/json` and `GET /containers/{id}/json` of the engine's
API give them. Source: https://docs.docker.com/reference/api/engine/version/v1.41/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aosd.discovery.fields import port_of, weight_of, zone_of
from aosd.model.node import Address, Credentials, Sighting

NAME_PART = "amazin-object-storage-node"
LABEL = "aosd.node"
_NODE_PORT = 9000
_CREDENTIALS = (
    ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
    ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"),
)
_COMPOSE = tuple(
    f"com.docker.compose.{part}" for part in ("project", "service", "container-number")
)
_LOOPBACK = "127.0.0.1"
_EVERYWHERE = {"": _LOOPBACK, "0.0.0.0": _LOOPBACK, "::": "::1"}  # noqa: S104 - compared, not bound
_OWN_MOUNT = re.compile(
    r"\S+ \S+ \S+ \S*/containers/([0-9a-f]{64})/\S+ /etc/(?:hostname|hosts|resolv\.conf) "
)
_LONG_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_SHORT_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Vantage:
    """Where the gateway stands, seen from the engine: what addresses mean to it.

    `networks` are the ids and names of those that its own container is on; None when it
    doesn't run in a container of this engine, or in one on the host's network. Then
    `engine_host` is where published ports are; None when the engine is on this machine,
    where the containers' own addresses can be reached too.
    """

    networks: Mapping[str, str] | None = None
    engine_host: str | None = None


class _Unusable(Exception):
    """A container is a node, but can't be used as it stands; says why."""


def is_node(listed: Mapping[str, Any]) -> bool:
    """Whether a container, as listed, is meant to be a node."""
    names = listed.get("Names") or ()
    return LABEL in (listed.get("Labels") or {}) or any(NAME_PART in name for name in names)


def is_news(event: Mapping[str, Any]) -> bool:
    """Whether an event may concern a node. Those of networks don't say whose they are."""
    attributes = (event.get("Actor") or {}).get("Attributes") or {}
    return (
        event.get("Type") == "network"
        or LABEL in attributes
        or NAME_PART in str(attributes.get("name", ""))
        or NAME_PART in str(attributes.get("oldName", ""))
    )


def sight(inspected: Mapping[str, Any], vantage: Vantage) -> Sighting:
    """The sighting of a container, as inspected. Never raises."""
    name, seen_as = "", ""
    running = False
    try:
        seen_as = _seen_as(inspected)
        labels: Mapping[str, str] = inspected["Config"].get("Labels") or {}
        name = _name(inspected, labels)
        running = _is_running(inspected["State"])
        weight = _label(labels, "aosd.weight", weight_of, 1.0)
        zone = _label(labels, "aosd.zone", zone_of, None)
        port = _label(labels, "aosd.port", port_of, _NODE_PORT)
        credentials = _credentials(inspected["Config"].get("Env") or ())
        address = Address("http", *_reach(inspected, port, vantage)) if running else None
    except _Unusable as error:
        return Sighting(name, running=running, problem=str(error), seen_as=seen_as)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"the engine says nothing usable of it ({type(error).__name__}: {error})"
        return Sighting(name, running=running, problem=problem, seen_as=seen_as)
    return Sighting(name, address, credentials, weight, zone, running, seen_as=seen_as)


def unreadable(listed: Mapping[str, Any], reason: str) -> Sighting:
    """The sighting of a container that was listed but couldn't be inspected."""
    labels = listed.get("Labels") or {}
    named = {"Name": next(iter(listed.get("Names") or ()), ""), "Id": listed.get("Id", "")}
    return Sighting(
        _name(named, labels),
        running=listed.get("State") == "running",
        problem=f"it can't be inspected: {reason}",
        seen_as=_seen_as(named),
    )


def own_ids(mountinfo: str, cgroup: str, hostname: str) -> Sequence[str]:
    """What may be the id of the container that this process runs in, likeliest first.

    `mountinfo` and `cgroup` are the files of /proc/self. In a container, the engine mounts
    three files from a folder named by the container's id; older cgroups name it too; its
    host name is the short id unless it was given another.
    """
    found = [match[1] for line in mountinfo.splitlines() if (match := _OWN_MOUNT.match(line))]
    found += _LONG_ID.findall(cgroup)
    if _SHORT_ID.fullmatch(hostname):
        found.append(hostname)
    return list(dict.fromkeys(found))


def is_own(inspected: Mapping[str, Any], found: str, hostname: str) -> bool:
    """Whether the container that `found`, one of `own_ids`, led to is the one we run in.

    Only a host name may be like a container's id by chance.
    """
    named = len(found) == 64 or inspected["Config"].get("Hostname") == hostname
    return named and bool(inspected["State"].get("Running"))


def vantage_in(inspected: Mapping[str, Any], outside: Vantage) -> Vantage:
    """The vantage of a gateway in this container; `outside` is that of its host."""
    if inspected["HostConfig"].get("NetworkMode") == "host":
        return outside
    networks = inspected["NetworkSettings"].get("Networks") or {}
    return Vantage(
        {each["NetworkID"]: name for name, each in networks.items() if each.get("NetworkID")}
    )


def vantage_outside(docker_host: str | None) -> Vantage:
    """The vantage of a gateway in no container; `docker_host` is the engine's URL."""
    parts = urlsplit(docker_host or "")
    if parts.scheme in ("tcp", "http", "https", "ssh") and parts.hostname not in (
        None,
        "localhost",
        "::1",
        _LOOPBACK,
    ):
        return Vantage(engine_host=parts.hostname)
    return Vantage()


# -- one container --------------------------------------------------------------------------


def _seen_as(inspected: Mapping[str, Any]) -> str:
    name = str(inspected.get("Name", "")).lstrip("/")
    return f"container {name} ({str(inspected.get('Id', ''))[:12]})"


def _name(inspected: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Never the container's id: a container that is made anew has the same name."""
    if labels.get("aosd.name"):
        return labels["aosd.name"]
    # One that `compose run` made shares its labels with the service's own.
    one_off = labels.get("com.docker.compose.oneoff") == "True"
    if not one_off and all(labels.get(label) for label in _COMPOSE):
        return "-".join(labels[label] for label in _COMPOSE)
    return str(inspected["Name"]).lstrip("/")


def _is_running(state: Mapping[str, Any]) -> bool:
    """The engine calls paused and restarting ones running; they answer nobody."""
    absent = any(state.get(each) for each in ("Paused", "Restarting", "Dead"))
    return bool(state["Running"]) and not absent


def _label(labels: Mapping[str, str], label: str, parse: Any, default: Any) -> Any:
    try:
        return parse(labels[label]) if label in labels else default
    except ValueError as error:
        raise _Unusable(f"label {label} {error}") from error


def _credentials(environment: Sequence[str]) -> Credentials:
    # A secret may contain `=`.
    values = dict(each.partition("=")[::2] for each in environment)
    for access, secret in _CREDENTIALS:
        if values.get(access) and values.get(secret):
            return Credentials(values[access], values[secret])
    expected = " or ".join(" and ".join(pair) for pair in _CREDENTIALS)
    raise _Unusable(f"no credentials in its environment ({expected})")


def _reach(inspected: Mapping[str, Any], port: int, vantage: Vantage) -> tuple[str, int]:
    """Host and port where the gateway reaches it."""
    settings = inspected["NetworkSettings"]
    networks: Mapping[str, Any] = settings.get("Networks") or {}
    if vantage.networks is not None:
        shared = {
            name: each
            for name, each in networks.items()
            if each.get("NetworkID") in vantage.networks
        }
        for host in _addresses(shared):
            return host, port
        raise _Unusable(
            f"on no network with the gateway: it is on {_listed(networks)}, "
            f"the gateway on {_listed(vantage.networks.values())}"
        )
    if "host" in networks:
        return vantage.engine_host or _LOOPBACK, port
    for published in _published(settings.get("Ports") or {}, port, vantage):
        return published
    if vantage.engine_host is None:
        for host in _addresses(networks):
            return host, port
    raise _Unusable(
        f"port {port} isn't published where the gateway could reach it; "
        f"it is on {_listed(networks)}, the gateway on the host"
    )


def _addresses(networks: Mapping[str, Any]) -> Iterator[str]:
    for family in ("IPAddress", "GlobalIPv6Address"):
        for name in sorted(networks):
            if networks[name].get(family):
                yield networks[name][family]


def _published(ports: Mapping[str, Any], port: int, vantage: Vantage) -> Iterator[tuple[str, int]]:
    """IPv4 first: the engine publishes on both, though not every host has IPv6."""
    bindings = ports.get(f"{port}/tcp") or ()
    for binding in sorted(bindings, key=lambda each: ":" in each.get("HostIp", "")):
        bound, at = binding.get("HostIp", ""), int(binding["HostPort"])
        if vantage.engine_host is None:
            yield _EVERYWHERE.get(bound, bound), at
        elif bound in _EVERYWHERE:
            yield vantage.engine_host, at


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
