"""`aosctl`: what operators ask and tell a cluster. One module a command, or a group of them.

A command's module is loaded when that command is called, so that help and completion are
there at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from gettext import gettext
from importlib import import_module
from typing import Any, NoReturn

import click

from aosd.aosctl.call import Call, Failed, Group, Interrupted
from aosd.aosctl.words import seen
from aosd.model.errors import AosdError, ConfigurationError

PROGRAM = "aosctl"
DONE, FAILED, USAGE, UNREACHABLE, UNHEALTHY, INTERRUPTED = 0, 1, 2, 3, 4, 130

EXIT_CODES = {
    DONE: "done",
    FAILED: "refused, or failed",
    USAGE: "wrongly called, or wrong settings",
    UNREACHABLE: "no daemon can be reached",
    UNHEALTHY: "the daemon isn't ready, or something is not healthy",
    INTERRUPTED: "interrupted; what was begun goes on",
}

# Each command's module, where it is called `command`, and what the list of commands says of it.
COMMANDS = {
    "nodes": "The nodes, and how each is.",
    "node": "Drain, weigh, remove, adopt a node, and take it back.",
    "changes": "The change under way, and what waits for it.",
    "explain": "Why a key lies where it lies, and which copy counts.",
    "repair": "Look at repair, start it, pause it.",
    "doctor": "Examine each node, and say what to do.",
    "leave": "Take aosd away from its nodes; plain objects remain.",
    "credentials": "Show the pair that may do everything.",
    "completion": "Print what makes a shell complete aosctl's words.",
}

_EPILOG = (
    "\b\nExit codes:\n"
    + "\n".join(f"  {code:<4} {words}" for code, words in EXIT_CODES.items())
    + "\n\nOn the daemon's host it is found by itself, when aosctl is given what the daemon is "
    "given: the same AOSD_ variables and flags (--config, --operations, --http, --nodes, --data). "
    "Elsewhere --url and --token say where it is and who you are."
)


class Aosctl(Group):
    """The commands; and what becomes of errors: one line, and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load it."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"aosd.aosctl.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Without loading any."""
        with formatter.section(gettext("Commands")):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run a command and exit."""
        extra["prog_name"] = PROGRAM
        extra["standalone_mode"] = False
        call = extra.setdefault("obj", Call())
        try:
            code = super().main(args, *rest, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = USAGE
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else PROGRAM
            words = f"{_sentence(error.format_message())}; {where} --help tells more"
            code = _fail(call, words, "WronglyCalled", USAGE)
        except click.ClickException as error:
            code = _fail(call, error.format_message(), "Failed", error.exit_code)
        except Interrupted as error:
            code = _fail(call, str(error), "Interrupted", INTERRUPTED)
        except click.Abort:
            code = _fail(call, "interrupted", "Interrupted", INTERRUPTED)
        except AosdError as error:
            code = USAGE if isinstance(error, ConfigurationError) else FAILED
            if isinstance(error, Failed):
                code = error.exit_code
            _fail(call, str(error), getattr(error, "code", type(error).__name__), code)
        sys.exit(code if isinstance(code, int) else DONE)


def _fail(call: Call, words: str, what: str, code: int) -> int:
    if call.json:
        call.write({"error": words, "code": what})
    click.echo(f"{PROGRAM}: {seen(' '.join(words.split()))}", err=True)
    return code


def _sentence(words: str) -> str:
    return words.strip().removesuffix(".")


@click.command(cls=Aosctl, epilog=_EPILOG)
@click.version_option(package_name="aosd", prog_name=PROGRAM, message="%(prog)s %(version)s")
def main() -> None:
    """What operators ask and tell a cluster of aosd."""
