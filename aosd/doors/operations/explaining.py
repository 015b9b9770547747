"""All that is known of one key: where it belongs, what lies where, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aosd.assembly import Assembly
from aosd.consistency.buckets import CLOSED, DELETED
from aosd.consistency.holders import primaries
from aosd.doors.operations.moments import moment_of
from aosd.doors.operations.verdict import Facts, verdict
from aosd.gateway.store import ask
from aosd.model.errors import NodeRefused, NoSuchKey
from aosd.model.names import check_bucket_name, check_key
from aosd.model.objects import ObjectHead
from aosd.model.ring import partition
from aosd.model.versions import Newest, Version, newest
from aosd.ports import Candidate

_NOT_FOUND = 404


class Explaining:
    """Asks all nodes that could hold a key, and puts it beside what is remembered of it."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._store = assembly.store
        self._replicas = assembly.store.replicas

    async def explain(self, bucket: str, key: str) -> dict[str, Any]:
        """See docs/operations.md for its shape.

        Raises BadRequest for what can't be a bucket's or an object's name, and NoNodes while
        nothing is known yet. It takes no turn: a write may take effect meanwhile.
        """
        check_bucket_name(bucket)
        check_key(key)
        store, assembly = self._store, self._assembly
        orders = store.orders(bucket, key)
        candidates = store.could_hold(bucket, key)
        taken = store.turns.busy(bucket, key)
        answers = await ask(candidates, lambda node: node.head(bucket, key))
        heads, troubles = _sorted_out(candidates, answers)
        versions = {
            name: None if head is None else store.version(bucket, key, head)
            for name, head in heads.items()
        }
        deleted = store.journal.delete_of(bucket, key)
        found = newest(versions, deleted)
        taken = taken or store.turns.busy(bucket, key)
        number = partition(bucket, key)
        why = store.why_unsettled(bucket, key)
        belongs = [each.name for each in primaries(orders, self._replicas)]
        emptied = {each.name for each in assembly.roster.strays()}
        restamped = store.ledger.restamps_of(bucket, key)
        facts = Facts(
            primaries=belongs,
            leaving=set(belongs) - {each.name for each in orders[0][: self._replicas]},
            heads=heads,
            unknown=list(troubles),
            found=found,
            deleted=deleted,
            restamped=restamped,
            emptied=emptied,
            foreign={each.name for each in assembly.roster.members() if each.foreign},
            changing=len(orders) > 1,
            why=why,
            marked=store.marks.marked(number),
            turn_taken=taken,
            paused=assembly.keeper.paused,
            bucket_gone=self._bucket_gone(bucket),
        )
        asked_as_holders = {each.name for order in orders for each in order[: 2 * self._replicas]}
        return {
            **assembly.roster.ring.explain(bucket, key),
            "replicas": self._replicas,
            "settled": not why,
            "why": why,
            "version": _version(found, heads),
            "copies": _copies(heads, troubles, versions, found, belongs),
            "deleted": deleted,
            "deleted_at": moment_of(deleted),
            "journal": {
                "deleted": store.ledger.delete_of(bucket, key),
                "bucket_deleted": store.journal.died(bucket) or None,
                "restamped": [
                    {"was": was, "counts_as": counts_as} for was, counts_as in restamped.items()
                ],
            },
            "marks": self._marks(bucket, key, number),
            "turn": {"taken": taken, "waiting": store.turns.waiting(bucket, key)},
            "order": self._order(orders[0]),
            "former": [each.name for each in orders[1]] if len(orders) > 1 else None,
            "former_order": self._order(orders[1]) if len(orders) > 1 else None,
            "strays": [each.name for each in candidates if each.name not in asked_as_holders],
            "unknown": list(troubles),
            "verdict": verdict(facts),
        }

    # -- inside -----------------------------------------------------------------------------------

    def _order(self, order: Sequence[Candidate]) -> list[dict[str, Any]]:
        roles = ["primary"] * self._replicas + ["handoff"] * self._replicas
        return [
            {
                "name": each.name,
                "role": roles[place] if place < len(roles) else "none",
                "zone": each.zone,
                "state": each.state,
            }
            for place, each in enumerate(order)
        ]

    def _marks(self, bucket: str, key: str, number: int) -> list[dict[str, Any]]:
        marks = self._store.marks
        found = [(mark, False) for mark in marks.of(bucket, key)]
        found += [(mark, True) for mark in marks.of_partition(number)]
        return [
            {
                "stamp": mark.stamp,
                "at": moment_of(mark.stamp),
                "nodes": sorted(mark.nodes),
                "silent": sorted(mark.silent),
                "written": mark.written,
                "whole_partition": whole,
            }
            for mark, whole in found
        ]

    def _bucket_gone(self, bucket: str) -> str:
        found = self._store.buckets.get(bucket)
        if found is None:
            return f"There is no bucket {bucket}."
        if found.state == DELETED:
            return f"The bucket {bucket} was deleted at {moment_of(found.died)}."
        return f"The bucket {bucket} is being deleted." if found.state == CLOSED else ""


def _sorted_out(
    candidates: Sequence[Candidate], answers: Mapping[str, ObjectHead | Exception]
) -> tuple[dict[str, ObjectHead | None], dict[str, str]]:
    """What each node has that told, and why the others didn't."""
    heads: dict[str, ObjectHead | None] = {}
    troubles: dict[str, str] = {}
    for name in (each.name for each in candidates):
        answer = answers.get(name)
        if isinstance(answer, ObjectHead):
            heads[name] = answer
        elif answer is None:
            troubles[name] = "it can't be asked now"
        elif _is_none(answer):
            heads[name] = None
        else:
            troubles[name] = str(answer)
    return heads, troubles


def _is_none(error: Exception) -> bool:
    if isinstance(error, NodeRefused):
        return error.status == _NOT_FOUND  # not even the bucket
    return isinstance(error, NoSuchKey)


def _version(found: Newest, heads: Mapping[str, ObjectHead | None]) -> dict[str, Any] | None:
    if found.version is None:
        return None
    head = heads[found.holders[0]]
    return {
        "stamp": found.version.stamp,
        "at": moment_of(found.version.stamp),
        "etag": found.version.etag,
        "size": None if head is None else head.size_bytes,
        "holders": list(found.holders),
    }


def _copies(
    heads: Mapping[str, ObjectHead | None],
    troubles: Mapping[str, str],
    versions: Mapping[str, Version | None],
    found: Newest,
    belongs: Sequence[str],
) -> dict[str, Any]:
    told: dict[str, Any] = {name: {"error": why} for name, why in troubles.items()}
    for name, head in heads.items():
        version = versions[name]
        if head is None or version is None:
            told[name] = None
            continue
        told[name] = {
            "stamp": head.stamp,
            "at": moment_of(head.stamp),
            "etag": head.etag,
            "size": head.size_bytes,
            "counts_as": version.stamp,
            "counts_at": moment_of(version.stamp),
            "is": _what_it_is(name, found),
            "belongs": name in belongs,
        }
    return told


def _what_it_is(name: str, found: Newest) -> str:
    if name in found.holders:
        return "newest"
    return "dead" if name in found.dead else "older"
