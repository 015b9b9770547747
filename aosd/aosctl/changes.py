"""`aosctl changes`: the change under way, and what waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from aosd.aosctl.call import Call, Command, pass_call
from aosd.aosctl.following import OVER, Look, follow
from aosd.aosctl.progress import done_so_far, rest_of, what_goes_on
from aosd.aosctl.tables import Column, show_table
from aosd.aosctl.words import moment, number


@click.command(cls=Command)
@click.option(
    "--wait/--no-wait", default=False, help="Wait until nothing changes, and show how far it is."
)
@pass_call
def command(call: Call, wait: bool) -> None:
    """Show the change under way, how far it is, and what waits for it."""
    if wait:
        told = follow(call, waits_for, "the changes go on: aosctl changes shows how far they are")
    else:
        told = call.daemon.get("changes")
    if call.json:
        call.write(told)
        return
    call.tell(*change_lines(told))
    if told.get("queue"):
        rows = [
            [str(each["node"]), queued_words(each), asked_words(each)] for each in told["queue"]
        ]
        show_table(call.out, [Column("WAITS"), Column("TO"), Column("ASKED")], rows)


def waits_for(told: Look) -> str | None:
    """OVER when nothing changes, and nothing waits that will by itself."""
    quiet = not told.get("changing") and not told.get("queue") and not is_being_left(told)
    return OVER if quiet else ""


def is_being_left(told: Mapping[str, Any]) -> bool:
    """Whether leaving the cluster, or undoing that, is under way."""
    return (told.get("leaving") or {}).get("phase") not in (None, "", "left")


def change_lines(told: Mapping[str, Any]) -> list[str]:
    """What goes on, in words."""
    progress = told.get("progress") or {}
    rest = rest_of(told)
    lines = [f"{what_goes_on(told)}: {rest}" if rest else what_goes_on(told)]
    if progress.get("phase"):
        lines.append(done_so_far(progress))
    if told.get("paused"):
        lines.append("repair is paused, and every change with it: aosctl repair start goes on")
    return lines


def asked_words(queued: Mapping[str, Any]) -> str:
    """When it was asked for, or else by whom: of nodes that are to join no time is remembered."""
    by = "by an operator" if queued.get("consented") else "by discovery"
    return moment(queued.get("asked_at")) or by


def queued_words(queued: Mapping[str, Any]) -> str:
    """What is to be done, as `weigh 2`."""
    act = str(queued.get("act"))
    if act == "join" and queued.get("consented"):
        return "adopt"
    if act not in ("weigh", "rezone"):
        return act
    words = []
    if queued.get("weight") is not None:
        words.append(f"weigh {number(float(queued['weight']))}")
    if queued.get("zone"):
        words.append(f"rezone {queued['zone']}")
    return " and ".join(words) or act
