"""Identities from a file of their own, read again when it changes."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from aosd.doors.s3.identities import Identities
from aosd.identity_tables import parse_tables
from aosd.model.errors import ConfigurationError

LOOK_EVERY_S = 3.0
_LARGEST_BYTES = 4 * 1024 * 1024

Signature = tuple[int, int, int] | int
"""What tells one version of a file from the next: mtime in ns, size, inode; or an errno."""


class IdentitiesFile:
    """Gives `identities` what the file says, at once and whenever it is another one.

    Raises ConfigurationError, in one line, when it can't be used at the start. Later the
    former identities stay, and one line is logged for each version that can't be used.
    It looks in the reactor's thread: a local file is expected.
    """

    _log = Logger()

    def __init__(self, path: Path, identities: Identities, clock: IReactorTime) -> None:
        # A daemon's current folder may change; what the operator wrote doesn't.
        self._path = path.absolute()
        self._identities = identities
        self._signature = self._signed()
        self._watching: Deferred[LoopingCall] | None = None
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock
        if why := self._take():
            raise ConfigurationError(f"identities_file: {self._path}: {why}")

    def start(self) -> None:
        """Look every few seconds from now on."""
        self._watching = self._loop.start(LOOK_EVERY_S, now=False)
        self._watching.addErrback(lambda failure: self._log.failure("identities file", failure))

    def stop(self) -> None:
        """No more looks."""
        if self._loop.running:
            self._loop.stop()

    def _look(self) -> None:
        signature = self._signed()
        if signature == self._signature:
            return
        self._signature = signature
        if why := self._take():
            self._log.warn(
                "{path} can't be used, the identities of before stay: {why}",
                path=str(self._path),
                why=why,
            )
        else:
            self._log.info("identities were read again from {path}", path=str(self._path))

    def _signed(self) -> Signature:
        """Taken before the content: a change between the two is seen at the next look."""
        try:
            stat = self._path.stat()
        except OSError as error:
            return error.errno or 0
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _take(self) -> str:
        """Read it; why it can't be used, "" when it can."""
        try:
            with self._path.open("rb") as file:
                content = file.read(_LARGEST_BYTES + 1)
            if len(content) > _LARGEST_BYTES:
                return f"it is longer than {_LARGEST_BYTES} bytes"
            self._identities.replace(parse_tables(content))
        except OSError as error:
            return error.strerror or os.strerror(error.errno or 0)
        except ValueError as error:
            return " ".join(str(error).split())
        return ""
