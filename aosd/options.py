"""twistd's command line for aosd: every setting is a flag."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.python import usage

from aosd.model.errors import ConfigurationError
from aosd.settings import (
    Settings,
    default_of,
    flag_of,
    from_flags,
    is_repeatable,
    variable_of,
)
from aosd.settings_sources import load_settings


class Options(usage.Options):
    """Parses flags, environment and file into Settings.

    `parseOptions` ends the process with one line on standard error and exit code 1 when
    anything is wrong: twistd would print its whole help. After it, `settings` holds the
    settings (as does `self["settings"]`), and `unknown_environment` the names in the
    environment that look like settings but are none.
    """

    synopsis = "Usage: twistd [twistd's options] aosd [options]"
    longdesc = (
        "Makes one object store out of any number of S3 servers. Each option can be given in "
        "the environment too (--log-format is AOSD_LOG_FORMAT), or in the file that --config "
        "names (log_format); an option beats the environment, which beats the file."
    )

    program = "aosd"  # as errors name it
    usage_from = "twistd aosd --help"
    settings: Settings
    unknown_environment: tuple[str, ...]

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._environment = environment
        self._given: dict[str, Any] = {}

    def parseOptions(self, options: Iterable[str] | None = None) -> None:
        """Parse `options`, or `sys.argv` without its first; see the class for errors."""
        try:
            super().parseOptions(options)
        except (usage.UsageError, ConfigurationError) as error:
            raise SystemExit(f"{self.program}: {self._explained(str(error))}") from error

    def parseArgs(self, *arguments: str) -> None:
        """Refuse whatever is no option."""
        if arguments:
            raise usage.UsageError(f"{arguments[0]!r} is no option; options begin with --")

    def postOptions(self) -> None:
        """Load the settings."""
        self.settings, self.unknown_environment = load_settings(self._given, self._environment)
        self["settings"] = self.settings

    def collect(self, name: str, value: str) -> None:
        """Take one flag's value; the last one counts unless the setting is repeatable."""
        if is_repeatable(name):
            self._given.setdefault(name, []).append(value)
        elif value or name not in ("operations", "config", "identities_file", "s3_domain"):
            self._given[name] = value

    def _explained(self, message: str) -> str:
        words = message.split()
        if not message.endswith("not recognized"):
            return message
        flags = [flag_of(name) for name in from_flags()]
        close = difflib.get_close_matches(words[1], flags, n=1, cutoff=0.7)
        meant = f": {close[0]} may be meant" if close else ""
        return f"{words[1]} is no option{meant}; {self.usage_from} lists them all"


def _handler(name: str) -> Callable[[Options, str], None]:
    def handle(self: Options, value: str) -> None:
        self.collect(name, value)

    said = Settings.model_fields[name].description
    default = default_of(name)
    # usage.Options looks for methods, and shows their docstrings as help.
    handle.__doc__ = f"{said} {variable_of(name)}" + (f" [default: {default}]" if default else "")
    return handle


for _name in from_flags():
    setattr(Options, f"opt_{_name}", _handler(_name))
