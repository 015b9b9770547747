"""`aosctl leave`: the cluster ends, and plain objects remain on plain S3 servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from aosd.aosctl.acting import (
    How,
    change_options,
    forecast,
    make_sure,
    show_told,
    write_forecast,
)
from aosd.aosctl.call import Call, Command, Failed, pass_call
from aosd.aosctl.following import OVER, Look, follow
from aosd.aosctl.node import complete_name
from aosd.aosctl.words import listed, many, number, seen, size

if TYPE_CHECKING:
    from rich.console import Console

_SURE = (
    "Writes are refused at the end, aosd's own bucket aos-system is removed from all nodes, and "
    "this cluster is no more; the objects remain where they are."
)
_INTERRUPTED = (
    "leaving goes on: aosctl changes shows how far it is, aosctl leave --undo takes it back until "
    "aos-system is being removed"
)
_SHOWN_UPLOADS = 20


@click.command(cls=Command)
@click.option(
    "--gather",
    metavar="NAME",
    shell_complete=complete_name,
    help="Put a copy of everything on this node first.",
)
@click.option("--undo", is_flag=True, help="Leave no more, while there is a way back.")
@change_options
@pass_call
def command(call: Call, gather: str | None, undo: bool, how: How) -> None:
    """Take aosd away from its nodes.

    Mending is finished, writes are refused, and aos-system is removed. What remains are plain
    objects, which any S3 client reads.
    """
    if undo:
        if gather:
            raise click.UsageError("--undo doesn't go with --gather")
        if how.dry_run:
            told = call.daemon.post("leave/undo", {"dry_run": "1"})
            show_told(call, told, lambda _: call.tell(*undo_lines(told)), aside=False)
            return
        told = call.daemon.post("leave/undo")
        _finish(call, told, how, "as before: this cluster isn't left", until_back)
        return
    query = {"gather": gather} if gather else {}
    if how.dry_run:
        show_plan(call, forecast(call, "leave", query))
        return
    make_sure(call, how, _SURE, lambda: show_plan(call, forecast(call, "leave", query), aside=True))
    told = call.daemon.post("leave", query)
    _finish(call, told, how, "left: the nodes hold plain objects, and nothing of aosd", until_left)


def until_left(look: Look) -> str | None:
    """OVER when it is done. Raises Failed when it was taken back."""
    phase = (look.get("leaving") or {}).get("phase")
    if phase in (None, "going back"):
        raise Failed("leaving was taken back: aosctl nodes shows how the nodes are", "TakenBack")
    return OVER if phase == "left" else ""


def until_back(look: Look) -> str | None:
    """OVER when the cluster is as it was."""
    return "" if look.get("leaving") else OVER


def show_plan(call: Call, plan: Mapping[str, Any], *, aside: bool = False) -> None:
    """What leaving would do; see show_forecast."""
    show_told(call, plan, lambda console: _write_plan(console, plan), aside=aside)


def _write_plan(console: Console, plan: Mapping[str, Any]) -> None:
    if (takes := plan.get("forecast")) is not None:
        write_forecast(console, takes)
    for line in plan_lines(plan):
        console.print(seen(line))


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """What would be done, in its order."""
    lines = []
    # A refusal is told by itself.
    if (why := plan.get("no_forecast")) and not plan.get("refusal"):
        lines.append(f"how long it takes isn't known: {why}")
    if gather := plan.get("gather"):
        lacking = int(gather.get("lacking_keys") or 0)
        words = f"{gather['node']} would get a copy of {many(lacking, 'key')}"
        words += f" ({size(gather.get('lacking_bytes') or 0)}) that it lacks, of {gather['keys']:,}"
        if gather.get("space_bytes") is not None:
            words += f"; it has space for {size(gather['space_bytes'])}"
        lines.append(words)
    lines.extend(f"waits until this is over: {each}" for each in plan.get("waits") or [])
    if in_all := int(plan.get("uploads_in_all") or 0):
        shown = [str(each) for each in plan.get("uploads") or []][:_SHOWN_UPLOADS]
        more = ["more"] if in_all > len(shown) else []
        words = f"{many(in_all, 'open upload')} would be aborted"
        lines.append(f"{words}: {listed([*shown, *more])}" if shown else words)
    if unexplained := int(plan.get("unexplained") or 0):
        words = f"{many(unexplained, 'copy')} that nothing explains"
        lines.append(f"{words} would stay: see /-/repair")
    nodes = [str(each) for each in plan.get("nodes") or []]
    lines.append(f"aos-system would be removed from {listed(nodes) if nodes else 'no node'}")
    return lines


def undo_lines(told: Mapping[str, Any]) -> list[str]:
    """What would be taken back; nothing where that would be refused."""
    if told.get("refusal"):
        return []
    leaving = told.get("leaving") or {}
    phase = leaving.get("phase")
    lines = [f"would be taken back: leaving, {phase}"]
    if gather := leaving.get("gather"):
        lines.append(
            f"{gather} would weigh {number(float(told.get('weight') or 1))} again, and what it got "
            "above that be removed from it by sweeps"
        )
    if phase == "stopping writes":
        lines.append("writes would be taken again; uploads that were aborted stay so")
    return lines


def _finish(
    call: Call, told: Mapping[str, Any], how: How, words: str, until: Callable[[Look], str | None]
) -> None:
    if how.wait:
        changes = follow(call, until, _INTERRUPTED)
        told = {**told, "leaving": changes.get("leaving"), "changes": changes}
    else:
        words = "begun; aosctl changes shows how far it is"
    if call.json:
        call.write(told)
    else:
        call.tell(words)
