"""One record of a node's memory, for whoever isn't a daemon. Blocking; to be run in a thread."""

from __future__ import annotations

from aosd.model.node import Address, Credentials
from aosd.model.objects import SYSTEM_BUCKET
from aosd.nodes.asking import Asking


def read_records(
    name: str, address: Address, credentials: Credentials, *keys: str
) -> tuple[bytes | None, ...]:
    """The records of these keys, None for each that isn't there. Raises NodeError."""
    with Asking(name, address, credentials) as asking:
        answers = [
            asking.ask("GET", SYSTEM_BUCKET, key, well=("NoSuchKey", "NoSuchBucket"))
            for key in keys
        ]
    return tuple(None if answer.code else answer.data for answer in answers)
