"""`aosctl node`: changes of one node's part in the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import click

from aosd.aosctl.acting import How, change_options, forecast, make_sure, show_forecast
from aosd.aosctl.call import Call, Command, Failed, Group, IDaemon, pass_call
from aosd.aosctl.following import OVER, expect, follow, is_at_rest, node_in
from aosd.aosctl.words import number
from aosd.model.node import is_node_name

F = TypeVar("F", bound=Callable[..., Any])

_QUICK_S = 1.0
_LEAST_WEIGHT, _GREATEST_WEIGHT = 0.1, 100.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for a node.

    `page` is the last part of the door's path, `query` its parameters; `noun` names it where it
    was taken back, `done` says that it is over ("": see `undone_words`), `ends` is the membership
    that it ends with ("": any); `sure` is the question before it is done ("": none).
    """

    page: str
    noun: str
    begun: str
    done: str
    ends: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    sure: str = ""


_DRAIN = Asked("drain", "the drain", "draining", "drained: it holds nothing", "drained")


def complete_name(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of nodes that begin so, if the daemon tells them at once."""
    call = ctx.find_object(Call) or Call()
    try:
        told = call.daemon.get("nodes", timeout_s=_QUICK_S)
        names = [str(each["name"]) for each in told["nodes"]]
    except Exception:  # noqa: BLE001 — whatever it is, a line that is being typed is no place for it
        return []
    return [name for name in names if name.startswith(incomplete)]


@click.group(cls=Group)
def command() -> None:
    """Change a node's part in the cluster, while clients work.

    One change at a time: others wait, and `aosctl changes` shows them. Each goes on when aosctl
    ends, and through restarts of the daemon; `undo` takes it back until it is over.
    """


def _named(function: F) -> F:
    return click.argument("name", shell_complete=complete_name)(function)


@command.command(cls=Command)
@_named
@change_options
@pass_call
def drain(call: Call, name: str, how: How) -> None:
    """Move all copies off a node, which then may be removed."""
    act(call, name, how, _DRAIN)


@command.command(cls=Command)
@_named
@change_options
@pass_call
def undrain(call: Call, name: str, how: How) -> None:
    """Let a draining or drained node be a member again."""
    act(call, name, how, Asked("undrain", "the return", "coming back", "a member again", "member"))


@command.command(cls=Command)
@_named
@click.argument("weight", type=float)
@change_options
@pass_call
def weight(call: Call, name: str, weight: float, how: How) -> None:
    """Give a node more or less than its share: 1 is a share, 0.1 to 100; 0 drains it."""
    if weight and not _LEAST_WEIGHT <= weight <= _GREATEST_WEIGHT:
        raise click.BadParameter(
            f"{weight} is none: {_LEAST_WEIGHT:g} to {_GREATEST_WEIGHT:g}, or 0 to drain",
            param_hint="WEIGHT",
        )
    to = number(weight)
    if not weight:
        act(call, name, how, replace(_DRAIN, page="weight", query={"to": to}))
        return
    asked = Asked("weight", "the weighing", f"to weigh {to}", f"weighs {to}", query={"to": to})
    act(call, name, how, asked)


@command.command(cls=Command)
@_named
@click.argument("zone")
@change_options
@pass_call
def zone(call: Call, name: str, zone: str, how: How) -> None:
    """Say which nodes fail together with a node: a host, a rack."""
    asked = Asked(
        "zone", "the renaming", f"to be in zone {zone}", f"is in zone {zone}", query={"to": zone}
    )
    act(call, name, how, asked)


@command.command(cls=Command)
@_named
@click.option("--lose", is_flag=True, help="Even if the last copy of something is lost with it.")
@change_options
@pass_call
def remove(call: Call, name: str, lose: bool, how: How) -> None:
    """Take out a node for good: one that is drained, or dead.

    What a dead one held is copied anew from the others. It is refused while something may have
    its last copy there, and says what.
    """
    sure = f"{name} is taken out for good, and comes back only empty."
    if lose:
        sure += " What has its last copy there is lost."
    asked = Asked(
        "remove",
        "the removal",
        "being removed",
        "removed",
        "removed",
        {"lose": "1"} if lose else {},
        sure,
    )
    act(call, name, how, asked)


@command.command(cls=Command)
@_named
@change_options
@pass_call
def adopt(call: Call, name: str, how: How) -> None:
    """Take in a node that holds objects already, or that was removed.

    Objects can be read at once and get their copies. Where the cluster has the same key, one of the
    two is lost: --dry-run shows them.
    """
    asked = Asked(
        "adopt",
        "the adoption",
        "being adopted",
        "adopted, a member",
        "member",
        sure=f"{name} is taken in with all that it holds. Of what it and the cluster both have, "
        "only one is kept.",
    )
    act(call, name, how, asked)


@command.command(cls=Command)
@_named
@change_options
@pass_call
def undo(call: Call, name: str, how: How) -> None:
    """Take back what waits for a node or is under way."""
    act(call, name, how, Asked("undo", "the undoing", "being taken back", ""))


def act(call: Call, name: str, how: How, asked: Asked) -> None:
    """Ask for it, as the operator wants it done."""
    if not is_node_name(name):
        raise Failed(f"no node can be called {name!r}; aosctl nodes lists them", "NoSuchNode")
    page = f"nodes/{name}/{asked.page}"
    if how.dry_run:
        show_forecast(call, forecast(call, page, asked.query))
        return
    if asked.sure:

        def show() -> None:
            show_forecast(call, forecast(call, page, asked.query), aside=True)

        make_sure(call, how, asked.sure, show)
    told = call.daemon.post(page, asked.query)
    if told.get("queued"):
        call.say(f"{name}: waits until the change under way is over")
    if not how.wait:
        _tell(call, told, f"{name}: {asked.begun}; aosctl changes shows how far it is")
        return
    changes = follow(
        call,
        lambda _: waits_for(call.daemon, name, asked),
        f"{asked.noun} of {name} goes on: aosctl changes shows how far it is, aosctl node undo "
        f"{name} takes it back",
    )
    done = asked.done or undone_words(node_in(call.daemon.get("nodes"), name) or {})
    _tell(call, {**told, "queued": False, "changes": changes}, f"{name}: {done}")


def undone_words(node: Mapping[str, Any]) -> str:
    """What a node is once something was taken back: one that was to join doesn't go as it came."""
    membership = node.get("membership")
    if membership == "member":
        return "as it was before"
    if membership == "drained":
        return "taken back: it is drained, and what it held lies on others"
    return "taken back: it isn't taken in"


def waits_for(daemon: IDaemon, name: str, asked: Asked) -> str | None:
    """OVER when it is done. Raises Failed when it was taken back."""
    node = node_in(daemon.get("nodes"), name) or {}
    membership = node.get("membership")
    if asked.page == "adopt" and membership in (None, "removed"):
        # It is met anew, and let in unless there is something the matter with it.
        if node.get("consented") is False and "adopt" in str(node.get("reason")):
            raise Failed(
                f"{asked.noun} of {name} was taken back, or forgotten when aosd was started again: "
                f"aosctl node adopt {name} asks for it once more",
                "TakenBack",
            )
        return f"{name}: {node['reason']}" if node.get("reason") else f"{name} is being looked at"
    if membership is None:
        # A removed one may be forgotten; and that it is to join at all may be taken back.
        return OVER if asked.page in ("remove", "undo") else ""
    if not is_at_rest(node):
        return ""
    if asked.ends:
        expect(asked.noun, name, node, asked.ends)
    if asked.page == "weight" and not asked.ends:
        _expect_value(asked, name, number(float(node.get("weight") or 0)))
    if asked.page == "zone":
        _expect_value(asked, name, str(node.get("zone")))
    return OVER


def _expect_value(asked: Asked, name: str, value: str) -> None:
    if value != asked.query["to"]:
        raise Failed(f"{asked.noun} of {name} was taken back: it has {value}", "TakenBack")


def _tell(call: Call, told: Mapping[str, Any], words: str) -> None:
    if call.json:
        call.write(told)
    else:
        call.tell(words)
