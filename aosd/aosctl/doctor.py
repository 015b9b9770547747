"""`aosctl doctor`: each node examined, and what to do about what is found.

The daemon is asked. When none answers that is a finding, too, and the nodes are examined from
here, as far as the daemon's own providers find them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from aosd.aosctl.call import Call, Command, NotReady, TokenUnknown, Unreachable, pass_call
from aosd.aosctl.finding import settings_of, unknown_nodes
from aosd.aosctl.tables import Column, show_table
from aosd.model.errors import AosdError

_UNHEALTHY = 4
_ASK_AS_IT_DOES = (
    "to have it look itself, say --token, or give aosctl what it was given (--nodes, --data)"
)


@click.command(cls=Command)
@pass_call
def command(call: Call) -> None:
    """Examine each node: reachable, credentials, clock, marker, probe, space.

    Says what to do about what it finds. When no daemon answers it looks from here.
    """
    try:
        with call.err.status("examining the nodes…"):
            told = call.daemon.post("doctor", timeout_s=None)
    except (Unreachable, NotReady, TokenUnknown) as error:
        # The token may lie on nodes that don't answer, or not be there yet.
        told = examined_from_here(call, error)
    if call.json:
        call.write(told)
    else:
        show_findings(call, told)
    if not told["healthy"]:
        click.get_current_context().exit(_UNHEALTHY)


def examined_from_here(call: Call, error: AosdError) -> dict[str, Any]:
    """What can be found out without the daemon, in the shape of its own findings."""
    call.say(f"{error}", "looking from here:")
    if isinstance(error, Unreachable):
        what, do = "daemon", "start it, or see its log for why it ended: nothing is served"
    else:
        what, do = "daemon", _ASK_AS_IT_DOES
    cluster = [{"what": what, "ok": False, "found": str(error), "do": do}]
    nodes: list[dict[str, Any]] = []
    try:
        nodes, troubles = examine_nodes(call)
    except AosdError as trouble:
        troubles = [str(trouble)]
    cluster.extend(
        {"what": "discovery", "ok": False, "found": each, "do": "see what --nodes has to say"}
        for each in troubles
    )
    return {"healthy": False, "nodes": nodes, "cluster": cluster}


def examine_nodes(call: Call) -> tuple[list[dict[str, Any]], list[str]]:
    """Each node's checks, and what is wrong with discovery. Raises AosdError."""
    from aosd.aosctl.asking import hear_nodes, run
    from aosd.nodes.examine import examine

    settings = settings_of(call)
    if why := unknown_nodes(call, settings):
        return [], [why]  # to look at a node is to write to it, and whose these are nobody said
    heard = run(lambda reactor: hear_nodes(settings, reactor, examine))
    nodes = [
        {"name": name, "checks": [each.told() for each in checks]}
        for name, checks in heard.answers.items()
    ]
    nodes.extend(
        {
            "name": name,
            "checks": [{"what": "reachable", "ok": False, "found": why, "do": "start it"}],
        }
        for name, why in heard.silent.items()
    )
    troubles = heard.troubles
    if not nodes and not troubles:
        troubles = ["no node was found"]
    return sorted(nodes, key=lambda each: str(each["name"])), troubles


def show_findings(call: Call, told: Mapping[str, Any]) -> None:
    """A table, and under it what to do."""
    rows: list[list[str]] = []
    todo: list[str] = []
    for name, checks in [(str(each["name"]), each["checks"]) for each in told["nodes"]] + [
        ("cluster", told.get("cluster") or [])
    ]:
        rows.extend(
            [name if not place else "", str(check["what"]), verdict(check), str(check["found"])]
            for place, check in enumerate(checks)
        )
        todo.extend(todo_lines(name, checks))
    if rows:
        columns = [
            Column("NODE"),
            Column("CHECK"),
            Column("IS", coloured=True),
            Column("FOUND", words=True),
        ]
        show_table(call.out, columns, rows)
    if todo:
        call.tell("", "What to do", style="bold")
        call.tell(*todo)
    call.tell("", "healthy" if told["healthy"] else "not healthy")


def verdict(check: Mapping[str, Any]) -> str:
    """In a word."""
    if check["ok"] is None:
        return "unknown"
    if not check["ok"]:
        return "bad"
    return "look" if check.get("do") else "ok"


def todo_lines(name: str, checks: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to do about each thing that isn't as it should be, once."""
    lines = dict.fromkeys(f"{name}: {check['do']}" for check in checks if check.get("do"))
    return list(lines)
