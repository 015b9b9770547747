"""The daemon broken on purpose, a clause of Consistency at a time: the simulation must notice.

Each has a trace that fails with it: one that seeds alone would find might hide again with the
next change of a seed's story. `python -m tests.simulation.mutants NAME` breaks the daemon so,
tells what noticed, and ends with 1 when nothing did; without a NAME it goes through all of
them. With --seeds 100 it tells what so many seeds make of them, instead of the traces.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation import (
    mutants_of_buckets,
    mutants_of_copies,
    mutants_of_folders,
    mutants_of_membership,
    mutants_of_memory,
    mutants_of_uploads,
)
from tests.simulation.mutation import MUTANTS, hunt

PARTS = (
    mutants_of_copies,
    mutants_of_memory,
    mutants_of_folders,
    mutants_of_membership,
    mutants_of_buckets,
    mutants_of_uploads,
)
ALL = MUTANTS
"""All that these parts have entered, by importing them."""


def main() -> int:
    """Hunt for some mutants, or for all; returns the exit status: 1 when one survived."""
    parser = argparse.ArgumentParser(description="Break the daemon, and see who notices.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which mutants (all)")
    parser.add_argument("--seeds", type=int, default=0, help="by so many seeds, not by traces")
    options = parser.parse_args()
    if unknown := set(options.names) - MUTANTS.keys():
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets of text is part of the story.
        command = [sys.executable, "-m", "tests.simulation.mutants", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    # Coroutines of gateways that were killed are never finished: Python tells of each.
    sys.unraisablehook = lambda _: None
    survivors = 0
    for name in options.names or MUTANTS:
        began_s = time.monotonic()
        found = hunt(MUTANTS[name], options.seeds)
        survivors += not found.noticed
        took_s = time.monotonic() - began_s
        sys.stdout.write(f"{name} ({took_s:.1f} s): {found.noticed or 'SURVIVED'}\n")
        for each in found.stumbled:
            sys.stdout.write(f"    stumbled in {each}\n")
        sys.stdout.flush()
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
