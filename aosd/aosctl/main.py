"""`aosctl`: what operators ask and tell a cluster. One module a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

from twisted.python import usage

from aosd.aosctl.credentials import CredentialsOptions
from aosd.model.errors import AosdError


class Aosctl(usage.Options):
    """Which command, and its options. A command has `run`, as CredentialsOptions does."""

    synopsis = "Usage: aosctl COMMAND [options]"
    longdesc = "aosctl COMMAND --help tells more of a command."
    subCommands = (
        ("credentials", None, CredentialsOptions, "Show the pair that may do everything."),
    )

    def opt_version(self) -> None:
        """Show which version this is, and exit."""
        sys.stdout.write(f"aosctl {version('aosd')}\n")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """See usage.Options; wrong ones end the process with one line and status 1."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(f"aosctl: {error}; aosctl --help lists the commands") from error

    def postOptions(self) -> None:
        """See usage.Options."""
        if getattr(self, "subOptions", None) is None:
            raise usage.UsageError("a command is missing")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: with status 0, or with 1 and one line that says what is wrong."""
    options = Aosctl()
    options.parseOptions(arguments)
    command = options.subOptions

    async def run(reactor: Any) -> None:
        try:
            await command.run(reactor, sys.stdout.write)
        except AosdError as error:
            raise SystemExit(f"aosctl: {error}") from error

    # An entry of its own, as makeService is: it may know the global reactor.
    from twisted.internet.task import react

    react(run)
