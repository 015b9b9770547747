"""What every client under test is asked, whatever its own words for it are."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tests.integration.clients.matrix import Column
from tests.integration.clients.place import Place

_COMMAND_S = 100.0


class Client(ABC):
    """One client, sent to one endpoint, with a bucket of its own; `folder` is its home.

    `lacks` has the columns that it has nothing for, and why. Every method raises
    AssertionError, with what the client said, when the client fails.
    """

    name: ClassVar[str]
    lacks: ClassVar[Mapping[Column, str]] = {}
    notes: ClassVar[Mapping[Column, str]] = {}

    def __init__(self, place: Place, scheme: str, bucket: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.place = place
        self.scheme = scheme
        self.bucket = bucket
        self.folder = folder
        self.url = place.url(scheme)
        self.environment = place.environment(folder)

    @abstractmethod
    def version(self) -> str:
        """Its version, without its name."""

    def make_bucket(self) -> None:
        """Make its bucket, and find it in the list of buckets."""
        raise NotImplementedError

    def remove_bucket(self) -> None:
        """Remove the bucket, which is empty."""
        raise NotImplementedError

    def begin(self) -> None:  # noqa: B027
        """What it needs before the rest, once the bucket is there: most need nothing."""

    def end(self) -> None:  # noqa: B027
        """Leave nothing running: of most nothing does."""

    @abstractmethod
    def put(self, file: Path, key: str) -> None:
        """Send a file."""

    @abstractmethod
    def get(self, key: str, file: Path) -> None:
        """Fetch an object into a file."""

    def upload(self, file: Path, key: str) -> None:
        """Send a large file."""
        self.put(file, key)

    def download(self, key: str, file: Path) -> None:
        """Fetch a large object."""
        self.get(key, file)

    @abstractmethod
    def listing(self, prefix: str) -> Sequence[str]:
        """The keys under `prefix`, which ends in a slash."""

    @abstractmethod
    def delete(self, keys: Sequence[str]) -> None:
        """Remove one object, or several as it removes several."""

    @abstractmethod
    def copy(self, source: str, key: str) -> None:
        """Copy within the bucket."""

    def presign(self, key: str) -> str:
        """A URL to fetch an object by."""
        raise NotImplementedError

    def put_with_metadata(
        self, file: Path, key: str, metadata: Mapping[str, str], content_type: str
    ) -> None:
        """Send a file with metadata that a user wants it to have."""
        raise NotImplementedError

    def metadata(self, key: str) -> tuple[Mapping[str, str], str]:
        """That metadata, maybe with the client's own beside it, and the content type."""
        raise NotImplementedError

    def run(self, *command: str | Path, stdin: Path | None = None, **more: str) -> str:
        """Run a program as this client; its output."""
        given = stdin.open("rb") if stdin else subprocess.DEVNULL
        try:
            done = subprocess.run(
                [str(each) for each in command],
                stdin=given,
                capture_output=True,
                text=True,
                env={**self.environment, **more},
                cwd=self.folder,
                check=False,
                timeout=_COMMAND_S,
            )
        finally:
            if stdin:
                given.close()
        said = f"{self.name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, said
        return done.stdout
