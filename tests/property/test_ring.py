"""Where keys go: balance, movement, and an order that stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal, localcontext
from hashlib import blake2b

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aosd.model.node import Member
from aosd.model.ring import PARTITIONS, Ring, partition

KEYS = 1_000_000

names = st.text("abcdefghij0123456789.-", min_size=1, max_size=8)
weights = st.floats(0.1, 100)
keys = st.text(max_size=12)


class Keys:
    """A million keys: how many are in each partition, and one of each."""

    def __init__(self) -> None:
        self.counts = [0] * PARTITIONS
        self.one_of = [""] * PARTITIONS
        for number in range(KEYS):
            key = f"key-{number}"
            place = partition("object", key)
            self.counts[place] += 1
            self.one_of[place] = key
        assert all(self.one_of)

    def orders(self, ring: Ring) -> Iterable[tuple[int, tuple[str, ...]]]:
        """How many keys have which order."""
        for count, key in zip(self.counts, self.one_of, strict=True):
            yield count, ring.order("object", key)

    def firsts(self, ring: Ring) -> Counter[str]:
        """How many first copies each node has."""
        found: Counter[str] = Counter()
        for count, order in self.orders(ring):
            found[order[0]] += count
        return found


@pytest.fixture(scope="module")
def million() -> Keys:
    return Keys()


def equal(count: int) -> Ring:
    return Ring(Member(f"n{number}", 1.0, f"n{number}") for number in range(1, count + 1))


def test_equal_nodes_have_equal_shares(million: Keys) -> None:
    shares = million.firsts(equal(10))
    assert len(shares) == 10
    for name, count in shares.items():
        assert abs(count / (KEYS / 10) - 1) < 0.05, name


def test_a_node_that_joins_takes_its_share_and_nothing_else_moves(million: Keys) -> None:
    moved = 0
    for (count, before), (_, after) in zip(
        million.orders(equal(10)), million.orders(equal(11)), strict=True
    ):
        assert before == tuple(name for name in after if name != "n11")
        if before[0] != after[0]:
            moved += count
    assert 0.08 < moved / KEYS < 0.10


def test_weights_are_shares_of_first_copies(million: Keys) -> None:
    parts = {"a": 1.0, "b": 1.0, "c": 2.0, "d": 4.0}
    shares = million.firsts(Ring(Member(name, part, name) for name, part in parts.items()))
    for name, part in parts.items():
        assert abs(shares[name] / (KEYS * part / 8) - 1) < 0.05, name


def test_partitions_have_equal_shares(million: Keys) -> None:
    # A Poisson distribution's tails: nothing is empty, nothing has thrice its share.
    mean = KEYS / PARTITIONS
    assert min(million.counts) > 0 and max(million.counts) < 3 * mean


@st.composite
def member_sets(draw: st.DrawFn) -> list[Member]:
    found = draw(st.dictionaries(names, weights, min_size=1, max_size=8))
    return [Member(name, weight, name) for name, weight in found.items()]


@given(member_sets(), st.lists(keys, min_size=1, max_size=8))
def test_the_order_is_the_one_of_exact_arithmetic(members: list[Member], some: list[str]) -> None:
    ring = Ring(members)
    for key in some:
        data = f"object/{key}".encode()
        number = int.from_bytes(blake2b(data, digest_size=2).digest(), "big")
        with localcontext(prec=60):
            scores = {}
            for member in members:
                pair = f"{number}\t{member.name}".encode()
                drawn = int.from_bytes(blake2b(pair, digest_size=8).digest(), "big") >> 12
                u = (Decimal(drawn) + Decimal("0.5")) / (1 << 52)
                scores[member.name] = -u.ln() / Decimal(member.weight)
        assert ring.order("object", key) == tuple(sorted(scores, key=lambda n: (scores[n], n)))


@given(member_sets(), names, weights, keys)
def test_who_joins_or_leaves_changes_nobody_elses_order(
    members: list[Member], name: str, weight: float, key: str
) -> None:
    assume(name not in {member.name for member in members})
    before = Ring(members).order("object", key)
    after = Ring([*members, Member(name, weight, name)]).order("object", key)
    assert tuple(each for each in after if each != name) == before


@given(member_sets(), weights, keys)
def test_a_heavier_node_only_comes_forward(members: list[Member], weight: float, key: str) -> None:
    first, *rest = members
    assume(weight > first.weight)
    before = Ring(members).order("object", key)
    after = Ring([Member(first.name, weight, first.zone), *rest]).order("object", key)
    assert after.index(first.name) <= before.index(first.name)
    assert [n for n in after if n != first.name] == [n for n in before if n != first.name]


@settings(max_examples=50)
@given(
    st.dictionaries(names, st.tuples(weights, st.sampled_from("xyz")), min_size=1, max_size=8),
    keys,
    st.integers(1, 5),
)
def test_copies_are_in_as_many_zones_as_can_be(
    found: dict[str, tuple[float, str]], key: str, replicas: int
) -> None:
    ring = Ring(Member(name, weight, zone) for name, (weight, zone) in found.items())
    zones = {zone for _, zone in found.values()}
    primaries = ring.primaries("object", key, replicas)
    handoffs = ring.handoffs("object", key, replicas)
    assert len({found[name][1] for name in primaries}) == min(replicas, len(zones))
    assert (primaries + handoffs) == ring.order("object", key)[: 2 * replicas]
    assert not set(primaries) & set(handoffs)
