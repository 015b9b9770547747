"""The ring: a pure function from a key and the members to an order of nodes.

Weighted rendezvous hashing (Thaler and Ravishankar, 1998; the weights after Schindelhauer
and Schomaker, 2005), a partition at a time: each pair of partition and node name hashes to
a number u in (0, 1), and the node with the lowest -ln(u)/weight is first. Nodes that leave
or join move only their own share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from aosd.model.node import Member

PARTITIONS = 65_536


class Ring:
    """The order of nodes for each key. Members are fixed: a change makes another ring."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._members = tuple(sorted(members, key=lambda member: member.name))
        self._orders: list[tuple[str, ...] | None] = [None] * PARTITIONS
        told = "\n".join(
            f"{member.name}\t{member.weight!r}\t{member.zone}" for member in self._members
        )
        self.name = blake2b(told.encode(), digest_size=8).hexdigest()

    @property
    def members(self) -> Mapping[str, Member]:
        """The members by name."""
        return {member.name: member for member in self._members}

    def order(self, bucket: str, key: str) -> tuple[str, ...]:
        """The names of all members, the key's primary first."""
        number = partition(bucket, key)
        order = self._orders[number]
        if order is None:
            order = self._orders[number] = self._rank(number)
        return order

    def primaries(self, bucket: str, key: str, replicas: int) -> tuple[str, ...]:
        """The first `replicas` nodes of the key's order."""
        return self.order(bucket, key)[:replicas]

    def handoffs(self, bucket: str, key: str, replicas: int) -> tuple[str, ...]:
        """The next `replicas` nodes after the primaries, which stand in for them."""
        return self.order(bucket, key)[replicas : 2 * replicas]

    def saturated(self, replicas: int) -> tuple[str, ...]:
        """The nodes whose share of the weight, times `replicas`, is over 1.

        They would need more than one copy of some keys; each gets one of every key.
        """
        total = sum(member.weight for member in self._members)
        return tuple(member.name for member in self._members if member.weight * replicas > total)

    def explain(self, bucket: str, key: str) -> dict[str, Any]:
        """Why a key lies where it does: its partition, and each node's score in it."""
        number = partition(bucket, key)
        return {
            "bucket": bucket,
            "key": key,
            "ring": self.name,
            "partition": number,
            "scores": {member.name: _score(number, member) for member in self._members},
        }

    def _rank(self, number: int) -> tuple[str, ...]:
        ranked = sorted(self._members, key=lambda member: (_score(number, member), member.name))
        seen: set[str] = set()
        first: list[str] = []
        rest: list[str] = []
        for member in ranked:
            if member.zone in seen:
                rest.append(member.name)
            else:
                seen.add(member.zone)
                first.append(member.name)
        return (*first, *rest)


def partition(bucket: str, key: str) -> int:
    """The partition of a key, 0 to 65,535."""
    data = f"{bucket}/{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=2).digest(), "big")


def _score(number: int, member: Member) -> float:
    """Lower is better. Rounded, so that no C library's last digit of ln can move a key."""
    data = f"{number}\t{member.name}".encode()
    hashed = int.from_bytes(blake2b(data, digest_size=8).digest(), "big") >> 12
    u = (hashed + 0.5) / (1 << 52)
    return round(-math.log(u) / member.weight, 12)
