"""The ring: a pure function from a key and the members to an order of nodes.

Weighted rendezvous hashing (Thaler and Ravishankar, 1998; the weights after Schindelhauer
and Schomaker, 2005), a partition at a time: each pair of partition and node name hashes to
a number u in (0, 1), and the node with the lowest -ln(u)/weight is first. Nodes that leave
or join move only their own share.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from aosd.model.node import Member

PARTITIONS = 65_536

_U_BITS = 52
# Far over what any C library's logarithm is off by, and far under the usual distance.
_CLOSE = 1e-9
_EXACT = Context(prec=50)


class Ring:
    """The order of nodes for each key. Members (by name) are fixed: a change makes another ring.

    Raises ValueError for two members of one name and for a weight that isn't over 0.
    """

    def __init__(self, members: Iterable[Member]) -> None:
        self._members = tuple(sorted(members, key=lambda member: member.name))
        if len({member.name for member in self._members}) != len(self._members):
            raise ValueError("two members have one name")
        for member in self._members:
            if not 0 < member.weight < math.inf:
                raise ValueError(f"member {member.name}: no weight: {member.weight!r}")
        self.members: Mapping[str, Member] = {each.name: each for each in self._members}
        self._orders: list[tuple[str, ...] | None] = [None] * PARTITIONS
        told = json.dumps([(each.name, float(each.weight), each.zone) for each in self._members])
        self.name = blake2b(told.encode(), digest_size=8).hexdigest()

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
        """The nodes whose share of the weight, times the copies of a key, is over 1.

        They would need more than one copy of some keys; each gets one of every key.
        There are `replicas` copies, or as many as members when those are fewer.
        """
        copies = min(replicas, len(self._members))
        total = math.fsum(member.weight for member in self._members)
        # The margin is for sums such as 0.1 + 0.1 + 0.1, which aren't quite 3 times 0.1.
        return tuple(
            member.name for member in self._members if member.weight * copies > total * (1 + _CLOSE)
        )

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
        scored = sorted((_score(number, member), member.name, member) for member in self._members)
        for lower, higher in pairwise(scored):
            if higher[0] - lower[0] <= _CLOSE * higher[0]:
                # Too close for floating point to be the same on every machine.
                scored.sort(key=lambda each: (_exact_score(number, each[2]), each[1]))
                break
        seen: set[str] = set()
        first: list[str] = []
        rest: list[str] = []
        for _, name, member in scored:
            if member.zone in seen:
                rest.append(name)
            else:
                seen.add(member.zone)
                first.append(name)
        return (*first, *rest)


@lru_cache(maxsize=1024)  # of one key it is asked several times in a row
def partition(bucket: str, key: str) -> int:
    """The partition of a key, 0 to 65,535."""
    data = f"{bucket}/{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=2).digest(), "big")


def _score(number: int, member: Member) -> float:
    """-ln(u)/weight; lower is better.

    u is an odd multiple of 2**-53, so it is exact, and never 0 or 1. Only the logarithm's
    last digits may differ between machines; `_rank` decides nothing by them.
    """
    return -math.log((_draw(number, member) + 0.5) / (1 << _U_BITS)) / member.weight


def _exact_score(number: int, member: Member) -> Decimal:
    """The same to 50 digits: decimal arithmetic is the same everywhere, by definition."""
    u = _EXACT.divide(Decimal(2 * _draw(number, member) + 1), Decimal(2 << _U_BITS))
    return _EXACT.divide(_EXACT.minus(u.ln(_EXACT)), Decimal(member.weight))


def _draw(number: int, member: Member) -> int:
    data = f"{number}\t{member.name}".encode()
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big") >> (64 - _U_BITS)
