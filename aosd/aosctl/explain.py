"""`aosctl explain`: why a key lies where it lies, and which copy counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from aosd.aosctl.call import Call, Command, pass_call
from aosd.aosctl.tables import Column, show_table
from aosd.aosctl.words import listed, many, moment, size

_STRANGER = "none"


@click.command(cls=Command)
@click.argument("path", metavar="BUCKET/KEY")
@pass_call
def command(call: Call, path: str) -> None:
    """Show where a key belongs, its copies, what is on record of it, and what follows.

    The plain door's objects are in the bucket object: object/greeting.
    """
    bucket, _, key = path.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise click.BadParameter(
            f"{path!r} is no BUCKET/KEY, such as object/greeting", param_hint="BUCKET/KEY"
        )
    told = call.daemon.get("explain", {"bucket": bucket, "key": key})
    if call.json:
        call.write(told)
        return
    call.tell(f"{told['bucket']}/{told['key']}", style="bold")
    call.tell(*version_lines(told))
    call.tell("", f"Order, of partition {told['partition']} of ring {told['ring']}", style="bold")
    show_table(
        call.out,
        [
            Column("NODE"),
            Column("ROLE"),
            Column("STATE", coloured=True),
            Column("COPY", coloured=True),
            Column("WRITTEN"),
            Column("SIZE", number=True),
        ],
        order_rows(told),
    )
    call.tell(*copy_lines(told), *former_lines(told))
    call.tell("", "On record", style="bold")
    call.tell(*record_lines(told))
    call.tell("", "Verdict", style="bold")
    call.tell(str(told["verdict"]))


def version_lines(told: Mapping[str, Any]) -> list[str]:
    """The version that counts."""
    version = told.get("version")
    if not version:
        return ["no version counts: there is no such object"]
    holders = (
        listed([str(each) for each in version["holders"]]) if version["holders"] else "no node"
    )
    return [
        f"{size(version['size'])}, written {moment(version['at'])}, on {holders}",
        f"ETag {version['etag']}, stamp {version['stamp']}",
    ]


def order_rows(told: Mapping[str, Any]) -> list[list[str]]:
    """The nodes in the key's order, then others that have a copy."""
    copies: Mapping[str, Any] = told.get("copies") or {}
    rows = [
        [
            str(each["name"]),
            str(each["role"]) if each["role"] != _STRANGER else "",
            str(each["state"]),
            *copy_cells(each["name"], copies),
        ]
        for each in told["order"]
    ]
    known = {row[0] for row in rows}
    former = {str(each["name"]): each for each in told.get("former_order") or []}
    for name in sorted(copies.keys() - known):
        state = str(former[name]["state"]) if name in former else ""
        role = f"was {former[name]['role']}" if name in former else "stray"
        rows.append([name, role, state, *copy_cells(name, copies)])
    if len({row[-1] for row in rows if row[-1]}) == 1:
        rows = [[*row[:-1], ""] for row in rows]  # it stands above the table
    return rows


def copy_cells(name: str, copies: Mapping[str, Any]) -> list[str]:
    """What a node has: which copy, since when, and its size."""
    if name not in copies:
        return ["", "", ""]  # it isn't asked for this key
    copy = copies[name]
    if copy is None:
        return ["none", "", ""]
    if "error" in copy:
        return ["unknown", "", ""]
    written = moment(copy.get("at") or copy.get("counts_at"))
    return [str(copy.get("is") or ""), written, size(copy.get("size") or 0)]


def copy_lines(told: Mapping[str, Any]) -> list[str]:
    """What is remarkable of copies, with their stamps."""
    lines = []
    copies: Mapping[str, Any] = told.get("copies") or {}
    for name, copy in sorted(copies.items()):
        if copy is None:
            continue
        if "error" in copy:
            lines.append(f"{name}: {copy['error']}")
            continue
        stamp, counts = copy.get("stamp"), copy.get("counts_as")
        words = f"{name}: stamp {stamp}" if stamp else f"{name}: no stamp, aosd didn't write it"
        if counts and counts != stamp:
            words += f", counts as {counts}"
        if copy.get("belongs") is False:
            words += "; it doesn't belong there"
        lines.append(words)
    return lines


def former_lines(told: Mapping[str, Any]) -> list[str]:
    """The order before the change under way, and who else may have a copy."""
    lines = []
    if former := told.get("former_order"):
        names = [str(each["name"]) for each in former if each["role"] != _STRANGER]
        lines.append(f"before the change under way it belonged on {listed(names)}")
    if strays := told.get("strays"):
        names = [str(each) for each in strays]
        lines.append(f"asked for every key, until they are sorted out: {listed(names)}")
    return lines


def record_lines(told: Mapping[str, Any]) -> list[str]:
    """The journal, the marks, the turns and whether the partition is settled."""
    journal: Mapping[str, Any] = told.get("journal") or {}
    lines = []
    if journal.get("deleted"):
        lines.append(f"deleted {moment(told.get('deleted_at'))}, stamp {journal['deleted']}")
    if journal.get("bucket_deleted"):
        lines.append(f"its bucket was deleted, stamp {journal['bucket_deleted']}")
    restamped: Sequence[Mapping[str, Any]] = journal.get("restamped") or []
    lines.extend(
        f"what is stamped {each['was']} counts as {each['counts_as']}" for each in restamped
    )
    for mark in told.get("marks") or []:
        what = "the partition" if mark.get("whole_partition") else "the key"
        where = listed([str(each) for each in mark["nodes"]]) if mark.get("nodes") else "all nodes"
        words = f"marked {moment(mark.get('at'))}: {what} may differ on {where}"
        if silent := mark.get("silent"):
            words += f"; no answer came from {listed([str(each) for each in silent])}"
        lines.append(words)
    turn = told.get("turn") or {}
    if turn.get("taken"):
        waiting = int(turn.get("waiting") or 0)
        words = "a change of it takes effect just now"
        if waiting:
            words += f"; {many(waiting, 'other')} {'waits' if waiting == 1 else 'wait'}"
        lines.append(words)
    if not lines:
        lines.append("no delete, no mark")
    why = told.get("why")
    lines.append(f"its partition isn't settled: {why}" if why else "its partition is settled")
    return lines
