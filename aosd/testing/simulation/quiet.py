"""Quiet: everything is healed, the gateway comes to the end of its work, and all is looked at."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aosd.consistency.buckets import CLOSED, LIVE, Bucket
from aosd.consistency.folders import above
from aosd.consistency.registers import KINDS
from aosd.model.marker import MARKER_KEY, read_marker
from aosd.model.node import NodeState
from aosd.model.objects import STAMP_HEADER, SYSTEM_BUCKET, Headers
from aosd.model.quorum import memory_acks
from aosd.model.stamp import stamp_time_s
from aosd.model.standing import Act
from aosd.testing.memory_disk import Copy
from aosd.testing.simulation.nodes import SimulatedNode
from aosd.testing.simulation.operators import OUT
from aosd.testing.simulation.paths import bucket_of, split
from aosd.testing.simulation.promise import shown
from aosd.testing.simulation.reference import PromiseBroken

if TYPE_CHECKING:
    from aosd.testing.simulation.world import World

_PATIENCE_S = 6 * 3600.0
_DAY_S = 86400.0
_TIDY_S = 3600.0
_UPLOADS_S = 1800.0
_ORPHAN_S = 7 * _DAY_S
_CLOCKS_MAY_DIFFER_S = 4.0


def heal(world: World) -> None:
    """Nothing is wrong any more, and everything is there."""
    world.ambushes.clear()
    for node in world.nodes.values():
        node.weather.chances = {}
        node.full = False
        node.thaw()
        if not node.running:
            node.start()
    world.stale_until_s = world.clock.seconds() + 30.0
    if abs(world.gateway_ahead_s) > _CLOCKS_MAY_DIFFER_S:
        world.set_gateway_clock(0.0)
    world.look_around()
    if world.gateway is None:
        world.start_gateway()


def why_not_quiet(world: World) -> str:
    """What the gateway has left to do; "" for nothing."""
    gateway = world.gateway
    if gateway is None or gateway.stopping:
        return "no gateway"
    if not world.is_ready:
        return f"not ready: {world.why_not_ready()}"
    if gateway.operations:
        return "requests in flight"
    assembly = gateway.assembly
    if why := world.operator.why_not_done():
        return why
    for candidate in assembly.roster.members():
        if candidate.state is not NodeState.UP:
            return f"{candidate.name} is {candidate.state}"
    if assembly.changing:
        return "the ring is changing"
    if len(assembly.marks):
        return f"marks: {[mark for _, mark in assembly.marks.all()]}"
    for key in world.reference.keys:
        if why := gateway.store.why_unsettled(*split(key)):
            return f"{key}: {why}"
    for bucket in assembly.buckets.all():
        if bucket.state == CLOSED:
            return f"the bucket {bucket.name} is being deleted"
    return ""


def become_quiet(world: World) -> None:
    """Heal everything, and wait until all is settled, and stays so."""
    world.trace("quiet")
    heal(world)
    began_s = world.clock.seconds()
    until_s = began_s + _PATIENCE_S
    still, waited = 0, False
    while still < 2:
        if world.clock.seconds() > until_s:
            raise PromiseBroken(f"it doesn't become quiet: {why_not_quiet(world)}")
        if world.gateway is None:
            world.start_gateway()
        _operate(world, patient=world.clock.seconds() < began_s + _TIDY_S)
        if not waited and world.clock.seconds() > began_s + _UPLOADS_S:
            waited = _wait_for_uploads(world)
            until_s = world.clock.seconds() + _PATIENCE_S if waited else until_s
        # What happened just now has to be noticed first.
        world.pass_time(2.5)
        if why_not_quiet(world):
            still = 0
            world.sleep(120.0)
        else:
            still += 1
            world.sleep(20.0)
    world.all_idle()
    world.trace("all is quiet")


def _operate(world: World, *, patient: bool) -> None:
    """Who is gone for ever is removed, as soon as that can be; who was to be adopted, is.

    The first in the end even if it is refused: so few were lost that nothing was. The other once
    more if its disk is one of before it was. One node's clock may be off, and stays so, unless
    others were let go until it is most of those that are left.
    """
    operator = world.operator
    if world.promise.most_clocks_differ():
        for node in world.nodes.values():
            node.ahead_s = 0.0
        world.trace("the nodes' clocks are set right")
        world.tally["the nodes' clocks are set right"] += 1
    if world.gateway is not None and world.is_ready and world.gateway.assembly.keeper.paused:
        world.wait(world.pauses(paused=False))
    verbs = {name: "remove" for name in world.gone if operator.membership(name) not in (*OUT, None)}
    verbs |= dict.fromkeys((*operator.asked_for, *operator.fallen_back), "adopt")
    for name, verb in verbs.items():
        if world.is_ready and not operator.wanted(name).acting:
            how: dict[str, bool] = {"lose": True} if verb == "remove" and not patient else {}
            if "would be left" in world.wait(world.acts(verb, name, **how)).outcome:
                _take_back(world)


def _take_back(world: World) -> None:
    """What waits is undone, one by one, where all but those that are lost would be drained."""
    assert world.gateway is not None
    for name, queued in world.gateway.assembly.changes.queue():
        if queued.act is Act.DRAIN and not world.operator.wanted(name).acting:
            world.wait(world.acts("undo", name))
            return


def _wait_for_uploads(world: World) -> bool:
    """A node isn't drained before what is open on it is over: clients abort it, or time does."""
    changes = world.operator.changes
    if changes is None or changes.phase() != "emptying" or not has_open_uploads(world):
        return False
    world.trace("what is open on a draining node ends")
    for upload in world.uploads:
        if not upload.ending and world.is_ready:
            world.wait(world.abort_upload(upload))
    world.sleep(300.0)
    if why_not_quiet(world) and has_open_uploads(world):
        world.tally["a drain waits for uploads that nobody ends"] += 1
        world.sleep(8 * _DAY_S, leap_s=6 * 3600.0)
    return True


def check_quiet(world: World) -> None:
    """After quiet: equal copies in their places, nowhere else; and clients find them."""
    check_objects(world)
    check_memory(world)
    faulty, world.faulty = world.faulty, False
    world.wait(world.list_buckets())
    for key in sorted(world.reference.keys):
        world.wait(world.get(key))
        world.wait(world.get(key, newest=True))
        world.wait(world.head(key))
    for bucket in ["object", *world.buckets.keys]:
        names = [key for of, key in map(split, world.reference.keys) if of == bucket]
        world.wait(world.list(2, bucket=bucket))
        world.wait(world.list_uploads(bucket))
        for prefix in sorted({name.rpartition("/")[0] for name in names} - {""}):
            world.wait(world.list(2, f"{prefix}/", bucket=bucket))
    world.faulty = faulty
    world.check()


def check_objects(world: World) -> None:
    """Exactly R equal copies of each object lie in their places."""
    now_s = world.clock.seconds()
    brought = world.operator.brought
    for key in sorted(world.reference.keys):
        if _bucket(world, bucket_of(key)) is None:
            continue  # see _wrong_buckets
        possible = {each.value for each in world.reference.may_be(key, now_s)}
        copies = world.copies(key)
        wanted = {node.name for node in world.primaries(key)}
        versions = {
            (copy.data, copy.etag, world.effective(key, copy), _headers(copy))
            for copy in copies.values()
        }
        told = {name: shown(copy) for name, copy in copies.items()}
        if not copies:
            if None not in possible:
                raise PromiseBroken(f"after quiet {key} is gone")
            continue
        hidden = [each for each in above(key) if world.copies(each) and key not in brought]
        if hidden and any(node.kind.hides_beneath for node in _members(world)):
            raise PromiseBroken(f"after quiet {key} and {hidden} are objects")
        if len(versions) > 1:
            raise PromiseBroken(f"after quiet the copies of {key} differ: {told}")
        if copies.keys() != wanted:
            raise PromiseBroken(f"after quiet {key} lies on {sorted(copies)}, not {sorted(wanted)}")
        ((data, *_),) = versions
        if data not in possible:
            raise PromiseBroken(f"after quiet {key} is {told}, not one of {possible}")


def _headers(copy: Copy) -> Headers:
    """All but the stamp; that of a foreign object is written out on its copies alone."""
    return tuple(sorted(each for each in copy.headers if each[0] != STAMP_HEADER))


# -- the cluster's memory --------------------------------------------------------------------------


def check_memory(world: World) -> None:
    """After quiet: no marks on any node, no upload that nobody will abort, one set of registers."""
    world.trace("what is left over goes")
    until_s = world.clock.seconds() + _TIDY_S
    while left := _left_over(world):
        if world.clock.seconds() > until_s:
            raise PromiseBroken(f"after quiet {left}")
        world.sleep(120.0)
    remembered = _remembered_uploads(world)
    for node in _members(world):
        for upload_id, upload in node.disk.uploads.items():
            if (node.name, upload_id) not in remembered:
                told = f"{upload_id} of {upload.key} is open on {node.name}"
                raise PromiseBroken(f"after quiet {told}, and nobody knows")


def _left_over(world: World) -> str:
    """A record that somebody has to remove yet; "" for none."""
    gateway = world.gateway
    assert gateway is not None
    for name, key, _ in _records(world, "marks/"):
        return f"{name} still has {key}"
    for name, key, _ in _records(world, "gateways/"):
        if gateway.assembly.run not in key:
            return f"{name} still has {key}, of a run that is over"
    for name, key, _ in _records(world, "uploads/"):
        if _is_old(world, key):
            return f"{name} still has {key}"
    if why := _wrong_buckets(world) or _open_though_over(world):
        return why
    of_clients: dict[str, set[str]] = defaultdict(set)
    for bucket in ("object", *world.buckets.keys):
        for known in gateway.store.uploads.of_clients(bucket):
            for name, upload_id in known.ids.items():
                of_clients[name].add(upload_id)
    for node in _members(world):
        for upload_id, upload in node.disk.uploads.items():
            if node.told.get(upload_id) is gateway.clock and upload_id not in of_clients[node.name]:
                return f"{node.name} has {upload_id} of {upload.key} open"
    return _wrong_registers(world)


def _bucket(world: World, name: str) -> Bucket | None:
    """The bucket as the gateway knows it; None when there is none."""
    assert world.gateway is not None
    found = world.gateway.assembly.buckets.get(name)
    return found if found is not None and found.state == LIVE else None


def _open_though_over(world: World) -> str:
    """An upload that was completed or aborted, and is open on a node; "" for none.

    But for nodes that were removed: what lies there is nobody's to touch.
    That one was completed a run before may have known alone. So it may that one was aborted, where
    all its nodes had ended it, and one of them fell back since then: nobody else has it on record.
    It goes by its age then.
    """
    for upload in world.uploads:
        known = upload.over_run is world.gateway
        if upload.over == "completed" and not known:
            continue
        for name, upload_id in upload.ids.items() if upload.over else ():
            node = world.nodes.get(name)
            if node is None or upload_id not in node.disk.uploads:
                continue
            if world.operator.membership(name) in OUT:
                continue
            if known or node.shifted_s < upload.over_s:
                return f"{name} has {upload_id} of {upload.path} open, which was {upload.over}"
    return ""


def _wrong_buckets(world: World) -> str:
    """A node that lacks a bucket, or has one that was deleted, with whatever is in it."""
    assert world.gateway is not None
    for name in world.buckets.keys:
        there = _bucket(world, name) is not None
        # One that nobody came to remember may be there, empty.
        unknown = world.gateway.assembly.buckets.get(name) is None
        for node in _members(world):
            if unknown and not node.disk.buckets.get(name):
                continue
            if (name in node.disk.buckets) is not there:
                return f"{node.name} {'lacks' if there else 'has'} the bucket {name}"
    return ""


def check_orphans_go(world: World) -> None:
    """Whatever a run left open on members, and remembered, is aborted after seven days."""
    remembered = _remembered_uploads(world)
    world.trace("eight days pass, for the uploads left open")
    world.sleep(60.0)
    world.sleep(8 * _DAY_S, leap_s=6 * 3600.0)
    for node in _members(world):
        for upload_id in node.disk.uploads:
            if (node.name, upload_id) in remembered:
                raise PromiseBroken(f"{upload_id} on {node.name} is still open after eight days")
    if has_open_uploads(world):
        # One that landed when this run had read its node already is the next one's.
        world.tally["record of an upload that landed late"] += 1
        world.kill_gateway()
        world.start_gateway()
        world.until_ready()
        world.sleep(180.0)
    for name, key, _ in _records(world, "uploads/"):
        raise PromiseBroken(f"after eight days {name} still has {key}")
    world.tally["orphaned upload aborted"] += len(remembered)


def has_open_uploads(world: World) -> bool:
    """Whether any record says that an upload is open."""
    return any(True for _ in _records(world, "uploads/"))


def _remembered_uploads(world: World) -> set[tuple[str, str]]:
    """Node and id of all open uploads of which some node has a record."""
    remembered: set[tuple[str, str]] = set()
    for _, _, data in _records(world, "uploads/"):
        told = json.loads(data)
        remembered |= {
            (name, upload_id)
            for name in told["nodes"]
            if name in world.nodes
            for upload_id, upload in world.nodes[name].disk.uploads.items()
            if (upload.bucket, upload.key) == (told["bucket"], told["key"])
        }
    return remembered


def _wrong_registers(world: World) -> str:
    """A register that isn't what it is known to be; an older value may have landed late."""
    gateway = world.gateway
    assert gateway is not None
    found: dict[str, dict[str, str]] = {}
    for kind in KINDS:
        for name, key, data in _records(world, f"{kind}/"):
            found.setdefault(key, {})[name] = data.decode()
    wanted = memory_acks(world.replicas, len(_members(world)))
    for key, told in found.items():
        kind, _, name = key.partition("/")
        register = gateway.assembly.recall.registers.get(kind, name)
        if register is None and name in world.buckets.keys:
            continue  # its making failed; it may be there for a run that follows
        stamps = {name: str(json.loads(data)["stamp"]) for name, data in told.items()}
        newest = max(stamps.values())
        values = {data for name, data in told.items() if stamps[name] == newest}
        if len(values) > 1 or sum(stamp == newest for stamp in stamps.values()) < wanted:
            return f"the register {key} is {told}"
        if register is None or register.stamp != newest:
            return f"{register} is known, and on nodes lies {told}"
    clusters: set[str] = set()
    for node in _members(world):
        if (found_there := node.copy(SYSTEM_BUCKET, MARKER_KEY)) is None:
            return f"{node.name} has no marker"
        marker = read_marker(node.name, found_there.data)
        clusters.add(marker.cluster)
        register = gateway.assembly.recall.registers.get("members", node.name)
        if (
            marker.node != node.name
            or register is None
            or register.value.get("state") != "member"
            or register.value.get("incarnation") != marker.incarnation
        ):
            return f"{marker} lies on {node.name}, known as {register}"
    if len(clusters) > 1:
        return f"there are two clusters: {clusters}"
    return ""


def _members(world: World) -> list[SimulatedNode]:
    """All but those that are gone for ever, which may wait yet to be removed."""
    return [world.nodes[name] for name in world.operator.members() if name in world.nodes]


def _records(world: World, prefix: str) -> Iterator[tuple[str, str, bytes]]:
    """Node, key and bytes of everything under `prefix` in the cluster's memory."""
    for node in _members(world):
        for key, copy in node.disk.buckets.get(SYSTEM_BUCKET, {}).items():
            if key.startswith(prefix):
                yield node.name, key, copy.data


def _is_old(world: World, key: str) -> bool:
    """Whether the orphan abort should have been at it, by the gateway's clock."""
    gateway = world.gateway
    assert gateway is not None
    return stamp_time_s(key.rpartition("/")[2]) < gateway.clock.now() - _ORPHAN_S - 600.0
