"""Which buckets there are: a register each, so that a node that was away brings none back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from aosd.consistency.registers import Register, Registers
from aosd.model.errors import (
    BucketNotEmpty,
    KeyConflict,
    NodeError,
    NodeRefused,
    NoNodes,
    NoSuchBucket,
    NoSuchKey,
)
from aosd.model.objects import OBJECT_BUCKET
from aosd.model.stamp import is_stamp, stamp_time_s
from aosd.ports import Candidate, INode

T = TypeVar("T")

LIVE = "live"
CLOSED = "closed"  # it is being deleted: nothing is written any more
DELETED = "deleted"

_KIND = "buckets"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as its register has it.

    `born` is the stamp of its making ("" for `object`, which is there from the beginning);
    `died` that of the newest delete of a bucket of this name ("": there was none), before
    which nothing in it counts. `settings` are what clients configured, by names of doors'
    choosing.
    """

    name: str
    state: str
    born: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    died: str = ""

    @property
    def created_s(self) -> int:
        """When it was made, in seconds since 1970; 0 when nobody knows."""
        return stamp_time_s(self.born) if self.born else 0


_ALWAYS = Bucket(OBJECT_BUCKET, LIVE, "")


class Buckets:
    """What is known of buckets now, in this process; nobody is asked.

    `absent` says why nothing is known yet ("": it is). `lacking` are nodes, as (bucket, node
    name), that were asked to make a bucket and didn't say that they have it. A request without
    an answer may take effect for `late_write_window_s`, by `seconds`: time that never goes back.
    """

    def __init__(
        self,
        registers: Registers,
        seconds: Callable[[], float],
        late_write_window_s: float,
        absent: Callable[[], str] = lambda: "",
    ) -> None:
        self.registers = registers
        self.lacking: set[tuple[str, str]] = set()
        # Nodes that were given one, as above, and which doubt about them was the last one then.
        self._given: dict[tuple[str, str], int] = {}
        self._seconds = seconds
        self._late_write_window_s = late_write_window_s
        self._absent = absent
        # Until when a node may yet remove a bucket, having been asked to, by the bucket's name.
        self._late_until_s: dict[str, float] = {}

    # -- what there is ----------------------------------------------------------------------------

    def get(self, name: str) -> Bucket | None:
        """The bucket's record; None when there never was one."""
        register = self.registers.get(_KIND, name)
        if register is not None:
            return _read(register)
        return _ALWAYS if name == OBJECT_BUCKET else None

    def all(self) -> list[Bucket]:
        """All records, of deleted ones too, by name."""
        names = {OBJECT_BUCKET, *(each.name for each in self.registers.all(_KIND))}
        found = (self.get(name) for name in sorted(names))
        return [each for each in found if each is not None]

    def live(self) -> list[Bucket]:
        """All that there are, by name."""
        return [each for each in self.all() if each.state == LIVE]

    def check(self, name: str, since: str = "") -> Bucket:
        """The bucket, as it is, to write to.

        Raises NoSuchBucket, also when this one was made after the stamp `since`: the writer's
        was another one of the same name. KeyConflict while it is being deleted, which may
        be taken back; NoNodes while nothing is known yet.
        """
        found = self.check_read(name)
        if found.state == CLOSED:
            raise KeyConflict(f"the bucket {name} is being deleted")
        if since and found.born > since:
            raise NoSuchBucket(f"there is another bucket {name} now")
        return found

    def check_read(self, name: str) -> Bucket:
        """The bucket, to read from: also while it is being deleted. Raises as `check` does."""
        if why := self._absent():
            raise NoNodes(why)
        found = self.get(name)
        if found is None or found.state == DELETED:
            raise NoSuchBucket(f"there is no bucket {name}")
        return found

    def died(self, name: str) -> str:
        """The stamp before which nothing in a bucket of this name counts; "" for none."""
        # Asked for each key that is looked at.
        register = self.registers.get(_KIND, name)
        return "" if register is None else str(register.value.get("died", ""))

    # -- what becomes of it -----------------------------------------------------------------------

    async def set(self, bucket: Bucket) -> None:
        """Let this be its record, on enough nodes. Raises NoQuorum; it may be so all the same."""
        await self.registers.set(_KIND, bucket.name, _value(bucket))

    # -- on the nodes -----------------------------------------------------------------------------

    async def remove_from(self, node: INode, name: str) -> None:
        """Remove an empty bucket; BucketNotEmpty when it lists a key, or the node says so.

        By who has the bucket's turn: nothing must be written to it meanwhile, for some servers
        remove full buckets as readily as empty ones. Raises NodeError.
        """
        self._given.pop((name, node.name), None)
        try:
            page = await node.list(name, limit=1)
        except NodeRefused as error:
            if error.code != NoSuchBucket.code:
                raise
            return
        if page.entries:
            raise BucketNotEmpty(f"{name} isn't empty on node {node.name}")
        try:
            await node.delete_bucket(name)
        except NodeError as error:
            if not isinstance(error, NodeRefused) or not error.is_final:
                self._late_until_s[name] = self._seconds() + self._late_write_window_s
            raise

    def may_any_be_removed_late(self) -> bool:
        """Whether a node may yet remove any."""
        return any(self.may_be_removed_late(name) for name in list(self._late_until_s))

    def may_be_removed_late(self, name: str) -> bool:
        """Whether a node may yet remove the bucket, if it were made again."""
        until_s = self._late_until_s.get(name, 0.0)
        if until_s <= self._seconds():
            self._late_until_s.pop(name, None)
            return False
        return True

    async def give(
        self, name: str, candidates: Iterable[Candidate], doubt: Callable[[str], int]
    ) -> None:
        """Make it on those of the nodes that aren't known to have it, if they let us.

        Before a body that can't be sent twice. `doubt` numbers the last doubt about a node: who
        was away may have lost it. All have `object`, from when they are let in.
        """
        for each in candidates:
            which, number = (name, each.name), doubt(each.name)
            known = name == OBJECT_BUCKET or self._given.get(which) == number
            if each.node is None or (known and which not in self.lacking):
                continue
            try:
                await each.node.create_bucket(name)
            except NodeError:
                continue  # it is passed over, as a node that fails is
            self.lacking.discard(which)
            self._given[which] = number


async def in_bucket(node: INode, bucket: str, act: Callable[[], Deferred[T]]) -> T:
    """What `act`, a write to a node, comes to; where it has no such bucket, that is made first.

    A node that was away when a bucket was made learns of it only when it is levelled.
    """
    try:
        return await act()
    except NodeRefused as error:
        if error.code != NoSuchBucket.code or error.node != node.name:
            raise
    await node.create_bucket(bucket)
    return await act()


def has_none(outcome: object) -> bool:
    """Whether a node's answer says that it holds no copy: no such key there, or no such bucket."""
    return isinstance(outcome, NoSuchKey) or (
        isinstance(outcome, NodeRefused) and outcome.code == NoSuchBucket.code
    )


def names_in(records: Mapping[str, bytes]) -> list[str]:
    """The buckets that there are by these records, which are ours, but for `object`."""
    found = []
    for key, data in records.items():
        kind, _, name = key.partition("/")
        if kind != _KIND or name == OBJECT_BUCKET:
            continue
        if json.loads(data)["value"].get("state") != DELETED:
            found.append(name)
    return sorted(found)


def _value(bucket: Bucket) -> dict[str, Any]:
    value: dict[str, Any] = {"state": bucket.state, "born": bucket.born}
    if bucket.died:
        value["died"] = bucket.died
    return value | {"settings": dict(bucket.settings)}


def _read(register: Register) -> Bucket:
    value = register.value
    settings = value.get("settings")
    state = str(value.get("state", DELETED))
    born, died = str(value.get("born", "")), str(value.get("died", ""))
    return Bucket(
        register.name,
        # The plain door's bucket can't go, whatever somebody wrote there.
        LIVE if register.name == OBJECT_BUCKET else state,
        born if is_stamp(born) else "",
        dict(settings) if isinstance(settings, Mapping) else {},
        died if is_stamp(died) else "",
    )
