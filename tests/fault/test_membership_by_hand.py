"""An operator changes the store one node at a time, while clients work: none of them notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

import pytest

from tests.fault.copies import expect_load_in_place
from tests.fault.load import Load
from tests.fault.operator import CHANGED_S, Operated, running_operated
from tests.fault.still import Still, let_a_second_pass
from tests.integration.nodes import RealNode
from tests.integration.waiting import until

# Where nodes take a minute to come back.
pytestmark = pytest.mark.timeout(600)

NAMES = ("h1", "h2", "h3", "h4")
STILL = 180
# More than copies that are made in the same moment as they are counted.
MIDWAY = 5
DOWN_S = 40.0
READY_S = 30.0

_loads = count()


@pytest.fixture(scope="module")
def shared_crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operated, Still]]:
    with running_operated(tmp_path_factory.mktemp("hands"), NAMES) as operated:
        still = Still(operated, count=STILL)
        still.fill()
        yield operated, still


@pytest.fixture
def crew(shared_crew: tuple[Operated, Still]) -> Operated:
    """Some members; all is quiet."""
    operated, _ = shared_crew
    operated.undo_all()
    operated.mend()
    return operated


@pytest.fixture
def still(shared_crew: tuple[Operated, Still], crew: Operated) -> Still:
    return shared_crew[1]


def members(crew: Operated, least: int) -> list[str]:
    """Their names, at least so many; all is quiet, and what was done lies seconds back."""
    while len(crew.nodes) < least:
        crew.add(new_name(crew))
    crew.wait_until_quiet()
    let_a_second_pass()
    return list(crew.nodes)


def new_name(crew: Operated) -> str:
    known = {*crew.nodes, *crew.gone}
    return next(name for name in (f"h{number}" for number in count(1)) if name not in known)


def working(crew: Operated) -> Load:
    """Clients, on keys that no other test has."""
    return Load(crew.port, f"busy{next(_loads)}x", keys=30, workers=3)


def expect_all_well(crew: Operated, still: Still, load: Load) -> None:
    """Zero client errors, zero lost, zero wrong; all of it where it belongs."""
    load.expect_no_failures()
    crew.wait_until_quiet()
    load.read_back()
    still.read_back()
    expect_load_in_place(crew, load)


def expect_foretold(still: Still, load: Load, wanted: int, told: dict[str, object]) -> None:
    """The copies that a forecast tells are those that the ring says, but for what clients do."""
    nodes = told["nodes"]
    assert isinstance(nodes, dict)
    copies = sum(each["copies_in"] for each in nodes.values())
    assert wanted * 0.95 <= copies <= wanted * 1.05 + 2 * len(load.keys), (wanted, told)


def test_weighing_up_and_down_again(crew: Operated, still: Still) -> None:
    name, *_ = members(crew, 3)
    light = crew.the_ring()
    with working(crew) as load:
        load.wait_for(50)
        foretold = crew.forecast(name, "weight", to=2)
        assert crew.the_ring().name == light.name
        began_s = time.time()
        crew.act(name, "weight", to=2)
        crew.wait_until_changed()
        crew.wait_until_quiet()
        heavy = crew.the_ring()
        assert heavy.members[name].weight == 2
        expect_foretold(still, load, len(still.expected(light, heavy)), foretold)
        still.expect_moved(light, heavy, began_s)
        let_a_second_pass()
        began_s = time.time()
        crew.aosctl("node", "weight", name, "1", "--yes")
        crew.wait_until_changed()
        crew.wait_until_quiet()
        assert crew.the_ring().name == light.name
        still.expect_moved(heavy, light, began_s)
    expect_all_well(crew, still, load)


@pytest.mark.long
def test_two_nodes_in_one_rack_and_apart_again(crew: Operated, still: Still) -> None:
    one, other, *_ = members(crew, 4)
    apart = crew.the_ring()
    with working(crew) as load:
        load.wait_for(50)
        began_s = time.time()
        # Where the other is already: its name is the zone of a node that has none.
        crew.act(one, "zone", to=apart.members[other].zone)
        crew.wait_until_changed()
        crew.wait_until_quiet()
        together = crew.the_ring()
        assert together.members[one].zone == together.members[other].zone
        still.expect_moved(apart, together, began_s)
        let_a_second_pass()
        began_s = time.time()
        crew.aosctl("node", "zone", one, apart.members[one].zone, "--yes")
        crew.wait_until_quiet()
        assert crew.the_ring().name == apart.name
        still.expect_moved(together, apart, began_s)
    expect_all_well(crew, still, load)


def test_draining_is_undone_half_way(crew: Operated, still: Still) -> None:
    name, *_ = members(crew, 3)
    before = crew.the_ring()
    with working(crew) as load:
        load.wait_for(50)
        crew.act(name, "drain")
        crew.wait_until_copying(MIDWAY)
        assert crew.membership(name) == "draining"
        crew.aosctl("node", "undrain", name, "--yes")
        crew.wait_until_changed()
        assert crew.membership(name) == "member"
        crew.wait_until_quiet()
        assert crew.the_ring().name == before.name
        # What was copied meanwhile is gone again.
        still.expect_in_place(before)
    expect_all_well(crew, still, load)


def test_drained_with_a_pause_and_removed(crew: Operated, still: Still) -> None:
    name, *_ = members(crew, 3)
    before = crew.the_ring()
    with working(crew) as load:
        load.wait_for(50)
        foretold = crew.forecast(name, "drain")
        began_s = time.time()
        crew.act(name, "drain")
        crew.wait_until_copying(MIDWAY)
        assert crew.post("repair/pause").status == 200
        until(lambda: crew.changes()["paused"], "it pauses")
        until(lambda: expect_nothing_moves(still, load), "nothing moves", DOWN_S)
        assert crew.changes()["changing"]
        crew.aosctl("repair", "start")
        crew.wait_for(name, "drained")
        crew.wait_until_changed()
        after = crew.the_ring()
        assert set(after.members) == set(before.members) - {name}
        expect_foretold(still, load, len(still.expected(before, after)), foretold)
        still.expect_moved(before, after, began_s)
        node = crew.nodes[name]
        assert not [each for each in every_key(node) if not each.startswith("aos-system/")]
        crew.aosctl("node", "remove", name, "--yes")
        assert crew.membership(name) in ("", "removed")
        crew.let_go(name)
    expect_all_well(crew, still, load)
    assert every_key(node) == []
    assert node.client().list_buckets() == []


def expect_nothing_moves(still: Still, load: Load) -> bool:
    """Whether the copies are the same before and after what clients do for a while."""
    before = set(still.places())
    load.wait_for(100)
    return set(still.places()) == before


def every_key(node: RealNode) -> list[str]:
    """All that lies on a node, as bucket/key, whatever it is."""
    return [
        f"{bucket.name}/{key}"
        for bucket in node.client().list_buckets()
        for key in sorted(node.stored_keys(bucket.name))
        # SeaweedFS shows folders, too, that have become empty.
        if not key.endswith("/")
    ]


def test_a_node_is_added_while_another_drains(crew: Operated, still: Still) -> None:
    name, *_ = members(crew, 3)
    before = crew.the_ring()
    with working(crew) as load:
        load.wait_for(50)
        began_s = time.time()
        crew.act(name, "drain")
        crew.wait_until_copying(MIDWAY)
        new = new_name(crew)
        crew.add(new)
        crew.wait_for(name, "drained")
        # It had to wait, or came with it; either way it gets its share now.
        crew.wait_for(new, "member")
        crew.wait_until_changed()
        after = crew.the_ring()
        assert set(after.members) == {*before.members, new} - {name}
        crew.act(name, "remove")
        crew.let_go(name)
        crew.wait_until_quiet()
        still.expect_moved(before, after, began_s)
    expect_all_well(crew, still, load)


def test_a_dead_node_is_removed(crew: Operated, still: Still) -> None:
    name, *_ = members(crew, 3)
    before = crew.the_ring()
    assert "drain" in crew.refused(name, "remove")
    with working(crew) as load:
        load.wait_for(50)
        began_s = time.time()
        crew.nodes[name].kill()
        until(lambda: crew.state(name) == "down", f"{name} is down", DOWN_S)
        load.wait_for(50)
        crew.aosctl("node", "remove", name, "--yes")
        crew.wait_until_changed()
        crew.let_go(name)
        crew.wait_until_quiet()
        after = crew.the_ring()
        assert set(after.members) == set(before.members) - {name}
        still.expect_moved(before, after, began_s)
    expect_all_well(crew, still, load)


@pytest.mark.long
def test_a_node_is_lost_for_good_while_another_drains(crew: Operated, still: Still) -> None:
    draining, lost, *_ = members(crew, 4)
    before = crew.the_ring()
    with working(crew) as load:
        load.wait_for(50)
        began_s = time.time()
        crew.act(draining, "drain")
        crew.wait_until_copying(MIDWAY)
        crew.nodes[lost].kill()
        until(lambda: crew.state(lost) == "down", f"{lost} is down", DOWN_S)
        load.wait_for(50)
        # Nothing is over while somebody who could have something is away.
        assert crew.membership(draining) == "draining"
        crew.remove_lost(lost)
        crew.wait_for(draining, "drained")
        crew.wait_until_changed()
        crew.let_go(lost)
        crew.act(draining, "remove")
        crew.let_go(draining)
        crew.wait_until_quiet()
        after = crew.the_ring()
        assert set(after.members) == set(before.members) - {draining, lost}
        still.expect_moved(before, after, began_s)
    expect_all_well(crew, still, load)


@pytest.mark.long
def test_a_node_is_lost_and_back_while_another_drains(crew: Operated, still: Still) -> None:
    """Back with what it had: nothing more has to be moved than without that."""
    draining, lost, *_ = members(crew, 4)
    before = crew.the_ring()
    with working(crew) as load:
        load.wait_for(50)
        began_s = time.time()
        crew.act(draining, "drain")
        crew.wait_until_copying(MIDWAY)
        crew.nodes[lost].kill()
        until(lambda: crew.state(lost) == "down", f"{lost} is down", DOWN_S)
        load.wait_for(100)
        assert crew.membership(draining) == "draining"
        crew.nodes[lost].start_again()
        crew.wait_for(draining, "drained", 2 * CHANGED_S)
        crew.wait_until_changed()
        after = crew.the_ring()
        crew.act(draining, "remove")
        crew.let_go(draining)
        crew.wait_until_quiet()
        still.expect_moved(before, after, began_s)
    expect_all_well(crew, still, load)


def test_the_gateway_is_killed_in_the_middle_of_a_change(crew: Operated, still: Still) -> None:
    """The next one goes on with it, unasked; a weight that was to follow is still to follow."""
    draining, other, *_ = members(crew, 3)
    before = crew.the_ring()
    with working(crew) as load:
        load.wait_for(50)
        began_s = time.time()
        crew.act(draining, "drain")
        crew.act(other, "weight", to=3)
        crew.wait_until_copying(MIDWAY)
        assert [(each["node"], each["act"]) for each in crew.changes()["queue"]] == [
            (other, "weigh")
        ]
        killed_s = time.monotonic()
        crew.daemon.kill()
        crew.start_gateway().wait_until_ready()
        ready_s = time.monotonic()
        assert crew.membership(draining) == "draining"
        crew.wait_for(draining, "drained")
        crew.wait_until_changed()
        crew.act(draining, "remove")
        crew.let_go(draining)
        crew.wait_until_quiet()
        after = crew.the_ring()
        assert draining not in after.members
        assert after.members[other].weight == 3
        still.expect_moved(before, after, began_s)
    outside = [
        each for each in load.tally.failures if each.ended_s < killed_s or each.began_s > ready_s
    ]
    assert not outside, "\n".join(map(str, outside[:10]))
    load.expect_nothing_wrong()
    crew.wait_until_quiet()
    load.read_back()
    still.read_back()
    expect_load_in_place(crew, load)


def test_last_of_all_it_is_left(crew: Operated, still: Still) -> None:
    """After the load: plain objects on plain servers, and no trace of the cluster."""
    with working(crew) as load:
        load.wait_for(200)
    load.expect_no_failures()
    crew.wait_until_quiet()
    load.read_back()
    foretold = crew.post("leave", dry_run=1)
    assert foretold.status == 200, foretold
    assert "aos-system" in {
        each.name for each in next(iter(crew.nodes.values())).client().list_buckets()
    }
    crew.aosctl("leave", "--yes")
    left = until(lambda: has_left(crew), "it is left", CHANGED_S)
    assert left
    ready = crew.daemon.ask("GET", "/-/ready")
    assert ready.status == 503
    assert "left" in ready.json["reason"]
    assert crew.daemon.ask("PUT", "/object/toolate", {}, b"x").status == 503
    for node in crew.nodes.values():
        assert "aos-system" not in {each.name for each in node.client().list_buckets()}
    still.expect_on(crew.nodes.values())
    # It founds no other cluster on what it left.
    crew.daemon.kill()
    crew.start_gateway()
    until(lambda: crew.daemon.nodes()["nodes"][0]["reason"] != "", "a reason is told", DOWN_S)
    assert crew.daemon.ask("GET", "/-/ready").status == 503


def has_left(crew: Operated) -> bool:
    leaving = crew.changes()["leaving"]
    return leaving is not None and leaving["phase"] == "left"
