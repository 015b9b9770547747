"""restic: a backup of 100 MiB that is restored, checked and pruned."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from tests.integration.clients.client import Client
from tests.integration.clients.matrix import Column, Matrix
from tests.integration.clients.place import SCHEMES, Place, Reference, sha256

pytestmark = pytest.mark.timeout(180)


class Restic(Client):
    """A repository in a bucket that restic makes; small files and 100 MiB are alike to it."""

    name = "restic"
    lacks: ClassVar[Mapping[Column, str]] = {
        Column.COPY: "Copies nothing within a repository.",
        Column.PRESIGNED: "A backup has no URLs.",
        Column.METADATA: "Keeps what it knows of files in objects of its own.",
    }
    notes: ClassVar[Mapping[Column, str]] = {
        Column.BUCKETS: "Makes one; has nothing that removes it.",
        Column.BIG: "Sent in packs of about 16 MiB, each an object of its own.",
    }

    def __init__(self, place: Place, scheme: str, bucket: str, folder: Path) -> None:
        super().__init__(place, scheme, bucket, folder)
        self.environment |= {
            "RESTIC_REPOSITORY": f"s3:{self.url}/{bucket}",
            "RESTIC_PASSWORD": secrets.token_urlsafe(12),
        }

    def restic(self, *words: str | Path) -> str:
        return self.run("restic", "--cacert", self.place.ca, *words)

    def version(self) -> str:
        return self.run("restic", "version").split()[1]

    def make_bucket(self) -> None:
        self.restic("init")

    def put(self, file: Path, key: str) -> None:
        """Back up a file under a tag."""
        self.restic("backup", f"--tag={key}", file)

    def get(self, key: str, file: Path) -> None:
        into = self.folder / "restored"
        self.restic("restore", "latest", f"--tag={key}", f"--target={into}")
        (found,) = (each for each in into.rglob("*") if each.is_file())
        found.rename(file)
        shutil.rmtree(into)

    def listing(self, prefix: str) -> Sequence[str]:
        """The tags of all snapshots."""
        told = self.restic("snapshots", "--json")
        return re.findall(r'"tags":\["([^"]*)"\]', told)

    def delete(self, keys: Sequence[str]) -> None:
        """Forget the snapshots with these tags, and remove what only they needed."""
        for key in keys:
            told = self.restic("snapshots", "--json", f"--tag={key}")
            doomed = re.findall(r'"short_id":"([^"]*)"', told)
            self.restic("forget", "--prune", *doomed)

    def copy(self, source: str, key: str) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("scheme", SCHEMES)
def test_restic(
    scheme: str, place: Place, reference: Reference, matrix: Matrix, big: Path, tmp_path: Path
) -> None:
    bucket = f"restic-{secrets.token_hex(6)}"
    restic = Restic(place, scheme, bucket, tmp_path / "home")
    matrix.row(restic.name, restic.version(), restic.lacks, restic.notes)

    def works(column: Column) -> None:
        matrix.works(restic.name, column, scheme)

    small = tmp_path / "small.txt"
    small.write_bytes(os.urandom(70_001))
    fetched = tmp_path / "fetched"
    try:
        restic.make_bucket()
        assert reference.has(bucket, "config")
        works(Column.BUCKETS)

        restic.put(small, "small")
        assert reference.keys(bucket, "snapshots/")
        works(Column.PUT)
        restic.get("small", fetched)
        assert sha256(fetched) == sha256(small)
        works(Column.GET)

        restic.put(big, "big")
        restic.get("big", fetched)
        assert sha256(fetched) == sha256(big)
        works(Column.BIG)

        assert sorted(restic.listing("")) == ["big", "small"]
        works(Column.LIST)

        packs = reference.keys(bucket, "data/")
        restic.delete(["big"])
        assert restic.listing("") == ["small"]
        assert len(reference.keys(bucket, "data/")) < len(packs)
        restic.restic("check", "--read-data")
        works(Column.DELETE)
    finally:
        if reference.has_bucket(bucket):
            reference.empty(bucket)
