"""The store against a model of it: what a client may find after what it did.

The model of a key is the set of what it may hold: one thing after a write that was
acknowledged, one more after one that was answered with an error of the cluster's.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aosd.model.node import NodeState
from aosd.testing.bodies import BytesBody
from aosd.testing.faults import (
    breaks,
    full,
    nonsense,
    refused,
    timed_out,
    unavailable,
)
from tests.property.store_world import (
    BUCKET,
    KEYS,
    Away,
    Back,
    Break,
    Delete,
    Heal,
    Land,
    Lands,
    List,
    Read,
    Rollback,
    Snapshot,
    Sweep,
    World,
    Write,
)

# Most of it happens to one key, or little would ever happen to any.
keys = st.sampled_from((*KEYS, *("a" for _ in range(10))))
writes = st.builds(
    Write,
    keys,
    st.sampled_from([0, 1, 8, 9, 10, 11, 20, 39, 40, 41, 50, 75]),
    st.booleans(),
    st.sampled_from([1, 3, 10, 100]),
    st.sampled_from([None, None, None, 0, 5, 15]),
    st.sampled_from([None, None, "only if new", "only over something"]),
)
reads = st.builds(
    Read, keys, st.none() | st.integers(1, 10), st.sampled_from([None, None, 1, 7, 30])
)
faults = st.sampled_from(
    [
        unavailable(),
        timed_out(),
        timed_out(carried_out=True),
        full(),
        refused(),
        refused(403, "AccessDenied"),
        nonsense(),
        breaks(5),
        breaks(0),
    ]
)
methods = st.sampled_from(
    [
        "head",
        "get",
        "put",
        "delete",
        "list",
        "create_upload",
        "put_part",
        "complete_upload",
        "abort_upload",
        # What makes copies differ.
        "put",
        "put",
        "put",
        "put",
        "delete",
        "complete_upload",
    ]
)
whole = st.one_of(
    writes,
    writes,
    reads,
    st.builds(Delete, keys),
    st.builds(List, st.sampled_from(["", "a", "z"]), st.integers(1, 5)),
)
which = st.integers(0, 3)
broken = st.one_of(
    whole,
    whole,
    whole,
    st.builds(Break, which, methods, faults),
    st.builds(Lands, which, st.sampled_from(["put", "delete", "complete_upload"])),
    st.builds(Away, which, st.sampled_from([NodeState.DOWN, NodeState.DOWN, NodeState.SUSPECT])),
    st.builds(Back, which),
    st.builds(Back, which),
    st.builds(Snapshot, which),
    st.builds(Rollback, which),
    st.builds(Heal),
    st.builds(Land),
    st.builds(Sweep),
)


def play(script: list[Any]) -> None:
    world = World()
    # A folder, which the plain door doesn't list.
    for node in world.nodes:
        world.ends(node.put(BUCKET, "a/b", BytesBody(b"x"), ()))
    for number, step in enumerate(script):
        step.act(world, number)
        world.clock.advance(0.001)
        if world.faulty:
            Read("a", None, None).act(world, number)
    Sweep().act(world, 0)
    faulty, world.faulty = world.faulty, False
    for key in KEYS:
        Read(key, None, None).act(world, 0)
    List("", 2).act(world, 0)
    world.faulty = faulty
    world.over()


@settings(max_examples=150)
@given(st.lists(whole, max_size=25))
def test_what_was_written_is_read(script: list[Any]) -> None:
    play(script)


@settings(max_examples=250)
@given(st.lists(broken, min_size=12, max_size=40))
def test_what_was_acknowledged_is_read_whatever_breaks(script: list[Any]) -> None:
    play(script)
