"""What must hold in the simulated world at every moment, whatever befalls it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from aosd.consistency.folders import above
from aosd.model.errors import ClusterError, KeyConflict
from aosd.model.versions import version_of
from aosd.testing.memory_disk import Copy
from aosd.testing.simulation.nodes import Mutation, holders
from aosd.testing.simulation.paths import bucket_of, joined, split
from aosd.testing.simulation.reference import PromiseBroken, Write
from aosd.testing.simulation.weather import MOST_STALE_S

if TYPE_CHECKING:
    from aosd.testing.simulation.operations import Operation
    from aosd.testing.simulation.world import World

_LOOKED_S = 5.0  # between a look at a node and what is sent to it because of that
_NOTICED_S = 3.0
_MAYBE_REFUSED_FROM_S = 4.5
_REFUSED_FROM_S = 7.0  # 5 s, and what whole seconds in Date and a probe's age make of it


class Promise:
    """Judges what happens; what breaks the promise is raised by the step that runs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._problems: list[str] = []
        self._touched_s: dict[str, float] = {}
        # When a node's copy of a key came by a request that nobody waited for.
        self._landed_s: dict[tuple[str, str], float] = {}

    def broken(self, why: str) -> None:
        """The promise is broken; raised by the step that runs."""
        self._world.trace(f"BROKEN: {why}")
        self._problems.append(why)

    def check_problems(self) -> None:
        """Raise what was broken."""
        if self._problems:
            raise PromiseBroken("; ".join(self._problems))

    def check(self) -> None:
        """What must hold after each step: each object that must be there lies somewhere."""
        self.check_problems()
        reference = self._world.reference
        now_s = self._world.clock.seconds()
        for key in reference.keys:
            possible = {each.value for each in reference.may_be(key, now_s)}
            if None in possible:
                continue
            lying = {copy.data for copy in self.copies(key).values()}
            if not possible & lying:
                raise PromiseBroken(f"{key} is lost: {possible} of {lying or 'nothing'}")

    def copies(self, key: str) -> dict[str, Copy]:
        """Who has the key, running or not, of those that count."""
        counts = self._world.operator.counts
        counting = [node for name, node in self._world.nodes.items() if counts(name)]
        return holders(counting, *split(key))

    def effective(self, key: str, copy: Copy) -> str:
        """The stamp that a copy counts as, for the gateway that there is."""
        gateway = self._world.gateway

        def counts_as(stamp: str) -> str:
            if gateway is None or not gateway.assembly.beginning.ready:
                return stamp
            return gateway.assembly.journal.counts_as(*split(key), stamp)

        return version_of(copy.head, counts_as).stamp

    # -- what nodes do ----------------------------------------------------------------------------

    def mutated(self, mutation: Mutation) -> None:
        """A request changed an object: nothing newer is to be lost by that."""
        world = self._world
        key = joined(mutation.bucket, mutation.key)
        before, after = mutation.before, mutation.after
        self._touched_s[key] = mutation.at_s
        late = " late" if mutation.late else ""
        if mutation.late:
            world.tally["carried out when nobody waited"] += 1
        if world.is_tracing:
            world.trace(f"    {mutation.node} {key}: {shown(before)} -> {shown(after)}{late}")
        place = mutation.node, key
        landed_s = self._landed_s.pop(place, float("-inf"))
        if mutation.late:
            self._landed_s[place] = mutation.at_s
        if mutation.late or before is None or world.gateway is None:
            return
        if mutation.at_s - landed_s < _LOOKED_S:
            return  # it came after the look, and nobody had been told of it
        if not world.operator.counts(mutation.node):
            return
        was = self.effective(key, before)
        deleted = world.gateway.assembly.journal.delete_of(*split(key)) or ""
        if was < deleted:
            return
        if after is not None:
            if self.effective(key, after) < was:
                self.broken(f"something newer of {key} was overwritten on {mutation.node}")
        elif not any(
            self.effective(key, copy) >= was
            for name, copy in self.copies(key).items()
            if name != mutation.node
        ):
            self.broken(f"the last copy of {key} was removed, from {mutation.node}")

    # -- what clients are answered ----------------------------------------------------------------

    def error_answered(self, operation: Operation, error: BaseException) -> None:
        """A client got an error of the cluster's: right only where something is wrong."""
        of_clocks = isinstance(error, ClusterError) and "clocks" in str(error)
        if not self._world.faulty and not (of_clocks and self.most_clocks_differ()):
            self.broken(f"{operation.what}: {error}, and there was no fault")
        elif of_clocks:
            self._world.tally["write refused: clocks"] += 1

    def most_clocks_differ(self) -> bool:
        """Whether those of most members, by now, may be too far from the gateway's for writes."""
        world = self._world
        told = [
            abs(world.nodes[name].ahead_s - world.gateway_ahead_s)
            for name in world.operator.members()
            if name in world.nodes
        ]
        return 2 * sum(each > _MAYBE_REFUSED_FROM_S for each in told) > len(told)

    def acknowledged(self, operation: Operation, began_s: float) -> None:
        """A write was that began then: not with a clock that all nodes say is wrong."""
        world = self._world
        if world.clock_wrong_since_s + _NOTICED_S > began_s or world.gateway is None:
            return
        ours_s = world.gateway.clock.ahead_s
        if all(abs(node.ahead_s - ours_s) > _REFUSED_FROM_S for node in world.nodes.values()):
            self.broken(f"{operation.what} was taken with a clock that is {ours_s:+g} s off")

    def stands(self, write: Write, what: str) -> None:
        """A write that was just acknowledged lies on R nodes, unless something newer may.

        Of those some may have lost it by now.
        """
        world = self._world
        if world.reference.may_be(write.key, world.clock.seconds()) != [write]:
            return
        lying = [each for each in self.copies(write.key).values() if each.data == write.value]
        lossy = [each for each in world.machines.values() if each.shifted_s >= write.began_s]
        if len(lying) + len(lossy) < min(world.replicas, world.operator.in_ring()):
            raise PromiseBroken(f"{what} was acknowledged, and lies on {len(lying)} nodes")

    def listed(self, found: Collection[str], prefix: str, began_s: float, what: str) -> None:
        """A listing of one level that began then, and ends now, has these paths.

        It has every key whose acknowledged write was there when it began, and none that was
        deleted by then; of a key that is being changed it may have either. Where a node may
        answer with a page of before, that holds for what was so, and at rest on the nodes,
        since then. What hides others counts as they do: a dead copy may be in the way.
        """
        world, reference = self._world, self._world.reference
        keys = list(found)
        if keys != sorted(set(keys)):
            raise PromiseBroken(f"{what} isn't sorted: {keys}")
        if strangers := set(keys) - set(reference.keys):
            raise PromiseBroken(f"{what} has what nobody wrote: {strangers}")
        stale = began_s < world.stale_until_s
        since_s = began_s - (MOST_STALE_S if stale else 0.0)
        for key in reference.keys:
            if not key.startswith(prefix) or "/" in key.removeprefix(prefix):
                continue
            if bucket_of(key) != bucket_of(prefix):
                continue
            if stale and self._at_rest_since_s(key) > since_s:
                continue
            there = {each.value is not None for each in reference.may_be(key, since_s)}
            if (key in keys) in there:
                continue
            word = "has" if key in keys else "lacks"
            raise PromiseBroken(f"{what} {word} {key}: {keys}")

    def may_have_objects(self, bucket: str, began_s: float) -> bool:
        """Whether who looked into a bucket since then may have found something.

        Where a node may answer with a page of before, what was there then counts, too.
        """
        world, reference = self._world, self._world.reference
        keys = [key for key in reference.keys if bucket_of(key) == bucket]
        if any(each.value is not None for key in keys for each in reference.may_be(key, began_s)):
            return True
        stale = began_s < world.stale_until_s
        return stale and any(self._at_rest_since_s(key) > began_s - MOST_STALE_S for key in keys)

    def _at_rest_since_s(self, key: str) -> float:
        """Since when no copy of it was made, changed, removed, or lost."""
        shifted_s = max(node.shifted_s for node in self._world.machines.values())
        return max(shifted_s, self._touched_s.get(key, float("-inf")))

    def conflicted(self, key: str, code: str, began_s: float, what: str) -> None:
        """A write that began then was refused for the sake of another key, or a bucket's delete."""
        world, reference = self._world, self._world.reference
        bucket, _ = split(key)
        if code == KeyConflict.code and self._may_be_deleted(bucket, began_s):
            world.tally["refused: its bucket is being deleted"] += 1
            return
        folders = above(key)
        beneath = [each for each in reference.keys if each.startswith(f"{key}/")]
        if not any(node.kind.hides_beneath for node in world.nodes.values()):
            raise PromiseBroken(f"{what} was refused ({code}), where nothing is hidden")
        others = {
            "XMinioParentIsObject": folders,
            "XMinioObjectExistsAsDirectory": beneath,
        }.get(code)
        if others is None:
            others = [each for each in (*folders, *beneath) if each in reference.keys]
            well = bool(others)
        else:
            well = any(
                write.value is not None
                for each in others
                if each in reference.keys
                for write in reference.may_be(each, began_s)
            )
        if not well:
            raise PromiseBroken(f"{what} was refused ({code}), and nothing is in its way: {others}")
        world.tally[f"refused: {code}"] += 1

    def _may_be_deleted(self, bucket: str, began_s: float) -> bool:
        buckets = self._world.buckets
        known = bucket in buckets.keys
        return known and any(each.value is None for each in buckets.may_be(bucket, began_s))


def shown(copy: Copy | None) -> str:
    """A copy, for people."""
    if copy is None:
        return "-"
    return f"{copy.data[:8].decode('latin-1')}…{len(copy.data)}@{(copy.stamp or 'none')[6:17]}"
