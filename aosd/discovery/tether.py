"""`python -m aosd.discovery.tether PARENT COMMAND…`: run a command that dies with its parent.

The kernel kills it when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG),
however that comes about; nothing of ours has to be alive to see to it. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Become the command, tied to the process PARENT, which must be the one that started us."""
    parent, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # It may have died before the kernel was told.
    if os.getppid() != int(parent):
        sys.exit("the parent is gone already")
    os.execvp(command[0], command)  # noqa: S606 — becoming the command is what this is for


if __name__ == "__main__":
    main(sys.argv[1:])
