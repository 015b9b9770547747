"""What a mutant is, and the hunt for one."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

from aosd.testing.simulation.play import play
from aosd.testing.simulation.reference import PromiseBroken

Patches = Sequence[tuple[Any, str, Any]]
"""What to replace: of a class or module, the attribute of that name, by this."""

Trace = Callable[[], None]


@dataclass(frozen=True)
class Mutant:
    """A way to break the daemon: it leaves out what `clause` says; one of `traces` notices."""

    name: str
    clause: str
    patches: Callable[[], Patches]
    traces: tuple[Trace, ...]

    @contextmanager
    def at_large(self) -> Iterator[None]:
        """The daemon is broken so meanwhile."""
        with ExitStack() as broken:
            for where, what, by in self.patches():
                broken.enter_context(patch.object(where, what, by))
            yield


MUTANTS: dict[str, Mutant] = {}


def mutant(*noticed_by: Trace) -> Callable[[Callable[[], Patches]], Mutant]:
    """Register a mutant, which must be noticed by one of these traces."""

    def registered(patches: Callable[[], Patches]) -> Mutant:
        name = patches.__name__
        made = MUTANTS[name] = Mutant(name, patches.__doc__ or "", patches, noticed_by)
        return made

    return registered


_NO_NOTICE = re.compile(r"an unexpected error|failed oddly|after [0-9.e]+ s: not ")
"""A mutant that stumbles hasn't broken the promise; nor has a scene that couldn't be set."""


@dataclass
class Hunt:
    """What `noticed` a mutant, "" for nothing; and what came to nothing: it `stumbled` there."""

    noticed: str
    stumbled: list[str]


def hunt(mutant: Mutant, seeds: int = 0) -> Hunt:
    """Try its traces, or so many seeds instead, until it is noticed."""
    tries: list[tuple[str, Callable[[], object]]] = [
        (f"seed {seed}", partial(play, seed)) for seed in range(seeds)
    ] or [(each.__name__, each) for each in mutant.traces]
    stumbled: list[str] = []
    for name, attempt in tries:
        # Garbage is collected between stories, so that they don't depend on it.
        gc.collect()
        gc.disable()
        with mutant.at_large():
            try:
                attempt()
            except PromiseBroken as broken:
                if not _NO_NOTICE.search(str(broken)):
                    return Hunt(f"{name}: {broken}", stumbled)
                stumbled.append(f"{name}: {broken}")
            except Exception as error:
                stumbled.append(f"{name}: {error!r}")
    return Hunt("", stumbled)
