"""Objects that nobody touches while the ring changes: where they lie, and what was moved."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from hashlib import md5

from aosd.model.ring import Ring
from tests.fault.copies import copies
from tests.fault.load import digest_of
from tests.fault.operator import REPLICAS, Operated
from tests.integration.bodies import body
from tests.integration.nodes import BUCKET, RealNode
from tests.integration.waiting import until
from tests.integration.wire import Wire

_CLIENTS = 8
_SIZE_BYTES = 700
# Nodes may tell the time of a write in whole seconds.
_GRAIN_S = 1.0
_TOLERANCE = 0.05

Place = tuple[str, str]
"""A key, and a node that has a copy of it."""


class Still:
    """`count` small objects under `prefix`, each of other bytes."""

    def __init__(self, operated: Operated, prefix: str = "still", count: int = 600) -> None:
        self._operated = operated
        self.prefix = prefix
        self.keys = {f"{prefix}{n:05d}": body(_SIZE_BYTES, n) for n in range(count)}

    def fill(self) -> None:
        """By several clients; when this returns, what is written next is later for sure."""
        names = list(self.keys)

        def put(worker: int) -> None:
            with Wire(self._operated.port(), 60.0) as wire:
                for name in names[worker::_CLIENTS]:
                    wire.send_request("PUT", f"/object/{name}", {}, self.keys[name])
                    answer = wire.answer("PUT")
                    assert answer.status == 201, answer

        with ThreadPoolExecutor(_CLIENTS) as threads:
            list(threads.map(put, range(_CLIENTS)))
        self._operated.wait_until_quiet()
        let_a_second_pass()

    def expected(self, former: Ring, coming: Ring) -> set[Place]:
        """The copies that have to be made when one ring follows the other."""
        return {
            (key, name)
            for key in self.keys
            for name in set(coming.primaries(BUCKET, key, REPLICAS))
            - set(former.primaries(BUCKET, key, REPLICAS))
        }

    def moved(self, since_s: float) -> set[Place]:
        """The copies that nodes got since a moment of time.time()."""
        return {place for place, when_s in self.places().items() if when_s >= since_s - _GRAIN_S}

    def places(self) -> Mapping[Place, float]:
        """All copies, and when their nodes got them, in seconds since 1970."""
        return {
            (key, node.name): when.timestamp()
            for node in self._operated.nodes.values()
            for key, when in written(node).items()
            if key in self.keys
        }

    def expect_moved(self, former: Ring, coming: Ring, since_s: float) -> None:
        """What the rings say was moved, and no more, within 5 %; it lies where it belongs."""
        expected, moved = self.expected(former, coming), self.moved(since_s)
        assert expected, "nothing was to be moved"
        off = abs(len(moved) - len(expected)) / len(expected)
        assert off <= _TOLERANCE, (
            f"{len(moved)} copies were made, the rings say {len(expected)}; "
            f"not made: {sorted(expected - moved)[:5]}, for nothing: {sorted(moved - expected)[:5]}"
        )
        self.expect_in_place(coming)

    def expect_in_place(self, ring: Ring) -> None:
        """Each on its primaries and nowhere else, by the nodes' own listings."""
        wanted = {
            (key, name) for key in self.keys for name in ring.primaries(BUCKET, key, REPLICAS)
        }
        there = set(self.places())
        assert there == wanted, (
            f"missing: {sorted(wanted - there)[:5]}, too many: {sorted(there - wanted)[:5]}"
        )

    def read_back(self) -> None:
        """Nothing is lost and nothing wrong."""
        problems = []
        with Wire(self._operated.port(), 60.0) as wire:
            for key, data in self.keys.items():
                wire.send_request("GET", f"/object/{key}")
                found = digest_of(wire.answer())
                if found != digest(data):
                    problems.append(f"{key}: {found}")
        assert not problems, f"{len(problems)} of {len(self.keys)}: {problems[:10]}"

    def expect_on(self, nodes: Iterable[RealNode]) -> None:
        """Each can be read from one of these nodes by any client, byte for byte."""
        nodes = list(nodes)
        for key, data in self.keys.items():
            found = copies(nodes, key)
            assert {each.digest for each in found.values()} == {digest(data)}, (key, found)


def written(node: RealNode, bucket: str = BUCKET) -> dict[str, datetime]:
    """A node's keys, and when it got them."""
    found = {}
    for each in node.client().list_objects(bucket_name=bucket, recursive=True):
        assert each.last_modified is not None
        found[str(each.object_name)] = each.last_modified
    return found


def let_a_second_pass() -> None:
    """So that what comes next is later by the nodes' clocks, too."""
    began_s = time.time()
    until(lambda: time.time() > began_s + 2 * _GRAIN_S, "time passes")


def digest(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()
