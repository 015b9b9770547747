"""Buckets: what there are, made, configured, deleted when they are empty."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aosd.consistency.buckets import CLOSED, DELETED, LIVE, Bucket, has_none
from aosd.consistency.presence import turn_of
from aosd.gateway.sent import Sent, check_taken, is_after_a_kill, remember
from aosd.gateway.store import Store, ask, cluster_errors, gather
from aosd.model.errors import (
    AosdError,
    BadRequest,
    BucketExists,
    BucketNotEmpty,
    KeyConflict,
    NodeError,
    NoQuorum,
    TooLarge,
)
from aosd.model.names import check_bucket_name
from aosd.model.objects import OBJECT_BUCKET, ObjectHead, Page
from aosd.model.quorum import memory_acks

_log = Logger()

_SETTINGS_BYTES = 64 * 1024
_LOOKED_AT = 100  # Dead copies that a delete removes in one look
_LOOKS = 10
_AT_ONCE = 16


def buckets(store: Store) -> list[Bucket]:
    """All that there are, by name. Raises NoNodes while nothing is known yet."""
    store.members()
    return store.buckets.live()


async def create_bucket(store: Store, name: str) -> None:
    """Make a bucket; returns when enough nodes have it. Others get it when they return.

    Raises BadRequest, BucketExists, KeyConflict while a node may yet remove the one that was
    there before, or a ClusterError: it may be there all the same then.
    """
    check_bucket_name(name)

    async def act() -> None:
        check_taken(store)
        found = store.buckets.get(name)
        if found is not None and found.state == CLOSED:
            # Its delete was cut short: one way or the other, it is ended first.
            with suppress(BucketNotEmpty):
                await _delete(store, found)
            found = store.buckets.get(name)
        if found is not None and found.state == LIVE:
            raise BucketExists(f"there is a bucket {name} already")
        if _may_be_removed_late(store, name, was_there=found is not None):
            raise KeyConflict(f"a node hasn't answered yet to the delete of the bucket {name}")
        await _make(store, name)
        died = "" if found is None else found.died
        await store.buckets.set(Bucket(name, LIVE, store.stamps.next(), {}, died))

    with cluster_errors():
        store.members()
        await store.turns.take(*turn_of(name), act)


async def delete_bucket(store: Store, name: str) -> None:
    """Delete a bucket that has no objects; uploads that are open in it are aborted.

    From its beginning nothing is written to it; when it can't be deleted, it is taken back.
    Raises NoSuchBucket, BucketNotEmpty, BadRequest for `object`, which stays, or a ClusterError
    (also while too many nodes are away to know that it is empty): it may be gone later all the
    same then.
    """
    if name == OBJECT_BUCKET:
        raise BadRequest(f"the bucket {name} is the plain door's, and stays", "AccessDenied")

    async def act() -> None:
        check_taken(store)
        await _delete(store, store.buckets.check_read(name))

    with cluster_errors():
        store.buckets.check_read(name)
        await store.turns.take(*turn_of(name), act)


async def take_up(store: Store) -> None:
    """End the deletes that a crash, or a lack of nodes, cut short; what fails is logged."""

    async def act(name: str) -> None:
        check_taken(store)
        bucket = store.buckets.get(name)
        if bucket is not None and bucket.state == CLOSED:
            await _delete(store, bucket)

    for bucket in store.buckets.all():
        if bucket.state == CLOSED:
            name = bucket.name
            try:
                await store.turns.take(*turn_of(name), partial(act, name))
            except AosdError as error:
                _log.info("bucket {name} not deleted: {error}", name=name, error=error)


async def set_bucket_setting(store: Store, name: str, setting: str, value: object | None) -> None:
    """Let the bucket's `setting` be `value`, which JSON can say; None: there is none.

    Raises NoSuchBucket, TooLarge when all of its settings are over 64 KiB, or a ClusterError.
    """

    async def act() -> None:
        check_taken(store)
        bucket = store.buckets.check(name)
        settings = {key: each for key, each in bucket.settings.items() if key != setting}
        if value is not None:
            settings[setting] = value
        if len(json.dumps(settings).encode()) > _SETTINGS_BYTES:
            raise TooLarge(f"a bucket's settings are {_SETTINGS_BYTES} bytes at most, together")
        await store.buckets.set(replace(bucket, settings=settings))

    with cluster_errors():
        store.buckets.check(name)
        await store.turns.take(*turn_of(name), act)


# -- by who has the bucket's turn ---------------------------------------------------------------


async def _make(store: Store, name: str) -> None:
    """Make it on the nodes: on enough of them, or NoQuorum is raised."""
    members = store.members()
    answers = await ask(members, lambda node: node.create_bucket(name))
    made = {each for each, outcome in answers.items() if not isinstance(outcome, Exception)}
    wanted = memory_acks(store.replicas, len(members))
    if len(made) < wanted:
        errors = [str(each) for each in answers.values() if isinstance(each, Exception)]
        why = f": {errors[0]}" if errors else ""
        raise NoQuorum(f"only {len(made)} nodes have the bucket, of {wanted}{why}")
    lacking = {(name, each.name) for each in members if each.name not in made}
    store.buckets.lacking = {each for each in store.buckets.lacking if each[0] != name} | lacking


async def _delete(store: Store, bucket: Bucket) -> None:
    """Close it, look at all nodes, and let it be deleted or live again.

    What cuts it short in between leaves it closed, and is taken up.
    """
    name = bucket.name
    if bucket.state == LIVE:
        # Before it is closed: who only tries doesn't disturb those that write.
        await _check_empty(store, name, clear=False)
        await store.buckets.set(replace(bucket, state=CLOSED))
    try:
        # Who has a turn now may have begun before; who gets it later finds the bucket closed.
        for key in store.turns.keys(name):
            await store.turns.take(name, key, _nothing)
        await _check_empty(store, name, clear=True)
        await _remove(store, name)
    except AosdError:
        await _take_back(store, bucket)
        raise
    died = store.stamps.next()
    await store.buckets.set(replace(bucket, state=DELETED, died=died, settings={}))


def _may_be_removed_late(store: Store, name: str, *, was_there: bool) -> bool:
    """Whether a node may yet remove the bucket, were it there: asked by us, or by a run before.

    Whom that one, which was killed, asked to remove what `was_there`, nobody knows.
    """
    if store.buckets.may_be_removed_late(name):
        return True
    return was_there and is_after_a_kill(store, store.members())


async def _take_back(store: Store, bucket: Bucket) -> None:
    if _may_be_removed_late(store, bucket.name, was_there=bucket.state == CLOSED):
        _log.info("bucket {name} stays closed: it may yet be removed", name=bucket.name)
        return
    try:
        await _make(store, bucket.name)
        await store.buckets.set(replace(bucket, state=LIVE))
    except AosdError as error:
        _log.info("bucket {name} stays closed: {error}", name=bucket.name, error=error)


async def _remove(store: Store, name: str) -> None:
    """Remove it from the nodes; who can't be asked loses it later. Raises BucketNotEmpty."""
    members = store.members()
    nodes = {each.name: each.node for each in members if each.node is not None}
    after_a_kill = is_after_a_kill(store, members)
    await store.uploads.abort_all(
        name, nodes, lambda upload: after_a_kill or store.stamps.is_own(upload)
    )
    answers = await ask(
        members, lambda node: Deferred.fromCoroutine(store.buckets.remove_from(node, name))
    )
    for outcome in answers.values():
        if isinstance(outcome, BucketNotEmpty):
            raise outcome
        if isinstance(outcome, Exception):
            _log.info("bucket {name} not removed yet: {error}", name=name, error=outcome)


async def _check_empty(store: Store, name: str, *, clear: bool) -> None:
    """Raise BucketNotEmpty when it has an object; NoQuorum while that can't be known.

    With `clear` what is dead in it is removed; that it can't be is a NoQuorum, too. A node
    may hide keys beneath others, but it lists those; its page may be of a while ago, so what
    was written since is looked at, listed or not.
    """
    for _ in range(_LOOKS):
        members = store.members()
        doubts = store.doubts(members)
        answers = await ask(members, lambda node: node.list(name, limit=_LOOKED_AT))
        keys = {
            entry.key
            for page in answers.values()
            if isinstance(page, Page)
            for entry in page.entries
        }
        answered = {
            node for node, each in answers.items() if isinstance(each, Page) or has_none(each)
        }
        store.check_absence(members, answered, doubts)
        wanted = sorted(keys | store.writes.of_late(name))
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            looking = [_check_dead(store, name, key, clear=clear) for key in some]
            await gather([Deferred.fromCoroutine(each) for each in looking])
        if not keys or not clear:
            return
    raise NoQuorum(f"the bucket {name} holds more that was deleted than can be removed at once")


async def _check_dead(store: Store, bucket: str, key: str, *, clear: bool) -> None:
    """Raise BucketNotEmpty unless all copies of a key are dead; with `clear` remove them."""

    async def act() -> None:
        members = store.members()
        doubts = store.doubts(members)
        answers = await ask(members, lambda node: node.head(bucket, key))
        deleted = store.journal.delete_of(bucket, key) or ""
        sent = Sent()
        dead: set[str] = set()
        for name, outcome in answers.items():
            if isinstance(outcome, ObjectHead):
                if store.version(bucket, key, outcome).stamp >= deleted:
                    raise BucketNotEmpty(f"the bucket {bucket} isn't empty")
                dead.add(name)
            elif has_none(outcome):
                sent.answered(name, "")
        store.check_absence(members, dead | sent.etags.keys(), doubts)
        if not clear or not dead:
            return
        store.writes.effect(bucket, key, deleted, delete=True)
        holders = [each for each in members if each.name in dead]
        removed = await ask(holders, lambda node: node.delete(bucket, key))
        for name, gone in removed.items():
            sent.answered(name, gone if isinstance(gone, Exception) else "")
        await remember(store, bucket, key, deleted, sent, written=True, delete=True)
        for error in sent.errors.values():
            raise error if isinstance(error, NodeError) else NoQuorum(str(error))

    await store.turns.take(bucket, key, act)


async def _nothing() -> None:
    """Only waits for a turn."""
