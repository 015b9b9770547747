"""One target under atheris: `python -m tests.fuzz.under_atheris TARGET [libFuzzer's options]`.

Apart from `tests.fuzz`, as what is instrumented has to be imported by way of atheris: the doors and
Twisted's parser. What they use is imported before, and left as it is: atheris knows whole packages
only, and all of Twisted instrumented is twice as slow and finds its way no better.
"""

from __future__ import annotations

import sys

import atheris
import twisted.internet.testing
import twisted.protocols.basic
import twisted.protocols.policies
import twisted.trial.unittest

with atheris.instrument_imports(include=["twisted"]):
    import twisted.web.http  # noqa: F401

import aosd.assembly
import aosd.testing.stores  # noqa: F401

with atheris.instrument_imports(include=["aosd"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    program, target, *options = sys.argv
    atheris.Setup([program, *options], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
