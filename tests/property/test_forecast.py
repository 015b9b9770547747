"""A forecast is what moves: the same change is forecast, and then made, in memory."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from aosd.model.node import Member
from aosd.model.objects import OBJECT_BUCKET, STAMP_HEADER
from aosd.model.ring import Ring
from aosd.ports import Candidate
from aosd.repair.forecast import Forecast, Forecaster
from aosd.repair.mend import Mended, Mender
from aosd.repair.pace import Pace
from aosd.repair.rates import Rates
from aosd.repair.sweep import Sweep
from aosd.repair.walk import Windows
from aosd.testing.memory_node import Copy, MemoryNode
from aosd.testing.stores import MemoryPlacement, make_store

NAMES = ("n1", "n2", "n3", "n4", "n5", "n6")
BUCKETS = (OBJECT_BUCKET, "other")
STAMP = "0193594b3a7c-0000-0000000a"
NOW_S = 1_700_000_000.0

Places = Mapping[str, tuple[float, str]]
"""The weight and zone of each member."""


@st.composite
def changes(draw: st.DrawFn) -> tuple[Places, Places]:
    """A ring, and another: somebody joins, is drained, weighs more or moves; or all at once."""
    place = st.tuples(st.sampled_from([0.1, 0.5, 1.0, 3.0, 100.0]), st.sampled_from("xyz"))
    names = st.sets(st.sampled_from(NAMES), min_size=1)
    present: dict[str, tuple[float, str]] = {name: draw(place) for name in sorted(draw(names))}
    coming = dict(present)
    for name in sorted(draw(names)):
        if name not in coming or draw(st.booleans()):
            coming[name] = draw(place)
        elif len(coming) > 1:
            del coming[name]
    return present, coming


keys = st.lists(st.text("ab/1", min_size=1, max_size=6), unique=True, max_size=40).map(
    # A folder that is an object, and empty segments, are refused at the door.
    lambda found: [each for each in found if "//" not in each and each.strip("/") == each]
)


class Everybody(MemoryPlacement):
    """Who is drained is a member as long as something lies on it."""

    def members(self) -> Sequence[Candidate]:
        return [self.candidate(name) for name in sorted(self.nodes)]


class World:
    def __init__(self, places: Places, replicas: int) -> None:
        self.clock = Clock()
        self.clock.advance(NOW_S)
        self.replicas = replicas
        self.nodes = {
            name: MemoryNode(name, now=self.clock.seconds, buckets=BUCKETS) for name in NAMES
        }
        self.placement = Everybody(list(self.nodes.values()))
        self.placement.ring = ring(places)
        self.store = make_store(self.placement, self.clock, replicas=replicas)
        self.copied: Counter[str] = Counter()
        self.removed: Counter[str] = Counter()
        self.size_bytes = self.changed_keys = 0

    def lay(self, bucket: str, key: str, size: int, wrong: int) -> None:
        """On its primaries; or, by the bits of `wrong`, on other members than these."""
        data = b"v" * size
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        order = self.placement.ring.order(bucket, key)
        lying = [name for place, name in enumerate(order) if wrong & 1 << place]
        for name in lying or order[: self.replicas]:
            headers = ((STAMP_HEADER, STAMP.encode()),)
            self.nodes[name].buckets[bucket][key] = Copy(data, etag, NOW_S - 9999, headers)

    def forecast(self, coming: Places) -> Forecast:
        forecaster = Forecaster(
            placement=self.placement,
            buckets=lambda: BUCKETS,
            replicas=self.replicas,
            clock=self.clock,
            rates=Rates(self.clock, keys_per_s=math.inf, bytes_per_s=math.inf),
            keys_per_s=math.inf,
        )
        return result(forecaster.forecast(self.placement.ring, ring(coming)))

    def change(self, coming: Places) -> None:
        """Copy what the coming ring wants, and remove what it doesn't, as the keeper does."""
        self.placement.ring, self.placement.former = ring(coming), self.placement.ring
        self.store.settledness.ring_changed()
        self.sweep()
        assert not self.removed
        self.placement.former = None
        self.store.settledness.ring_changed()
        self.sweep()

    def sweep(self) -> None:
        store = self.store
        mender = Mender(
            placement=self.placement,
            replicas=self.replicas,
            copier=store.copying,
            turns=store.turns,
            writes=store.writes,
            journal=store.journal,
            marks=store.marks,
            stamps=store.stamps,
            settled=store.settledness,
        )
        sweep = Sweep(
            placement=self.placement,
            replicas=self.replicas,
            mender=mender,
            windows=Windows(store.writes),
            clock=self.clock,
            buckets=lambda: BUCKETS,
            keys=Pace(self.clock, math.inf),
            copied=Pace(self.clock, math.inf),
            agreed_since_s=NOW_S,
            on_mended=self.count,
        )
        assert not result(sweep.run()).unmended

    def count(self, mended: Mended) -> None:
        self.copied.update(mended.copied)
        self.removed.update(mended.removed)
        self.size_bytes += mended.size_bytes
        self.changed_keys += bool(mended.copied)


def ring(places: Places) -> Ring:
    return Ring(Member(name, weight, zone) for name, (weight, zone) in places.items())


def result(work: Any) -> Any:
    outcome: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(outcome.append)
    return outcome[0]


@settings(max_examples=120)
@given(changes(), st.integers(1, 3), keys, st.integers(0, 3), st.lists(st.integers(0, 63)))
def test_what_is_forecast_is_what_moves(
    change: tuple[Places, Places],
    replicas: int,
    names: list[str],
    steps: int,
    wrong: list[int],
) -> None:
    present, coming = change
    world = World(present, replicas)
    for number, key in enumerate(names):
        how = wrong[number] if number < len(wrong) else 0
        world.lay(BUCKETS[number % 2], key, number * steps, how)
    told = world.forecast(coming)
    before = {name: stored(node) for name, node in world.nodes.items()}
    world.change(coming)
    into = {name: share.copies_in for name, share in told.nodes.items() if share.copies_in}
    out = {name: share.copies_out for name, share in told.nodes.items() if share.copies_out}
    assert into == dict(world.copied)
    assert out == dict(world.removed)
    assert (told.keys, told.moved_keys) == (len(names), world.changed_keys)
    assert told.moved_bytes == world.size_bytes
    for name, share in told.nodes.items():
        assert stored(world.nodes[name]) - before[name] == share.bytes_in - share.bytes_out, name
    assert told.copies == sum(
        len(node.buckets[b]) for node in world.nodes.values() for b in BUCKETS
    )
    assert told.unlisted == ()
    again = world.forecast(coming)
    assert (again.moved_copies, again.moved_share) == (0, 0.0)
    assert not any(share.copies_out for share in again.nodes.values())


def stored(node: MemoryNode) -> int:
    return sum(len(copy.data) for bucket in BUCKETS for copy in node.buckets[bucket].values())
