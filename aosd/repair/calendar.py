"""When all was compared last, when the next sweep without an occasion is due, and from where."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IReactorTime

from aosd.observe.metrics import Metrics
from aosd.ports import INode
from aosd.repair.notes import SweepNote, SweepNotes


class Calendar:
    """What is known of whole sweeps; a clean stop leaves a note of it.

    `ring` names the ring that is, or that is coming; `now` gives seconds since 1970.

    `agreed_since_s` is when the last whole sweep began (None: there was none), `keys` how many
    it compared (0: unknown), and `part` one by the calendar that was cut short, and that may
    be gone on with.
    """

    def __init__(
        self,
        notes: SweepNotes,
        clock: IReactorTime,
        now: Callable[[], float],
        metrics: Metrics,
        *,
        interval_s: float,
        ring: Callable[[], str],
    ) -> None:
        self.agreed_since_s: float | None = None
        self.part: SweepNote | None = None
        self.keys = 0
        self._notes = notes
        self._clock = clock
        self._now = now
        self._metrics = metrics
        self._interval_s = interval_s
        self._ring = ring
        self._due_s = clock.seconds() + interval_s
        self._swept_s = 0.0

    def due(self) -> bool:
        """Whether a sweep is, with no occasion but the time."""
        return self.part is not None or self._clock.seconds() >= self._due_s

    def swept(self) -> None:
        """A sweep has come to its end."""
        self._due_s = self._clock.seconds() + self._interval_s

    def compared(self, began_s: float, keys: int | None) -> None:
        """All nodes were compared, by one that began then; `keys` None: by parts of two."""
        self.agreed_since_s, self._swept_s = began_s, self._now()
        if keys is not None:
            self.keys = keys
        self._metrics.last_sweep.set(self._swept_s)

    def cut_short(self, began_s: float, bucket: str, after: str) -> None:
        """One by the calendar was, which is done up to `after` in `bucket`."""
        if self.agreed_since_s is not None:
            self.part = self._note(self.agreed_since_s, began_s, bucket, after)

    async def write(self) -> None:
        """Leave the note, if there is anything to say."""
        if self.agreed_since_s is not None:
            await self._notes.write(self.part or self._note(self.agreed_since_s))

    async def read(self, nodes: Iterable[INode], counts: Callable[[], bool]) -> None:
        """Go on from the note that a clean stop left on `nodes`, if `counts` says so by then."""
        note = await self._notes.read(nodes)
        if note is None or note.ring != self._ring() or not counts():
            return
        if self.agreed_since_s is not None:
            return
        self.agreed_since_s, self._swept_s = note.began_s, note.ended_s
        self.keys = note.keys
        self._due_s -= max(self._now() - note.ended_s, 0.0)
        self._metrics.last_sweep.set(note.ended_s)
        self.part = note if note.part_began_s else None

    def _note(
        self, agreed_since_s: float, began_s: float = 0.0, bucket: str = "", after: str = ""
    ) -> SweepNote:
        return SweepNote(
            self._ring(), agreed_since_s, self._swept_s, began_s, bucket, after, keys=self.keys
        )
