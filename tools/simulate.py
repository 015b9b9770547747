"""Plays the simulation from many seeds: `python -m tools.simulate --seeds 10000`.

With --seed N --trace it plays one again and tells everything that happens.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice

from aosd.testing.simulation.play import Player, Story

_CHUNK = 20
_LIMIT_S = 60


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit status: 1 when a seed failed."""
    parser = argparse.ArgumentParser(description="Play the simulation from seeds.")
    parser.add_argument("--seeds", type=int, default=300, help="how many (300)")
    parser.add_argument("--start", type=int, default=0, help="the first one (0)")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--trace", action="store_true", help="tell everything that happens")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once (1)")
    parser.add_argument("--keep-going", action="store_true", help="play on after a failure")
    parser.add_argument("--tally", action="store_true", help="tell how often what befell")
    parser.add_argument("--no-faults", action="store_true", help="nothing goes wrong")
    options = parser.parse_args(arguments)
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets of text is part of the story.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-m", "tools.simulate", *(arguments or sys.argv[1:])]
        os.execve(sys.executable, command, environment)  # noqa: S606
    if options.seed is not None:
        return _one(options.seed, options.trace, not options.no_faults)
    began_s = time.monotonic()
    seeds = iter(range(options.start, options.start + options.seeds))
    failed: list[int] = []
    played = acknowledged = 0
    simulated_s = 0.0
    befell: Counter[str] = Counter()
    for outcomes in _chunks(seeds, options.jobs, not options.no_faults):
        for story, why in outcomes:
            played += 1
            acknowledged += story.acknowledged
            simulated_s += story.simulated_s
            befell += story.befell
            if why:
                failed.append(story.seed)
                print(f"seed {story.seed} failed: {why}\n", flush=True)
        if failed and not options.keep_going:
            break
    took_s = time.monotonic() - began_s
    print(
        f"{played} seeds, {acknowledged} acknowledged writes, {simulated_s / 3600:.0f} simulated"
        f" hours in {took_s:.1f} s; failed: {failed or 'none'}"
    )
    if options.tally:
        for what, times in sorted(befell.items()):
            print(f"{times:9} {what}")
    if failed:
        print(f"replay: python -m tools.simulate --seed {failed[0]} --trace")
    return 1 if failed else 0


_Outcome = tuple[Story, str]
"""A story, and why it failed; "" when it didn't."""


def _chunks(seeds: Iterator[int], jobs: int, faults: bool) -> Iterator[list[_Outcome]]:
    if jobs == 1:
        for seed in seeds:
            yield [_quiet(seed, faults)]
        return
    with ProcessPoolExecutor(jobs) as pool:
        running: deque[Future[list[_Outcome]]] = deque()
        while True:
            while len(running) < 2 * jobs and (chunk := list(islice(seeds, _CHUNK))):
                running.append(pool.submit(_several, chunk, faults))
            if not running:
                return
            yield running.popleft().result()


def _several(seeds: list[int], faults: bool) -> list[_Outcome]:
    return [_quiet(seed, faults) for seed in seeds]


def _quiet(seed: int, faults: bool) -> _Outcome:
    """Play a seed; garbage is collected between stories, so that they don't depend on it."""
    _prepare()
    player = Player(seed, faults=faults)

    def too_long(*_: object) -> None:
        # One that turns in circles mustn't keep all others from being played.
        player.world.broken(f"it isn't over after {_LIMIT_S} s of work")

    # By the processor's time: the machine may be busy with other things.
    signal.signal(signal.SIGVTALRM, too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, _LIMIT_S)
    try:
        player.play()
    except AssertionError as error:
        return player.story, f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - told, whatever it is
        return player.story, traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
    return player.story, ""


def _one(seed: int, trace: bool, faults: bool) -> int:
    _prepare()
    player = Player(seed, tracing=print if trace else None, faults=faults)
    try:
        story = player.play()
    except AssertionError as error:
        print(f"seed {seed} failed: {type(error).__name__}: {error}")
        return 1
    print(story)
    return 0


def _prepare() -> None:
    # Coroutines of gateways that were killed are never finished: Python tells of each.
    sys.unraisablehook = lambda _: None
    gc.collect()
    gc.disable()


if __name__ == "__main__":
    sys.exit(main())
