"""Nodes, a gateway, and an operator who changes which nodes count and how much."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from aosd.model.node import Member
from aosd.model.ring import Ring
from tests.fault.durable import FLAGS, Durable
from tests.integration.nodes import RealNode
from tests.integration.processes import clean_environment
from tests.integration.waiting import until
from tests.integration.wire import Answer, ask

TOKEN = "the-operator-of-these-tests"
REPLICAS = 2

# Slow enough that what is to happen in the middle of a change does.
SLOW_SWEEPS = ("--sweep-keys-per-s=300",)

# Also where nodes are slow, and a sweep that was begun too early has to be made again.
CHANGED_S = 240.0

_AOSCTL = "from aosd.aosctl.main import main; main()"
_AOSCTL_S = 300.0


class Operated(Durable):
    """Nodes that an operator may take away; `gone` are those that don't count any more."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        flags: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            folder, names, flags, {"AOSD_OPERATOR_TOKEN": TOKEN, **(environment or {})}
        )
        self.gone: dict[str, RealNode] = {}

    def end(self) -> None:
        """Whatever state all of it is in."""
        super().end()
        for node in self.gone.values():
            node.end()

    def let_go(self, name: str) -> RealNode:
        """A node that was removed: it is no longer in the file, and nobody waits for it."""
        node = self.gone[name] = self.nodes.pop(name)
        self.write_file()
        return node

    def undo_all(self) -> None:
        """What a failed test may have left: repair that pauses, nodes that are to go."""
        if self.daemon.process.poll() is not None:
            return
        if self.changes()["paused"]:
            self.post("repair/start")
        for name in self.nodes:
            if self.membership(name) in ("draining", "drained", "removing"):
                self.post(f"nodes/{quote(name)}/undo")

    # -- acts -------------------------------------------------------------------------------------

    def post(self, path: str, token: str = TOKEN, **parameters: object) -> Answer:
        """POST to the operations door."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        headers = {"Authorization": f"Bearer {token}"}
        return ask(self.port(), "POST", f"/-/{path}{query}", headers, None, 60.0)

    def act(self, name: str, act: str, **parameters: object) -> dict[str, Any]:
        """What the door answers to an act that it takes."""
        answer = self.post(f"nodes/{quote(name)}/{act}", **parameters)
        assert answer.status == 202, answer
        told: dict[str, Any] = answer.json
        return told

    def forecast(self, name: str, act: str, **parameters: object) -> dict[str, Any]:
        """What an act would cost."""
        answer = self.post(f"nodes/{quote(name)}/{act}", **parameters, dry_run=1)
        assert answer.status == 200, answer
        told: dict[str, Any] = answer.json
        return told

    def refused(self, name: str, act: str, **parameters: object) -> str:
        """Why it isn't done."""
        answer = self.post(f"nodes/{quote(name)}/{act}", **parameters)
        assert answer.status == 409, answer
        return str(answer.json["error"])

    def remove_lost(self, name: str) -> None:
        """Remove a dead node, once nothing stands in the way but that others are compared."""

        def is_taken() -> bool:
            answer = self.post(f"nodes/{quote(name)}/remove")
            if answer.status == 409:
                assert "wait" in answer.json["error"], answer
            else:
                assert answer.status == 202, answer
            return answer.status == 202

        until(is_taken, f"{name} may go", CHANGED_S)

    def aosctl(self, *words: str, expected: int = 0) -> str:
        """What aosctl says; it runs elsewhere, and is told where the gateway is."""
        done = subprocess.run(
            [sys.executable, "-c", _AOSCTL, *words],
            check=False,
            cwd=self.folder,
            env=clean_environment(
                AOSD_URL=f"http://127.0.0.1:{self.port()}", AOSD_OPERATOR_TOKEN=TOKEN
            ),
            capture_output=True,
            text=True,
            timeout=_AOSCTL_S,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == expected, done
        return done.stdout

    def aosctl_json(self, *words: str) -> Any:
        return json.loads(self.aosctl(*words, "--json"))

    # -- what it tells ----------------------------------------------------------------------------

    def changes(self) -> dict[str, Any]:
        """What /-/changes tells, once it is known."""
        until(lambda: self.daemon.ask("GET", "/-/changes").status == 200, "changes are known")
        told: dict[str, Any] = self.daemon.ask("GET", "/-/changes").json
        return told

    def membership(self, name: str) -> str:
        """Where a node stands, as /-/nodes tells; nothing when it doesn't know it."""
        told = self.daemon.nodes()["nodes"]
        return next((str(each["membership"]) for each in told if each["name"] == name), "")

    def the_ring(self) -> Ring:
        """The ring as it is now, to be asked here."""
        told = self.daemon.ask("GET", "/-/ring").json
        ring = Ring(Member(each["name"], each["weight"], each["zone"]) for each in told["members"])
        assert ring.name == told["ring"]
        return ring

    def wait_for(self, name: str, membership: str, deadline_s: float = CHANGED_S) -> None:
        try:
            until(
                lambda: self.membership(name) == membership, f"{name} is {membership}", deadline_s
            )
        except AssertionError as error:
            error.add_note(str(self._told()))
            raise

    def wait_until_changed(self, deadline_s: float = CHANGED_S) -> None:
        """No change is under way, and none waits."""

        def is_over() -> bool:
            told = self.changes()
            return not told["changing"] and not told["queue"]

        until(is_over, "the changes are over", deadline_s)

    def wait_until_copying(self, least: int = 1) -> None:
        """A change is under way, and has made some copies."""
        before = self.copies_made()
        until(
            lambda: self.changes()["changing"] and self.copies_made() >= before + least,
            f"{least} copies are made",
            CHANGED_S,
        )

    def copies_made(self) -> float:
        """By this gateway, since it was started."""
        return self.daemon.metric("aosd_copies_made_total")

    def _told(self) -> str:
        return f"{self.changes()}"


@contextmanager
def running_operated(
    folder: Path, names: Sequence[str], *flags: str, expected: Sequence[str] = ()
) -> Iterator[Operated]:
    """As running_durable, with an operator."""
    operated = Operated(folder, names, [f"--replicas={REPLICAS}", *FLAGS, *SLOW_SWEEPS, *flags])
    with ExitStack() as stack:
        stack.callback(operated.end)
        operated.start()
        yield operated
        operated.daemon.stop(expected)
