"""Waiting for a change to be over, which goes on without us."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aosd.aosctl.call import Call, Failed, Interrupted, NotReady, Unreachable
from aosd.aosctl.progress import Display

_LOOK_EVERY_S = 1.0
_PATIENCE_S = 120.0  # as long as a daemon may take that is started again

Look = Mapping[str, Any]
"""What `/-/changes` tells."""


OVER = None
"""What is asked whether it is over answers so, or else with what it waits for ("": unknown)."""


def follow(call: Call, waits_for: Callable[[Look], str | None], interrupted: str) -> Look:
    """Show how far the changes are until it is OVER, and return what was seen last.

    `waits_for` may ask the daemon, and raises Failed when what was asked for will never be. Raises
    Interrupted with the words given, and Unreachable when the daemon stays away.
    """
    away_since_s: float | None = None
    with Display(call) as display:
        try:
            while True:
                try:
                    look: Look = call.daemon.get("changes")
                    why = waits_for(look)
                    if why is OVER:
                        return look
                    display.show(look, why)
                    away_since_s = None
                except (Unreachable, NotReady) as error:
                    now_s = call.now()
                    away_since_s = now_s if away_since_s is None else away_since_s
                    if now_s - away_since_s >= _PATIENCE_S:
                        raise
                    display.note(f"trying again: {error}")
                call.sleep(_LOOK_EVERY_S)
        except KeyboardInterrupt:
            raise Interrupted(interrupted) from None


def node_in(told: Look, name: str) -> Mapping[str, Any] | None:
    """What `/-/nodes` tells of a node; None when it isn't there."""
    nodes: list[Mapping[str, Any]] = told.get("nodes") or []
    return next((each for each in nodes if each.get("name") == name), None)


def is_at_rest(node: Mapping[str, Any]) -> bool:
    """Whether no change has to do with a node, neither under way nor waiting."""
    return (
        node.get("membership") not in ("joining", "draining", "removing")
        and not node.get("queued")
        and not node.get("coming")
        and not node.get("adopted")
    )


def expect(what: str, name: str, node: Mapping[str, Any], membership: str) -> None:
    """Raise Failed when a node came to rest as something else than was asked for."""
    now = node.get("membership")
    if now != membership:
        is_now = f"is {now}" if now else "isn't taken in"
        raise Failed(f"{what} of {name} was taken back: it {is_now}", "TakenBack")
