"""The log as JSON: one object a line, for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any, cast

from twisted.logger import FileLogObserver, LogEvent, formatEvent
from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool

_DEFAULT_LOG_FILE = "twistd.log"


def json_line(event: LogEvent) -> str:
    """An event as a line: time, level, where it is from, the message, and its own fields.

    Fields that are no JSON are given as text.
    """
    level = event.get("log_level")
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": level.name if level is not None else "info",
        "from": event.get("log_namespace", "-"),
        "message": formatEvent(event),
    }
    for name, value in event.items():
        if not name.startswith("log_") and name not in line and _is_plain(value):
            line[name] = value
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        line["traceback"] = failure.getTraceback()
    return json.dumps(line) + "\n"


def json_observer(twistd_options: Mapping[str, Any] | None) -> FileLogObserver:
    """An observer that writes where twistd's own would, by twistd's options."""
    return FileLogObserver(_log_file(twistd_options or {}), json_line)


def hush(pool: HTTPConnectionPool) -> None:
    """Keep a client's pool from logging the begin and the end of each connection.

    Twisted's factories are noisy unless told otherwise, and the pool offers no way to tell
    the one that it makes.
    """
    quiet = type("QuietFactory", (pool._factory,), {"noisy": False})  # noqa: SLF001
    pool._factory = cast(Any, quiet)  # noqa: SLF001


def _log_file(options: Mapping[str, Any]) -> IO[str]:
    name = options.get("logfile")
    if name == "-" or (not name and options.get("nodaemon")):
        return sys.stdout
    # Stays open for the life of the process.
    return open(name or _DEFAULT_LOG_FILE, "a", encoding="utf-8")  # noqa: PTH123


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))
