"""From what the Docker Engine tells of a container to a sighting. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aosd.model.node import Address, Credentials, Sighting

NAME_PART = "amazin-object-storage-node"
NODE_LABEL = "aosd.node"
_PORT_LABEL = "aosd.port"
_NAME_LABEL = "aosd.name"
_WEIGHT_LABEL = "aosd.weight"
_ZONE_LABEL = "aosd.zone"
_COMPOSE = "com.docker.compose."
_DEFAULT_PORT = 9000
_KEY_PAIRS = (
    ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
    ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"),
)


class _Unusable(Exception):
    """Why a container can't be a node as it is."""


def is_node(name: str, labels: Mapping[str, str]) -> bool:
    """Whether a container is meant to be a node, by its name or its label."""
    return NAME_PART in name or NODE_LABEL in labels


def sighting(inspected: Mapping[str, Any], own_networks: frozenset[str] | None) -> Sighting:
    """What a container is as a node.

    `inspected` is the engine's answer to an inspect (Engine API v1.41, ContainerInspect).
    `own_networks` are the ids of the networks that the gateway's own container is on; None
    when the gateway runs on the host.
    """
    config = inspected.get("Config") or {}
    labels: Mapping[str, str] = config.get("Labels") or {}
    container_name = str(inspected.get("Name", "")).lstrip("/")
    name = _name(container_name, labels)
    state = inspected.get("State") or {}
    running = bool(state.get("Running")) and not state.get("Paused")
    seen_as = f"container {container_name} {str(inspected.get('Id', ''))[:12]}"
    try:
        credentials = _credentials(config.get("Env") or [])
        weight = _weight(labels)
        port = _port(labels)
        address = _address(inspected, port, own_networks) if running else None
    except _Unusable as why:
        return Sighting(name, running=running, problem=str(why), seen_as=seen_as)
    return Sighting(
        name,
        address,
        credentials,
        weight=weight,
        zone=labels.get(_ZONE_LABEL) or None,
        running=running,
        seen_as=seen_as,
    )


def _name(container_name: str, labels: Mapping[str, str]) -> str:
    if given := labels.get(_NAME_LABEL):
        return given
    compose = [labels.get(_COMPOSE + part) for part in ("project", "service", "container-number")]
    if all(compose):
        return "-".join(part for part in compose if part)
    return container_name


def _credentials(environment: list[str]) -> Credentials:
    # A value may hold any number of `=`.
    values = dict(line.split("=", 1) for line in environment if "=" in line)
    for user, password in _KEY_PAIRS:
        if values.get(user) and values.get(password):
            return Credentials(values[user], values[password])
    raise _Unusable("no MINIO_ROOT_USER and MINIO_ROOT_PASSWORD in its environment")


def _weight(labels: Mapping[str, str]) -> float:
    text = labels.get(_WEIGHT_LABEL, "1")
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not 0.1 <= weight <= 100:
        raise _Unusable(f"label {_WEIGHT_LABEL} is {text!r}, but must be 0.1 to 100")
    return weight


def _port(labels: Mapping[str, str]) -> int:
    text = labels.get(_PORT_LABEL, str(_DEFAULT_PORT))
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise _Unusable(f"label {_PORT_LABEL} is {text!r}, but must be a port")
    return int(text)


def _address(
    inspected: Mapping[str, Any], port: int, own_networks: frozenset[str] | None
) -> Address:
    settings = inspected.get("NetworkSettings") or {}
    networks: Mapping[str, Mapping[str, Any]] = settings.get("Networks") or {}
    if own_networks is not None:
        for network in sorted(networks):
            found = networks[network]
            if found.get("NetworkID") in own_networks and found.get("IPAddress"):
                return Address("http", found["IPAddress"], port)
        on = ", ".join(sorted(networks)) or "no network"
        raise _Unusable(f"it is on {on}, and the gateway's container on none of these")
    for binding in (settings.get("Ports") or {}).get(f"{port}/tcp") or ():
        host = binding.get("HostIp") or "0.0.0.0"  # noqa: S104 — Docker's word for anywhere
        if ":" not in host:
            anywhere = host == "0.0.0.0"  # noqa: S104
            return Address("http", "127.0.0.1" if anywhere else host, int(binding["HostPort"]))
    # On Linux the host reaches its bridges; where it doesn't, the first contact will tell.
    for network in sorted(networks):
        if networks[network].get("IPAddress"):
            return Address("http", networks[network]["IPAddress"], port)
    if "host" in networks:
        return Address("http", "127.0.0.1", port)
    raise _Unusable(f"port {port} is not published, and it is on no network that has an address")
