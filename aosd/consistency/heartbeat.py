"""One gateway at a time: each leaves a heartbeat on the nodes, and looks for others'."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aosd.consistency.memory import Memory
from aosd.model.errors import AosdError
from aosd.ports import Candidate

HEARTBEATS = "gateways/"
_INTERVAL_S = 5.0
_FORGOTTEN_S = 30.0


class Heartbeat:
    """Writes `gateways/{run}` again and again; `other` names a gateway whose own one moves.

    `reading` gives the stamp clock's: it may be ahead of the time of day, and a run that
    follows must not begin behind it. One that doesn't move is a dead predecessor's: it delays
    nothing, and is removed.
    """

    _log = Logger()

    def __init__(
        self,
        memory: Memory,
        members: Callable[[], Sequence[Candidate]],
        clock: IReactorTime,
        run: str,
        reading: Callable[[], str],
        interval_s: float = _INTERVAL_S,
    ) -> None:
        self.other = ""
        self._memory = memory
        self._members = members
        self._clock = clock
        self._run = run
        self._reading = reading
        self._beats = 0
        # Of others' records: the beats told last, since when, and how often more were told.
        self._seen: dict[str, tuple[int, float, int]] = {}
        self._judged_s: float | None = None
        self._met = False
        self._interval_s = interval_s
        self._loop = LoopingCall(self._beat)
        self._loop.clock = clock
        self._busy: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to beat, now."""
        self._loop.start(self._interval_s).addErrback(
            lambda failure: self._log.failure("the heartbeat stopped", failure)
        )

    async def stop(self) -> None:
        """Beat no more, and take the own one away."""
        if self._loop.running:
            self._loop.stop()
        if self._busy is not None:
            await self._busy
        await self._memory.remove([HEARTBEATS + self._run])

    def _beat(self) -> Deferred[None]:
        busy = self._busy = Deferred.fromCoroutine(self._once())

        def over(_: object) -> None:
            self._busy = None

        # A loop would end with it, and nobody would look for other gateways any more.
        busy.addErrback(lambda failure: self._log.failure("a heartbeat failed", failure))
        return busy.addBoth(over)

    async def _once(self) -> None:
        self._beats += 1
        try:
            # Not acknowledged by enough: seen by few, and better than nothing.
            data = json.dumps({"beats": self._beats, "stamp": self._reading()}).encode()
            await self._memory.write(HEARTBEATS + self._run, data)
        except AosdError as error:
            self._log.debug("no heartbeat: {error}", error=error)
        found: dict[str, int] = {}
        nodes = [each.node for each in self._members() if each.node is not None]
        # At once: one that is slow to answer mustn't keep what the others know.
        reading = [Deferred.fromCoroutine(self._memory.read(node, HEARTBEATS)) for node in nodes]
        outcomes: Any = await DeferredList(reading, consumeErrors=True)
        for succeeded, outcome in outcomes:
            if not succeeded:
                if outcome.check(AosdError) is None:
                    outcome.raiseException()
                continue
            for key, told in outcome.items():
                found[key] = max(_beats(told), found.get(key, 0))
        await self._judge({key: each for key, each in found.items() if self._run not in key})

    @property
    def alone(self) -> bool:
        """Whether no other gateway was there in this run, nor may have been.

        A record that was the same an interval later is of one that is dead.
        """
        judged_s = self._judged_s
        return (
            judged_s is not None
            and not self._met
            and all(
                judged_s - since_s > 0.9 * self._interval_s for _, since_s, _ in self._seen.values()
            )
        )

    async def _judge(self, found: dict[str, int]) -> None:
        now_s = self._clock.seconds()
        self._judged_s = now_s
        moving = ""
        for key, beats in found.items():
            before, since_s, moves = self._seen.get(key, (beats, now_s, 0))
            if beats > before:
                # The last one of a dead gateway may come late: once is no sign of life.
                since_s, moves = now_s, moves + 1
            still_s = now_s - since_s
            self._seen[key] = (max(beats, before), since_s, moves)
            if moves > 1 and still_s < _FORGOTTEN_S:
                moving = key.removeprefix(HEARTBEATS)
            elif still_s >= _FORGOTTEN_S:
                del self._seen[key]
                await self._memory.remove([key])
        if moving and not self.other:
            self._log.error("another gateway, {other}, uses these nodes", other=moving)
        self.other = moving
        self._met = self._met or bool(moving)


def _beats(record: bytes) -> int:
    try:
        return int(json.loads(record)["beats"])
    except (ValueError, TypeError, KeyError):
        return 0
