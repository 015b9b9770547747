"""`tether.py PARENT COMMAND…`: run a command that dies with its parent.

The kernel kills it when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG),
however that comes about; nothing of ours has to be alive to see to it. Run as a file by an
isolated interpreter: it must start at once, and wherever the current folder is. Elsewhere
than on Linux it only runs the command.
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
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # It may have died before the kernel was told.
    if os.getppid() != int(parent):
        sys.exit("the parent is gone already")
    # Python ignores it, and what is ignored stays so in the program that we become.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - becoming it is what this is for
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
