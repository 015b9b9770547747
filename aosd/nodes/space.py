"""How much room a node has, where its server tells: MinIO does. Blocking."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException

from aosd.model.node import Address, Credentials

_CONNECT_S = 1.5
_ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes of all drives that answer, those of parity among them.

    `available_part` is that of the fullest set of drives: an object lies on one set, and is
    refused when that one is full. `drives_away` are drives that don't work.
    """

    size_bytes: int
    available_bytes: int
    available_part: float
    drives: int
    drives_away: int


def space_of(address: Address, credentials: Credentials) -> Space | None:
    """What MinIO's admin API tells; None of a server that isn't MinIO, or won't say.

    Source: https://min.io/docs/minio/linux/reference/minio-mc-admin/mc-admin-info.html
    """
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=_CONNECT_S, read=_ANSWER_S), retries=False, maxsize=1
    )
    try:
        admin = MinioAdmin(
            endpoint=address.url.partition("://")[2],
            credentials=StaticProvider(credentials.access_key, credentials.secret_key),
            region="us-east-1",
            secure=address.scheme == "https",
            http_client=pool,
        )
        return read_space(json.loads(admin.info()))
    except (MinioAdminException, MinioException, urllib3.exceptions.HTTPError, ValueError):
        return None
    finally:
        pool.clear()


def read_space(told: object) -> Space | None:
    """From the JSON of MinIO's admin info; None for anything else."""
    try:
        drives = [drive for server in _all(told, "servers") for drive in _all(server, "drives")]
        sets: dict[tuple[int, int], tuple[int, int]] = {}
        for drive in drives:
            if drive.get("state") != "ok":
                continue
            name = int(drive.get("pool_index", 0)), int(drive.get("set_index", 0))
            size, available = sets.get(name, (0, 0))
            # What is 0 is left out.
            sets[name] = (
                size + int(drive["totalspace"]),
                available + int(drive.get("availspace", 0)),
            )
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
    sizes = [each for each in sets.values() if each[0] > 0]
    if not sizes:
        return None
    return Space(
        sum(size for size, _ in sizes),
        sum(available for _, available in sizes),
        min(available / size for size, available in sizes),
        len(drives),
        sum(drive.get("state") != "ok" for drive in drives),
    )


def _all(told: Any, name: str) -> list[Mapping[str, Any]]:
    found = told.get(name) or []
    return [each for each in found if isinstance(each, dict)]
