"""The operator of the simulated store: acts of membership, and what must come of each.

world.acts("drain", "n2")            # returns an Acting at once
world.operator.bring(node, ...)      # a node with objects that aosd didn't write
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aosd.model.errors import BadRequest, ChangeRefused, NoSuchNode
from aosd.model.objects import OBJECT_BUCKET
from aosd.model.standing import Act, Membership, Place, Standing, ring_members
from aosd.testing.simulation.nodes import SimulatedNode
from aosd.testing.simulation.operations import Operation
from aosd.testing.simulation.paths import bucket_of, split
from aosd.testing.simulation.reference import PromiseBroken, Write

if TYPE_CHECKING:
    from aosd.cluster.changes import Changes
    from aosd.testing.simulation.world import World

OUT = (Membership.REMOVING, Membership.REMOVED)


@dataclass
class Wanted:
    """What may become of a node, by what was accepted; more than one where nobody knows.

    `acting` counts the acts on it that are under way.
    """

    memberships: set[Membership] = field(default_factory=lambda: {Membership.MEMBER})
    weights: set[float] = field(default_factory=lambda: {1.0})
    zones: set[str] = field(default_factory=set)
    acting: int = 0

    def allows(self, come: Standing) -> bool:
        """Whether that may come of it."""
        if come.membership not in self.memberships:
            return False
        if come.membership is not Membership.MEMBER:
            return True
        return come.place.weight in self.weights and come.place.zone in self.zones


@dataclass(eq=False)
class Brought:
    """An object that a node held before it was adopted; `write` once that was asked for."""

    path: str
    data: bytes
    modified_s: float
    etag: str
    write: Write | None = None


def end_of(standing: Standing) -> Standing:
    """What a node comes to when all that is under way with it, and queued for it, is over."""
    membership, place = standing.membership, standing.coming or standing.place
    queued = standing.queued
    if queued is not None:
        if queued.act in (Act.JOIN, Act.UNDRAIN):
            membership = Membership.MEMBER
        elif queued.act is Act.DRAIN:
            membership = Membership.DRAINING
        elif queued.act is Act.REMOVE:
            membership = Membership.REMOVING
        place = Place(
            place.weight if queued.weight is None else queued.weight,
            place.zone if queued.zone is None else queued.zone,
        )
    over = {
        Membership.JOINING: Membership.MEMBER,
        Membership.DRAINING: Membership.DRAINED,
        Membership.REMOVING: Membership.REMOVED,
    }
    return Standing(standing.name, over.get(membership, membership), place)


def _new_place(name: str) -> Place:
    """What a node gets that comes, or comes again after it was removed: as discovery has it."""
    return Place(1.0, name)


class Acting(Operation):
    """An act of the operator's: `verb` is the method of Changes that it calls."""

    expected = (NoSuchNode, ChangeRefused, BadRequest, *Operation.expected)

    def __init__(self, world: World, verb: str, name: str, **how: Any) -> None:
        super().__init__(world)
        self.verb = verb
        self.name = name
        self.how = how
        self.refused = False
        told = "".join(f" {key}={value}" for key, value in how.items())
        self.what = f"OPERATOR {verb} {name}{told}"
        # Adopted once more, on a disk of before that, it is what it has been.
        self._changes_nothing = verb == "adopt" and world.operator.counts(name)
        self._wanted = world.operator.asked(name, verb, **how)
        self._alone = self._wanted.acting == 1

    def _run(self) -> Coroutine[Any, Any, Any]:
        act = getattr(self._gateway.assembly.changes, self.verb)
        running: Coroutine[Any, Any, Any] = act(self.name, **self.how)
        return running

    def _done(self, result: Any) -> str:
        world, wanted = self._world, self._wanted
        world.tally[f"operator: {self.verb}"] += 1
        if self.verb == "adopt":
            # Consent is remembered by the marker that the node gets, and not before.
            wanted.acting -= 1
            self._perhaps()
            return "accepted"
        if result is None:  # a consent was taken back, or came to be a marker just before
            wanted.acting -= 1
            self._perhaps()
            return "accepted"
        come = end_of(result)
        if self.verb in _COMES_TO and come.membership is not _COMES_TO[self.verb]:
            raise PromiseBroken(f"{self.what} was accepted, and {come} comes of it")
        if self.verb == "weigh" and come.place.weight != self.how["weight"]:
            raise PromiseBroken(f"{self.what} was accepted, and {come} comes of it")
        if self.verb == "rezone" and come.place.zone != self.how["zone"]:
            raise PromiseBroken(f"{self.what} was accepted, and {come} comes of it")
        wanted.acting -= 1
        if self.verb == "undrain" and result.queued is not None:
            # Once more it has to be empty when that begins.
            wanted.memberships.add(Membership.DRAINED)
            wanted.memberships.add(come.membership)
        elif self._alone and not wanted.acting:
            place = _new_place(self.name) if self.verb == "remove" else come.place
            wanted.memberships = {come.membership}
            wanted.weights, wanted.zones = {place.weight}, {place.zone}
        else:
            self._perhaps()
            wanted.memberships.add(come.membership)
        return f"accepted: {result}"

    def _failed(self, error: BaseException | None) -> None:
        self._wanted.acting -= 1
        if isinstance(error, NoSuchNode | ChangeRefused | BadRequest):
            self.refused = True
            self._world.tally[f"operator: {self.verb} refused"] += 1
        else:
            self._world.tally[f"operator: {self.verb} unanswered"] += 1
            self._perhaps()

    def _perhaps(self) -> None:
        """It may have been accepted, and may not."""
        wanted = self._wanted
        if self._changes_nothing:
            return
        if self.verb == "undo":
            wanted.memberships |= {Membership.MEMBER, Membership.DRAINED}
            wanted.weights |= self._world.operator.weights
            wanted.zones |= self._world.operator.zones
        elif self.verb == "weigh":
            wanted.weights.add(self.how["weight"])
        elif self.verb == "rezone":
            wanted.zones.add(self.how["zone"])
        else:
            wanted.memberships.add(_COMES_TO[self.verb])
            if self.verb == "remove":
                place = _new_place(self.name)
                wanted.weights.add(place.weight)
                wanted.zones.add(place.zone)


class Pausing(Operation):
    """Repair is paused, or goes on if it was."""

    def __init__(self, world: World, *, paused: bool) -> None:
        super().__init__(world)
        self._paused = paused
        self.what = f"OPERATOR {'pauses' if paused else 'resumes'} repair"

    def _run(self) -> Coroutine[Any, Any, Any]:
        keeper = self._gateway.assembly.keeper
        return keeper.pause() if self._paused else keeper.resume()

    def _done(self, result: Any) -> str:
        self._world.tally["operator: repair paused" if self._paused else "repair goes on"] += 1
        return "accepted"


_COMES_TO = {
    "drain": Membership.DRAINED,
    "undrain": Membership.MEMBER,
    "remove": Membership.REMOVED,
    "adopt": Membership.MEMBER,
}


class Operator:
    """What the operator has asked for, and what is so: kept by `watch`, after each step.

    `foreign` are the objects of nodes that weren't adopted when they came, by node name.
    """

    def __init__(self, world: World) -> None:
        self.foreign: dict[str, list[Brought]] = {}
        self.weights: set[float] = {1.0}
        self.zones: set[str] = set()
        self._world = world
        # Buckets that came with nodes.
        self._buckets: dict[str, Write] = {}
        self._wanted: dict[str, Wanted] = {}
        self._standings: dict[str, Standing] = {}
        self._drained_s: dict[str, float] = {}

    # -- what is wanted ---------------------------------------------------------------------------

    def wanted(self, name: str) -> Wanted:
        """What may become of a node."""
        found = self._wanted.get(name)
        if found is None:
            found = self._wanted[name] = Wanted(zones={name})
        return found

    def asked(self, name: str, verb: str, weight: float = 1.0, zone: str = "", **_: Any) -> Wanted:
        """An act is on its way, which is counted as `acting` until it is over."""
        wanted = self.wanted(name)
        wanted.acting += 1
        self.weights.add(weight)
        self.zones |= {name, zone or name}
        if verb == "adopt":
            self._adoption_asked(name)
        return wanted

    @property
    def changes(self) -> Changes | None:
        """What the gateway that serves knows; None while none does."""
        gateway = self._world.gateway
        if gateway is None or not gateway.lives or not gateway.assembly.beginning.ready:
            return None
        return getattr(gateway.assembly, "changes", None)

    def standing(self, name: str) -> Standing | None:
        """As the gateway that serves knows it, or the last one knew."""
        return self._standings.get(name)

    def membership(self, name: str) -> Membership | None:
        """Where it stands."""
        standing = self._standings.get(name)
        return None if standing is None else standing.membership

    def counts(self, name: str) -> bool:
        """Whether what lies there is part of the store, for all that the gateway says by now.

        It may have taken the node in, or let it go, in the middle of a step.
        """
        if name in self._world.gone:
            return False
        changes = self.changes
        standing = None if changes is None else changes.standing(name)
        standing = standing or self._standings.get(name)
        return name not in self.foreign if standing is None else standing.membership.counts

    def members(self) -> list[str]:
        """The nodes that count as members now."""
        return [each.name for each in self._standings.values() if each.membership.counts]

    def in_ring(self) -> int:
        """How many nodes are in the ring: in the smallest that counts, or did at the last step."""
        changes = self.changes
        before = list(self._standings.values())
        now = before if changes is None else changes.standings()
        return min(
            len(ring_members(each, former=former))
            for each in (before, now)
            for former in (False, True)
        )

    def why_not_done(self) -> str:
        """What was accepted and isn't carried out; "" for nothing."""
        changes = self.changes
        if changes is None:
            return "no gateway"
        if queue := changes.queue():
            return f"in the queue: {queue}"
        if changes.changing:
            moving = [each for each in changes.standings() if each.moves or each.strays]
            return f"the ring is changing ({changes.phase()}, {changes.waiting_for()}): {moving}"
        world = self._world
        for name in world.machines:
            standing = changes.standing(name)
            if standing is None:
                if name in self.waiting and name not in self.asked_for:
                    continue
                if name in world.gone and name not in self._standings:
                    continue  # it was lost before anybody knew of it
                return f"{name} isn't known yet: {self._why(name)}"
            if not self.wanted(name).allows(standing):
                return f"{standing} isn't what is wanted: {self.wanted(name)}"
            if name in world.gone and standing.membership is not Membership.REMOVED:
                return f"{name} is gone for ever, and {standing.membership}"
        return ""

    def _why(self, name: str) -> str:
        gateway = self._world.gateway
        watched = None if gateway is None else gateway.assembly.roster.watched.get(name)
        return "not seen" if watched is None else watched.why

    # -- nodes that held objects before -----------------------------------------------------------

    def bring(self, node: SimulatedNode, path: str, data: bytes, modified_s: float) -> Brought:
        """A node that isn't a member yet holds this."""
        copy = node.brings(*split(path), data, modified_s)
        brought = Brought(path, data, modified_s, copy.etag)
        self.foreign.setdefault(node.name, []).append(brought)
        return brought

    def _adoption_asked(self, name: str) -> None:
        """From now on what it holds may be seen."""
        world = self._world
        for each in self.foreign.get(name, ()):
            if each.write is None:
                each.write = world.reference.brought(each.path, each.data, each.modified_s)
                bucket = bucket_of(each.path)
                if bucket != OBJECT_BUCKET and bucket not in self._buckets:
                    self._buckets[bucket] = world.buckets.brought(bucket, b"", 0.0)

    @property
    def asked_for(self) -> list[str]:
        """Those of them that somebody has asked for already."""
        return [
            name
            for name in self.waiting
            if any(each.write is not None for each in self.foreign[name])
        ]

    @property
    def fallen_back(self) -> list[str]:
        """Members whose disks are as they came: nobody takes those in unless it is asked again."""
        nodes = self._world.nodes
        return [
            name
            for name in self.foreign
            if name in nodes
            and self.membership(name) is not None
            and self.counts(name)
            and nodes[name].marker is None
            and nodes[name].has_objects
        ]

    @property
    def brought(self) -> set[str]:
        """The paths of all that nodes came with."""
        return {each.path for all_of_it in self.foreign.values() for each in all_of_it}

    @property
    def waiting(self) -> list[str]:
        """Nodes that nobody has adopted yet."""
        return [name for name in self.foreign if self.membership(name) is None]

    def holds_alone(self, name: str) -> bool:
        """Whether it may hold what it came with alone."""
        standing = self._standings.get(name)
        return name in self.foreign and (standing is None or standing.strays)

    # -- what is so -------------------------------------------------------------------------------

    def watch(self) -> None:
        """What the gateway says of each node now: it must be asked for, and be so."""
        changes = self.changes
        if changes is None:
            return
        for standing in changes.standings():
            before = self._standings.get(standing.name)
            if standing == before:
                continue
            self._standings[standing.name] = standing
            if before is None or before.membership is not standing.membership:
                self._world.trace(f"        {standing.name} is {standing.membership}")
            self._came_to(standing, None if before is None else before.membership)
        for name in self._drained_s:
            self._check_drained(name)
        for node in self._world.nodes.values():
            if self.membership(node.name) not in (None, *OUT):
                node.misused = ""  # it came back meanwhile, and was asked before that was seen here
            if node.misused:
                raise PromiseBroken(f"{node.name} is out, and was asked to {node.misused}")
            if not node.has_objects and node.barred_since_s < float("inf"):
                node.was_blank = True

    def _came_to(self, standing: Standing, before: Membership | None) -> None:
        world, name = self._world, standing.name
        wanted = self.wanted(name)
        node = world.machines.get(name)
        if node is None:
            raise PromiseBroken(f"{name} isn't a node: {standing}")
        come = end_of(standing)
        if before in OUT and come.membership is Membership.MEMBER and node.was_blank:
            wanted.memberships.add(Membership.MEMBER)  # it came back, and empty
        if not wanted.acting and not wanted.allows(come):
            raise PromiseBroken(f"nobody asked for {standing}: {wanted}")
        if standing.membership not in OUT:
            node.barred_since_s = float("inf")
            node.was_blank = False
        elif before not in OUT:
            node.barred_since_s = world.clock.seconds()
        if standing.membership is Membership.DRAINED:
            if before is not Membership.DRAINED:
                self._drained_s[name] = world.clock.seconds()
                world.tally["a node is drained"] += 1
        else:
            self._drained_s.pop(name, None)
        if standing.membership is Membership.REMOVED and before is not Membership.REMOVED:
            world.tally["a node is removed"] += 1
        if standing.membership.counts:
            self._adopted(name)

    def _adopted(self, name: str) -> None:
        world = self._world
        for each in self.foreign.get(name, ()):
            if each.write is None or each.write.known_s is not None:
                continue
            world.tally["an object is adopted"] += 1
            world.reference.adopted(each.write, each.etag)
            bucket = self._buckets.get(bucket_of(each.path))
            if bucket is not None and bucket.known_s is None:
                world.buckets.adopted(bucket)

    def _check_drained(self, name: str) -> None:
        node = self._world.machines[name]
        if node.shifted_s >= self._drained_s[name]:
            return  # what lies there now isn't what it held then
        if left := node.objects():
            raise PromiseBroken(f"{name} is drained, and holds {left}")
