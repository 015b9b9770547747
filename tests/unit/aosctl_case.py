"""aosctl without a daemon: one that answers what a test says, and a clock that runs at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from aosd.aosctl.call import Call
from aosd.aosctl.main import main

Answer = Any
"""What a page tells, or what is raised for it, or a list of these, of which the last stays."""


class ScriptedDaemon:
    """An IDaemon. `asked` has what it was asked: verb and page with its query."""

    url = "http://scripted:3000"

    def __init__(self, **pages: Answer) -> None:
        self.pages: dict[str, Answer] = dict(pages)
        self.asked: list[str] = []
        self.timeouts: dict[str, float | None] = {}

    def get(
        self, page: str, query: Mapping[str, str] | None = None, *, timeout_s: float | None = 10.0
    ) -> Any:
        return self._answer("GET", page, query, timeout_s)

    def post(
        self, page: str, query: Mapping[str, str] | None = None, *, timeout_s: float | None = 60.0
    ) -> Any:
        return self._answer("POST", page, query, timeout_s)

    def posted(self) -> list[str]:
        return [each.removeprefix("POST ") for each in self.asked if each.startswith("POST")]

    def _answer(
        self, verb: str, page: str, query: Mapping[str, str] | None, timeout_s: float | None
    ) -> Any:
        words = "&".join(f"{name}={value}" for name, value in (query or {}).items())
        self.asked.append(f"{verb} {page}" + (f"?{words}" if words else ""))
        self.timeouts[page] = timeout_s
        answer = self.pages[page]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


class AosctlCase(SynchronousTestCase):
    """`run` calls aosctl with a ScriptedDaemon; time passes as it sleeps."""

    def setUp(self) -> None:
        self.daemon = ScriptedDaemon()
        self.now_s = 0.0
        self.when: dict[float, Callable[[], object]] = {}

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        for at_s in [each for each in self.when if each <= self.now_s]:
            self.when.pop(at_s)()

    def run_aosctl(self, *words: str, code: int = 0, input: str | None = None) -> Result:  # noqa: A002
        call = Call(reach=lambda _: self.daemon, sleep=self.sleep, now=lambda: self.now_s)
        result = CliRunner().invoke(main, list(words), obj=call, input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.assertEqual(result.exit_code, code, result.output)
        return result

    def lines(self, *words: str, code: int = 0) -> list[str]:
        """What is written."""
        return self.run_aosctl(*words, code=code).stdout.splitlines()

    def document(self, *words: str, code: int = 0) -> Any:
        """The one JSON document that is written with --json."""
        return json.loads(self.run_aosctl(*words, "--json", code=code).stdout)

    def refused(self, *words: str, code: int) -> str:
        """The one line that says what is wrong; nothing else is written."""
        result = self.run_aosctl(*words, code=code)
        self.assertEqual(result.stdout, "")
        [line] = result.stderr.splitlines()
        self.assertTrue(line.startswith("aosctl: "), line)
        return line.removeprefix("aosctl: ")


def node(name: str, **more: Any) -> dict[str, Any]:
    """As `/-/nodes` tells of a node that is well."""
    return {
        "name": name,
        "member": True,
        "state": "up",
        "reason": "",
        "zone": name,
        "weight": 1.0,
        "url": f"http://{name}:9000",
        "seen_as": None,
        "incarnation": "i",
        "membership": "member",
        "coming": None,
        "left": False,
        "adopted": False,
        "queued": None,
        "clock_ahead_s": 0.0,
        **more,
    }


def nodes(*found: dict[str, Any], **more: Any) -> dict[str, Any]:
    """As `/-/nodes` tells."""
    return {
        "cluster": "c",
        "ring": "r",
        "changing": False,
        "next_may_go": True,
        "wait_for": [],
        "nodes": list(found),
        "unusable": [],
        "providers": [],
        **more,
    }


QUIET: dict[str, Any] = {
    "changing": False,
    "phase": "",
    "progress": None,
    "queue": [],
    "paused": False,
    "leaving": None,
}


def changes(phase: str = "copying", **progress: Any) -> dict[str, Any]:
    """As `/-/changes` tells of one under way."""
    told = {
        "phase": phase,
        "nodes": ["n2"],
        "keys": 12_000,
        "of_keys": 100_000,
        "copies": 3_000,
        "removed": 0,
        "bytes": 3 * 1024**3,
        "seconds": 61.0,
        "rate_keys_per_s": 1950.4,
        "seconds_left": 45.2,
        "paused": False,
        **progress,
    }
    return {**QUIET, "changing": True, "phase": phase, "progress": told}
