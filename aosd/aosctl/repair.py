"""`aosctl repair`: what is amiss and done about it; sweeps begun and paused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from aosd.aosctl.acting import forecast, show_forecast
from aosd.aosctl.call import Call, Command, Group, pass_call
from aosd.aosctl.changes import is_being_left, queued_words
from aosd.aosctl.progress import rest_of, what_goes_on
from aosd.aosctl.words import listed, many, time


@click.group(cls=Group)
def command() -> None:
    """Look at repair, start it, pause it. Nobody has to: it is done by itself."""


@command.command(cls=Command)
@pass_call
def status(call: Call) -> None:
    """Show what is amiss, the sweep that runs, and the last one."""
    _show(call, call.daemon.get("repair"))


@command.command(cls=Command)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Change nothing: show the keys, bytes and time that a sweep would take.",
)
@pass_call
def start(call: Call, dry_run: bool) -> None:
    """Go on with what was paused, and compare everything on all nodes."""
    if dry_run:
        show_forecast(call, forecast(call, "repair/start", {}))
        return
    _show(call, call.daemon.post("repair/start"))


@command.command(cls=Command)
@click.option("--dry-run", is_flag=True, help="Change nothing: show what would stand still.")
@pass_call
def pause(call: Call, dry_run: bool) -> None:
    """Begin no sweep, and no change of the ring goes on, until it is started."""
    if dry_run:
        told = call.daemon.post("repair/pause", {"dry_run": "1"})
        if call.json:
            call.write(told)
        else:
            call.tell(*pause_lines(told))
        return
    _show(call, call.daemon.post("repair/pause"))


def _show(call: Call, told: Mapping[str, Any]) -> None:
    if call.json:
        call.write(told)
    else:
        call.tell(*repair_lines(told))


def repair_lines(told: Mapping[str, Any]) -> list[str]:
    """What `/-/repair` tells, in words."""
    lines = []
    if told.get("paused"):
        lines.append("paused: no sweep is begun; aosctl repair start goes on")
    if told.get("settled"):
        lines.append("settled: every copy is where it belongs, for all that is known")
    lines.extend(f"not settled: {each}" for each in told.get("unsettled") or [])
    marks, journal = int(told.get("marks") or 0), int(told.get("journal") or 0)
    lines.append(f"{many(marks, 'key')} marked as in doubt; {many(journal, 'delete')} remembered")
    sweep = told.get("sweep")
    lines.append(f"sweep: {sweep_words(sweep)}" if sweep else "no sweep runs")
    if last := told.get("last_sweep"):
        lines.append(f"last sweep: {sweep_words(last)}")
        lines.extend(report_words(each) for each in last.get("reports") or [])
    return lines


def pause_lines(told: Mapping[str, Any]) -> list[str]:
    """What a pause would hold back: the sweep, the change under way, and what waits for it."""
    changes = told["changes"]
    paused = bool(changes.get("paused"))
    lines = ["it is paused already: nothing would be otherwise"] if paused else []
    if sweep := told.get("sweep"):
        ends = "ends" if paused else "would end"
        lines.append(f"the sweep that runs {ends}: {sweep_words(sweep)}")
    if changes.get("changing") or is_being_left(changes):
        what, rest = what_goes_on({**changes, "paused": False}), rest_of(changes)
        stands = "stands" if paused else "would stand"
        lines.append(f"{stands} still: {what}: {rest}" if rest else f"{stands} still: {what}")
    if queue := changes.get("queue"):
        waiting = [f"{queued_words(each)} of {each['node']}" for each in queue]
        lines.append(f"{'waits' if paused else 'would wait'}: {listed(waiting)}")
    if not lines:
        lines.append("no sweep runs, no change is under way, and none waits")
    if not paused:
        lines.append(
            "no sweep would begin until aosctl repair start; marked keys would be mended all the "
            "same"
        )
    return lines


def sweep_words(sweep: Mapping[str, Any]) -> str:
    """How far a sweep is, or was."""
    words = [f"{many(int(sweep.get('keys') or 0), 'key')} compared"]
    words.extend(
        f"{int(sweep[name]):,} {what}"
        for name, what in (
            ("missing", "copies missing"),
            ("made", "made"),
            ("removed", "removed"),
            ("unmended", "keys left unmended"),
        )
        if sweep.get(name)
    )
    if sweep.get("running") and sweep.get("bucket"):
        words.append(f"now at {sweep['bucket']}/{sweep.get('after') or ''}")
    words.append(f"in {time(sweep.get('seconds'))}")
    return ", ".join(words)


def report_words(report: Mapping[str, Any]) -> str:
    """A copy that nothing explains, which is kept."""
    return f"kept on {report['node']}: {report['bucket']}/{report['key']}: {report['why']}"
