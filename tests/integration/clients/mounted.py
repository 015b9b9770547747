"""s3fs: a bucket as a folder of the file system."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.integration.clients.client import Client
from tests.integration.clients.matrix import Column
from tests.integration.clients.place import Place
from tests.integration.processes import Process

FUSE = Path("/dev/fuse")
_MOUNT_S = 30.0


class S3fs(Client):
    name = "s3fs"
    by_path = True
    lacks: ClassVar = {
        Column.BUCKETS: "Mounts a bucket that is there.",
        Column.PRESIGNED: "A file system has no URLs.",
    }
    notes: ClassVar = {
        Column.COPY: "Moving a file: s3fs copies the object and removes the old one.",
        Column.METADATA: "A file's mode, owner and times: s3fs changes them by copying an object "
        "onto itself.",
    }

    def __init__(self, place: Place, scheme: str, bucket: str, folder: Path) -> None:
        super().__init__(place, scheme, bucket, folder)
        self.mounted = folder / "mounted"
        self.mounted.mkdir(exist_ok=True)
        password = folder / "passwd"
        password.touch(mode=0o600)
        password.write_text(f"{place.access_key}:{place.secret_key}\n")
        self._password = password
        self._process: Process | None = None

    def version(self) -> str:
        return self.run("s3fs", "--version").split(" V")[1].split()[0]

    def begin(self) -> None:
        self._process = Process(
            "s3fs",
            [
                "s3fs",
                self.bucket,
                str(self.mounted),
                "-f",
                f"-ourl={self.url}",
                *(["-ouse_path_request_style"] if self.by_path else []),
                f"-opasswd_file={self._password}",
            ],
            self.folder / "s3fs.log",
            {**self.environment, "CURL_CA_BUNDLE": str(self.place.ca)},
        )
        self._process.wait_until(lambda: os.path.ismount(self.mounted), _MOUNT_S)

    def end(self) -> None:
        if self._process is not None:
            self._process.stop()
            assert not os.path.ismount(self.mounted)

    def put(self, file: Path, key: str) -> None:
        target = self.mounted / key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)

    def get(self, key: str, file: Path) -> None:
        shutil.copyfile(self.mounted / key, file)

    def listing(self, prefix: str) -> Sequence[str]:
        found = (self.mounted / prefix).rglob("*")
        return [str(each.relative_to(self.mounted)) for each in found if each.is_file()]

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            (self.mounted / key).unlink()

    def copy(self, source: str, key: str) -> None:
        (self.mounted / key).parent.mkdir(parents=True, exist_ok=True)
        (self.mounted / source).rename(self.mounted / key)
