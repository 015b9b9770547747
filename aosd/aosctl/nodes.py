"""`aosctl nodes`: the nodes, and how each is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from aosd.aosctl.call import Call, Command, pass_call
from aosd.aosctl.changes import change_lines, queued_words
from aosd.aosctl.tables import Column, show_table
from aosd.aosctl.words import number

_WIDE = 110


@click.command(cls=Command)
@pass_call
def command(call: Call) -> None:
    """Show the nodes, how each is, and what is wrong with those that aren't well."""
    told = call.daemon.get("nodes")
    if call.json:
        call.write(told)
        return
    rows = [row_of(each) for each in told["nodes"]]
    if rows:
        columns = [
            Column("NODE"),
            Column("STATE", coloured=True),
            Column("IS A", coloured=True),
            Column("WEIGHT", number=True),
            Column("ZONE"),
            Column("URL"),
        ]
        if call.out.is_terminal and call.out.width < _WIDE:
            columns, rows = columns[:-1], [row[:-1] for row in rows]
        show_table(call.out, columns, rows)
    call.tell(*notes(told))
    if told.get("changing"):
        call.tell(*change_lines(call.daemon.get("changes")))


def row_of(node: Mapping[str, Any]) -> list[str]:
    """What the table has of a node. A zone that is the node's own isn't worth a word."""
    zone = str(node.get("zone") or "")
    membership = node.get("membership")
    return [
        str(node["name"]),
        str(node.get("state") or ""),
        str(membership) if membership else "stranger",
        number(float(node.get("weight") or 0)),
        "" if zone == node["name"] else zone,
        str(node.get("url") or ""),
    ]


def notes(told: Mapping[str, Any]) -> list[str]:
    """What else is to be known, a line each."""
    lines = []
    for node in told["nodes"]:
        name = node["name"]
        if node.get("reason"):
            lines.append(f"{name}: {node['reason']}")
        if node.get("coming"):
            lines.append(f"{name}: to {place_words(node, node['coming'])}")
        if node.get("queued"):
            lines.append(f"{name}: {queued_words(node['queued'])}, when the change before is over")
        if node.get("adopted"):
            lines.append(f"{name}: adopted; what it came with is still being sorted out")
    lines.extend(f"can't be used: {each['where']}: {each['problem']}" for each in told["unusable"])
    for provider in told["providers"]:
        if provider.get("trouble"):
            lines.append(f"provider {provider['name']}: {provider['trouble']}")
        elif not provider.get("reported"):
            lines.append(f"provider {provider['name']}: nothing heard from it yet")
    if not told["nodes"]:
        lines.append("no nodes")
    if leaving := told.get("leaving"):
        lines.append(leaving_words(leaving))
    if told.get("next_may_go"):
        lines.append("any one node may be taken down now")
    else:
        lines.extend(f"no node may be taken down now: {each}" for each in told["wait_for"])
    return lines


def leaving_words(leaving: Mapping[str, Any]) -> str:
    """That the cluster is being left, or was, and what it waits for."""
    phase, waits = leaving.get("phase"), leaving.get("waits") or []
    if phase == "left":
        return "this cluster was left: the nodes hold plain objects; stop aosd"
    if phase == "going back":
        return "leaving this cluster is being taken back"
    words = f"this cluster is being left ({phase}{f': {waits[0]}' if waits else ''})"
    return f"{words}: aosctl leave --undo takes it back" if leaving.get("undoable") else words


def place_words(node: Mapping[str, Any], place: Mapping[str, Any]) -> str:
    """How a place differs from the node's own."""
    words = []
    if place.get("weight") != node.get("weight"):
        words.append(f"weigh {number(float(place['weight']))}")
    if place.get("zone") != node.get("zone"):
        words.append(f"be in zone {place['zone']}")
    return " and ".join(words) or "be as it is"
