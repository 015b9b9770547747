"""One call of aosctl: what was said before and after the command, and where its words go."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Protocol

import click

from aosd.aosctl.words import seen
from aosd.model.errors import AosdError

if TYPE_CHECKING:
    from rich.console import Console

# Where no terminal is, nothing is broken into lines: other programs read it.
_NEVER_WRAPPED = 10_000


class Failed(AosdError):
    """What was asked for isn't done; `exit_code` says how that is told, `code` is the door's."""

    exit_code = 1

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code or type(self).__name__


class Unreachable(Failed):
    """No daemon answers, or what answers is none."""

    exit_code = 3


class NotReady(Failed):
    """The daemon answers that it can't do it now."""

    exit_code = 4


class TokenUnknown(Failed):
    """Nobody said the operator's token, and no node tells it."""


class Interrupted(AosdError):
    """The operator went away; the words say what goes on without them."""


class IDaemon(Protocol):
    """The operations door of a daemon. Both raise Failed, and return what the JSON holds."""

    url: str

    def get(
        self, page: str, query: Mapping[str, str] | None = None, *, timeout_s: float | None = 10.0
    ) -> Any:
        """Read `/-/page`."""

    def post(
        self, page: str, query: Mapping[str, str] | None = None, *, timeout_s: float | None = 60.0
    ) -> Any:
        """Ask for something, with the operator's token; None waits for as long as it takes."""


def _found(call: Call) -> IDaemon:
    # What it takes to reach a daemon is loaded by the commands that do.
    from aosd.aosctl.finding import find_daemon

    return find_daemon(call)


@dataclass
class Call:
    """What all commands know. `flags` are the daemon's own, by their settings' names.

    `reach` finds the daemon; `sleep` and `now` are the clock of those that wait.
    """

    url: str = ""
    token: str = ""
    json: bool = False
    flags: dict[str, Any] = field(default_factory=dict)
    reach: Callable[[Call], IDaemon] = _found
    sleep: Callable[[float], object] = time.sleep
    now: Callable[[], float] = time.monotonic

    @cached_property
    def daemon(self) -> IDaemon:
        """The daemon, found when it is asked for. Raises Failed, ConfigurationError."""
        return self.reach(self)

    @cached_property
    def out(self) -> Console:
        """For what was asked for; in colours on a terminal only."""
        return _console(stderr=False)

    @cached_property
    def err(self) -> Console:
        """For everything else."""
        return _console(stderr=True)

    def tell(self, *lines: str, style: str = "") -> None:
        """Write what was asked for, in words."""
        for line in lines:
            self.out.print(seen(line), style=style or None)

    def say(self, *lines: str) -> None:
        """Write what else there is to know, beside what was asked for."""
        for line in lines:
            self.err.print(seen(line))

    def write(self, document: object) -> None:
        """Write the one JSON document of this call."""
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    return Console(
        stderr=stderr,
        force_terminal=terminal,
        width=None if terminal else _NEVER_WRAPPED,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=not terminal,
    )


pass_call = click.make_pass_decorator(Call, ensure=True)


def _remember(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
    # None where it wasn't said here: it may have been said before the command.
    if value is not None and parameter.name is not None:
        setattr(ctx.ensure_object(Call), parameter.name, value)


def _remember_flag(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value and parameter.name is not None:
        ctx.ensure_object(Call).flags[parameter.name] = (
            list(value) if isinstance(value, tuple) else value
        )


def _common_options() -> list[click.Parameter]:
    said: dict[str, Any] = {"expose_value": False, "callback": _remember}
    return [
        click.Option(
            ["--url"],
            metavar="URL",
            help="Where the daemon's operations door is. AOSD_URL",
            **said,
        ),
        click.Option(
            ["--token"],
            metavar="TOKEN",
            help="The operator's token. AOSD_OPERATOR_TOKEN",
            **said,
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            default=None,
            help="Write one JSON document, and words to standard error only.",
            **said,
        ),
    ]


def _daemon_options() -> list[click.Parameter]:
    from aosd.settings import flag_of, from_flags, is_repeatable

    return [
        click.Option(
            [flag_of(name), name],
            multiple=is_repeatable(name),
            hidden=True,
            expose_value=False,
            callback=_remember_flag,
        )
        for name in from_flags()
    ]


def _know_all(command: click.Command, words: Iterable[str]) -> None:
    """Let the command know the daemon's flags, if there is one that it doesn't know.

    They are known to the settings, which take their time to load.
    """
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    known.add("--help")
    said = {word.partition("=")[0] for word in words if word.startswith("--") and word != "--"}
    if said - known:
        command.params.extend(
            each for each in _daemon_options() if not known.intersection(each.opts)
        )


class Command(click.Command):
    """One that takes what all take, and the daemon's own flags."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_common_options())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Command."""
        _know_all(self, args)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """Commands of one kind; what all take may be said before their names, too."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_common_options())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Command."""
        names = self.list_commands(ctx)
        _know_all(self, takewhile(lambda word: word not in names, args))
        return super().parse_args(ctx, args)
