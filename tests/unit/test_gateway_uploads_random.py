"""Clients' uploads among other writes of their key, with faults and other gateways, at random.

Whatever is acknowledged is read, and nothing that is older; whatever failed may be read.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from aosd.model.errors import ClusterError, NoSuchKey, NoSuchUpload, RequestError
from aosd.testing.faults import breaks, full, refused, timed_out, unavailable
from tests.unit.gateway_case import KEY
from tests.unit.uploads_case import SHORT, UploadsTestCase

_FAULTS = (
    unavailable(),
    timed_out(),
    timed_out(carried_out=True),
    refused(),
    refused(400, "InvalidRequest"),
    full(),
    breaks(20),
)
_METHODS = ("put_part", "complete_upload", "create_upload", "put", "delete", "abort_upload", "head")
_SEEDS = 80
_STEPS = 25


@dataclass
class _Open:
    upload_id: str
    data: bytes = b""
    restarts: int = 0
    tried: bool = False
    parts: list[tuple[int, str]] = field(default_factory=list)


class RandomTests(UploadsTestCase):
    count = 4

    def setUp(self) -> None:
        super().setUp()
        self.uploads_may_stay = True
        self.met = {"acknowledged": 0, "failed": 0, "unknown": 0}

    def test_what_is_acknowledged_is_read(self) -> None:
        for seed in range(_SEEDS):
            self.forget()
            for node in self.nodes:
                node.buckets["object"].clear()
                node.uploads.clear()
                node.heal()
            self.play(random.Random(seed), seed)
        for what, count in self.met.items():
            self.assertGreater(count, _SEEDS // 4, what)

    def play(self, chance: random.Random, seed: int) -> None:
        self.possible: set[bytes | None] = {None}
        self.open: list[_Open] = []
        self.made = self.restarts = 0
        self.may_lack = False
        away: list[int] = []
        for step in range(_STEPS):
            self.clock.advance(chance.choice((0, 0.5, 3)))
            for _ in range(chance.choice((0, 0, 3, 9))):
                node = chance.choice(self.nodes)
                node.script(chance.choice(_METHODS), chance.choice(_FAULTS))
            if not away and chance.random() < 0.1:
                away.append(chance.randrange(len(self.nodes)))
                self.down(self.nodes[away[0]])
            elif away and chance.random() < 0.3:
                self.back(self.nodes[away.pop()])
                self.placement.states.clear()
            elif not away and chance.random() < 0.1:
                self.restart()
                self.restarts += 1
                self.unsettle()
            chance.choice(
                (self.begin, self.send, self.send, self.complete, self.write, self.remove)
            )(chance)
            if chance.random() < 0.1 and self.open:
                self.leave(chance)
            self.check(f"seed {seed}, step {step}")
        for node in self.nodes:
            node.heal()

    # -- what clients do --------------------------------------------------------------------------

    def outcome(self, waiting: Deferred[object], data: bytes | None) -> bool:
        """Whether it was acknowledged; what the key may hold then."""
        failures: list[Exception] = []
        waiting.addErrback(lambda failure: failures.append(failure.value))
        self.successResultOf(waiting)
        if not failures:
            self.met["acknowledged"] += 1
            self.possible = {data}
        elif isinstance(failures[0], ClusterError):
            self.met["failed"] += 1
            self.possible.add(data)
        else:
            self.met["unknown"] += 1
            # Where a Complete that failed took effect on some nodes, or where a gateway that is
            # no more knew who lacks what, no node that is left may have all parts.
            self.assertIsInstance(failures[0], RequestError)
            self.assertIn(failures[0].code, ("NoSuchUpload", "InvalidPart"))
            if failures[0].code == "InvalidPart":
                self.assertTrue(self.may_lack)
        return not failures

    def quietly(self, waiting: Deferred[object]) -> object:
        waiting.addErrback(lambda failure: failure.trap(ClusterError, NoSuchUpload) and None)
        return self.successResultOf(waiting)

    def fresh(self) -> bytes:
        self.made += 1
        return SHORT + b"%d" % self.made

    def begin(self, chance: random.Random) -> None:
        upload_id = self.quietly(self.creating())  # type: ignore[arg-type]
        if isinstance(upload_id, str):
            self.open.append(_Open(upload_id, restarts=self.restarts))

    def send(self, chance: random.Random) -> None:
        if not self.open:
            self.begin(chance)
            return
        this, data = chance.choice(self.open), self.fresh()
        number = len(this.parts) + 1
        written = self.quietly(self.putting(this.upload_id, number, data))  # type: ignore[arg-type]
        if written is not None:
            this.parts.append((number, written.etag))  # type: ignore[attr-defined]
            this.data += data

    def complete(self, chance: random.Random) -> None:
        ready: Callable[[_Open], bool] = lambda each: bool(each.parts)  # noqa: E731
        if not any(map(ready, self.open)):
            self.send(chance)
            return
        this = chance.choice([each for each in self.open if ready(each)])
        self.may_lack = this.tried or this.restarts != self.restarts
        this.tried = True
        self.outcome(self.completing(this.upload_id, this.parts), this.data)  # type: ignore[arg-type]

    def write(self, chance: random.Random) -> None:
        data = self.fresh()
        self.outcome(self.put(KEY, data), data)  # type: ignore[arg-type]

    def remove(self, chance: random.Random) -> None:
        self.outcome(self.delete(KEY), None)  # type: ignore[arg-type]

    def leave(self, chance: random.Random) -> None:
        this = self.open.pop(chance.randrange(len(self.open)))
        aborted: list[object] = []
        self.aborting(this.upload_id).addCallbacks(aborted.append, lambda _: None)
        if aborted and this.parts:
            # One that failed may stand all the same.
            self.may_lack = True
            may_stand = this.data in self.possible
            completing = self.completing(this.upload_id, this.parts)
            self.assertLessEqual(self.outcome(completing, this.data), may_stand)  # type: ignore[arg-type]

    def check(self, where: str) -> None:
        for node in self.nodes:
            node.heal()
        found: list[bytes | None] = []
        reading = self.getting(KEY)
        reading.addCallbacks(
            lambda each: found.append(self.deliver(each)),
            lambda failure: (
                found.append(None)
                if failure.check(NoSuchKey)
                else self.assertIsInstance(failure.value, ClusterError)
            ),
        )
        self.successResultOf(reading)
        if found:
            self.assertIn(found[0], self.possible, where)
