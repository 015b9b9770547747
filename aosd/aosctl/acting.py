"""What all commands have in common that change something.

`--dry-run` shows what it would cost, `--yes` leaves out the question, `--no-wait` the wait for
its end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from aosd.aosctl.call import Call, Failed
from aosd.aosctl.tables import Column, show_table
from aosd.aosctl.words import brief, many, seen, size, time

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN_CONFLICTS = 20


@dataclass(frozen=True, slots=True)
class How:
    """How a change is to be made."""

    dry_run: bool
    yes: bool
    wait: bool


def change_options(command: F) -> F:
    """Give a command its argument `how`."""

    @wraps(command)
    def decorated(*args: Any, dry_run: bool, yes: bool, wait: bool, **kwargs: Any) -> Any:
        return command(*args, how=How(dry_run, yes, wait), **kwargs)

    found: Any = decorated
    for option in (
        click.option(
            "--wait/--no-wait",
            default=True,
            help="Wait until it is over, and show how far it is. It goes on without that too.",
        ),
        click.option("--yes", "-y", is_flag=True, help="Don't ask whether you are sure."),
        click.option(
            "--dry-run",
            is_flag=True,
            help="Change nothing: show the keys, bytes and time that it would take.",
        ),
    ):
        found = option(found)
    return cast(F, found)


def forecast(call: Call, page: str, query: Mapping[str, str]) -> dict[str, Any]:
    """What a change would do, from the nodes' real listings; that may take a while."""
    with call.err.status("asking the nodes what they hold…"):
        told: dict[str, Any] = call.daemon.post(page, {**query, "dry_run": "1"}, timeout_s=None)
    return told


def show_forecast(call: Call, told: Mapping[str, Any], *, aside: bool = False) -> None:
    """A forecast, as JSON or for people; see show_told."""
    show_told(call, told, lambda console: write_forecast(console, told), aside=aside)


def show_told(
    call: Call,
    told: Mapping[str, Any],
    write: Callable[[Console], None],
    *,
    aside: bool,
) -> None:
    """What a change would do, as JSON or as `write` does; `aside`: it isn't what was asked for.

    Raises Failed when it would be refused.
    """
    as_json = call.json and not aside
    if as_json:
        call.write(told)
    else:
        write(call.err if aside else call.out)
    if refusal := told.get("refusal"):
        if as_json:
            call.say(f"aosctl: it would be refused: {refusal}")
            sys.exit(Failed.exit_code)  # the one document is written
        raise Failed(f"it would be refused: {refusal}", "ChangeRefused")


def write_forecast(console: Console, told: Mapping[str, Any]) -> None:
    """For people: what would move in all, and a row for each node with a part in it."""
    for line in forecast_lines(told):
        console.print(seen(line))
    rows = forecast_rows(told.get("nodes") or {})
    if rows:
        columns = [
            Column("NODE"),
            Column("IN", number=True),
            Column("BYTES", number=True),
            Column("OUT", number=True),
            Column("BYTES", number=True),
            Column("TIME", number=True),
        ]
        show_table(console, columns, rows)
    _write_conflicts(console, told)


def forecast_lines(told: Mapping[str, Any]) -> list[str]:
    """What would move in all, in words."""
    keys, moved = int(told.get("keys") or 0), int(told.get("moved_keys") or 0)
    size_bytes = told.get("bytes", told.get("size_bytes")) or 0
    lines = [f"{many(keys, 'key')} in all, {size(size_bytes)}"]
    nodes: Mapping[str, Mapping[str, Any]] = told.get("nodes") or {}
    removed = sum(int(share.get("copies_out", 0)) for share in nodes.values())
    if moved:
        words = f"{many(moved, 'key')} would move, {size(told.get('moved_bytes') or 0)}"
        if share := told.get("moved_share"):
            words += f": {share:.1%} of all copies"
        lines.append(words)
    elif removed:
        lines.append(f"{many(removed, 'copy')} would be removed")
    else:
        lines.append("nothing would move")
    if moved or removed:
        words = f"it takes about {time(told.get('seconds'))}"
        if told.get("seconds_are") == "assumed":
            words += ", as a guess: nothing was copied yet to measure it by"
        lines.append(words)
    each, now = told.get("copies_each"), told.get("copies_each_now")
    if each is not None and now is not None and each < now:
        lines.append(
            f"too few nodes would be left: {many(each, 'copy')} of each key instead of {now}"
        )
    lines.extend(
        f"{name} couldn't be listed: what it alone holds isn't in this"
        for name in told.get("unlisted") or []
    )
    return lines


def forecast_rows(nodes: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """A row for each node that takes or gives something."""
    rows = []
    for name in sorted(nodes):
        share = nodes[name]
        copies_in, copies_out = int(share.get("copies_in", 0)), int(share.get("copies_out", 0))
        if copies_in or copies_out:
            rows.append(
                [
                    name,
                    f"{copies_in:,}" if copies_in else "",
                    size(share.get("bytes_in", 0)) if copies_in else "",
                    f"{copies_out:,}" if copies_out else "",
                    size(share.get("bytes_out", 0)) if copies_out else "",
                    brief(share.get("seconds")),
                ]
            )
    return rows


def _write_conflicts(console: Console, told: Mapping[str, Any]) -> None:
    conflicts: Sequence[Mapping[str, Any]] = told.get("conflicts") or []
    in_all = int(told.get("conflicts_in_all") or len(conflicts))
    if not in_all:
        return
    # With a key that aosd doesn't serve, or one that some nodes won't list, nothing is lost.
    losing = [bool(each.get("loses")) for each in conflicts]
    if all(losing):
        verb = "is" if in_all == 1 else "are"
        words = f"{verb} there twice with different bytes; one of the two is lost:"
    else:
        lost = "what LOSES names" if any(losing) or in_all > len(conflicts) else "nothing"
        words = f"{'needs' if in_all == 1 else 'need'} a look; {lost} is lost:"
    console.print(f"{many(in_all, 'key')} {words}")
    show_table(
        console,
        [Column("KEY"), Column("WINS"), Column("LOSES"), Column("WHY", words=True)],
        [
            [
                f"{each.get('bucket')}/{each.get('key')}",
                str(each.get("wins")),
                str(each.get("loses")),
                str(each.get("why") or ""),
            ]
            for each in conflicts[:_SHOWN_CONFLICTS]
        ],
    )
    if in_all > _SHOWN_CONFLICTS:
        left = in_all - min(len(conflicts), _SHOWN_CONFLICTS)
        listed_in = (
            "--dry-run --json lists them"
            if len(conflicts) == in_all
            else (f"--dry-run --json lists the first {len(conflicts):,}")
        )
        console.print(f"and {left:,} more: {listed_in}")


def make_sure(call: Call, how: How, words: str, show: Callable[[], object]) -> None:
    """Ask whether the operator means it, unless they said so; `show` what it costs beforehand.

    Raises UsageError where nobody can be asked, and Failed when it isn't meant.
    """
    if how.yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{words} --yes does it, --dry-run shows what it would do: without a terminal you "
            "can't be asked"
        )
    show()
    if not click.confirm(f"{words} Do it?", default=False, err=True):
        raise Failed("nothing was changed", "NotConfirmed")
