"""`aosctl leave`: the cluster ends, and plain objects remain on plain S3 servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from aosd.aosctl.acting import How, change_options, forecast, make_sure, show_forecast
from aosd.aosctl.call import Call, Command, Failed, pass_call
from aosd.aosctl.following import Look, follow
from aosd.aosctl.node import complete_name

_SURE = (
    "Writes are refused at the end, aosd's own bucket aos-system is removed from all nodes, and "
    "this cluster is no more; the objects remain where they are."
)
_INTERRUPTED = (
    "leaving goes on: aosctl changes shows how far it is; what was begun can't be taken back once "
    "writes are refused"
)


@click.command(cls=Command)
@click.option(
    "--gather",
    metavar="NAME",
    shell_complete=complete_name,
    help="Put a copy of everything on this node first.",
)
@change_options
@pass_call
def command(call: Call, gather: str | None, how: How) -> None:
    """Take aosd away from its nodes.

    Mending is finished, writes are refused, and aos-system is removed. What remains are plain
    objects, which any S3 client reads.
    """
    query = {"gather": gather} if gather else {}
    if how.dry_run:
        show_plan(call, forecast(call, "leave", query))
        return
    make_sure(call, how, _SURE, lambda: show_plan(call, forecast(call, "leave", query), aside=True))
    told = call.daemon.post("leave", query)
    if how.wait:
        told = {**told, "changes": follow(call, is_over, _INTERRUPTED)}
        told["leaving"] = told["changes"]["leaving"]
        words = "left: the nodes hold plain objects, and nothing of aosd"
    else:
        words = "leaving; aosctl changes shows how far it is"
    if call.json:
        call.write(told)
    else:
        call.tell(words)


def is_over(look: Look) -> bool:
    """Whether it is done. Raises Failed when it was taken back."""
    leaving = look.get("leaving")
    if not leaving:
        raise Failed("leaving was taken back", "TakenBack")
    return bool(leaving.get("phase") == "left")


def show_plan(call: Call, plan: Mapping[str, Any], *, aside: bool = False) -> None:
    """What leaving would do, as the daemon tells it; see show_forecast."""
    show_forecast(call, plan, aside=aside)
