"""Listing: one page of what all nodes hold, in S3's order, each key once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from aosd.consistency.buckets import has_none
from aosd.gateway.look import look
from aosd.gateway.store import Store, ask, cluster_errors, gather
from aosd.model.listing import merge_pages
from aosd.model.objects import Entry, Page
from aosd.ports import Candidate

_PAGE_KEYS = 1000
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Listing:
    """A page; `more` says whether there are keys after the last entry."""

    entries: tuple[Entry, ...]
    more: bool


async def list_objects(
    store: Store,
    bucket: str,
    *,
    prefix: str = "",
    after: str = "",
    limit: int = _PAGE_KEYS,
    wanted: Callable[[str], bool],
) -> Listing:
    """Up to `limit` (1 to 1,000) keys without a `/`, after `after` (exclusive), that are `wanted`.

    Raises NoSuchBucket, NoNodes, or NoQuorum while so many nodes are away that a key might be
    missed.
    """
    members = store.members()
    store.buckets.check_read(bucket)
    found: list[Entry] = []
    # One more than asked for tells whether there are more.
    page_keys = min(limit + 1, _PAGE_KEYS)
    with cluster_errors():
        while True:
            # One level of the tree: within it every server's order is S3's, for names without
            # a sign that comes before "/" (of a-b and a/, a tree lists the folder first).
            since = store.settling
            pages = await _pages(store, members, bucket, prefix, after, page_keys)
            merged = merge_pages(pages, after)
            entries = [entry for entry in merged.entries if wanted(entry.key)]
            dead = await _dead(store, bucket, [entry.key for entry in entries], since)
            for entry in entries:
                if entry.key in dead:
                    continue
                if len(found) == limit:
                    return Listing(tuple(found), more=True)
                found.append(entry)
            if not merged.truncated or merged.last is None:
                return Listing(tuple(found), more=False)
            after = merged.last


async def _pages(
    store: Store,
    members: Sequence[Candidate],
    bucket: str,
    prefix: str,
    after: str,
    page_keys: int,
) -> dict[str, Page]:
    """A page of each node that answers, if those are enough."""
    doubts = store.doubts(members)
    answers = await ask(members, lambda node: node.list(bucket, prefix, after, page_keys, "/"))
    answers = {name: Page(()) if has_none(each) else each for name, each in answers.items()}
    pages = {name: each for name, each in answers.items() if isinstance(each, Page)}
    failures = [each for each in answers.values() if isinstance(each, Exception)]
    if failures and not pages:
        raise failures[0]
    store.check_absence(members, set(pages), doubts)
    return pages


async def _dead(store: Store, bucket: str, keys: Sequence[str], since: tuple[int, int]) -> set[str]:
    """What was deleted of these, and lies on yet where it couldn't be removed.

    `since` is from before they were listed: what became settled meanwhile wasn't so then.
    """

    def is_doubtful(key: str) -> bool:
        if store.journal.delete_of(bucket, key) is None:
            return False
        return store.settling != since or not store.is_settled(bucket, key)

    doubtful = [key for key in keys if is_doubtful(key)]
    dead: set[str] = set()
    for first in range(0, len(doubtful), _AT_ONCE):
        some = doubtful[first : first + _AT_ONCE]
        looking = [Deferred.fromCoroutine(look(store, bucket, key)) for key in some]
        for key, located in zip(some, await gather(looking), strict=True):
            if located.head is None:
                dead.add(key)
    return dead
