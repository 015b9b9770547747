"""The clients that are commands for a shell."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tests.integration.clients.client import Client
from tests.integration.clients.matrix import Column
from tests.integration.clients.place import INSTALLED, Place


class AwsCli(Client):
    name = "awscli"
    notes: ClassVar = {
        Column.PRESIGNED: "With `s3.signature_version = s3v4` in its configuration: by default "
        "it presigns with signature V2, which aosd refuses, and says so."
    }

    def __init__(self, place: Place, scheme: str, bucket: str, folder: Path) -> None:
        super().__init__(place, scheme, bucket, folder)
        self.environment |= {"AWS_ENDPOINT_URL": self.url, "AWS_CA_BUNDLE": str(place.ca)}
        self._signer = folder / "signer.config"
        self._signer.write_text("[default]\ns3 =\n    signature_version = s3v4\n")

    def aws(self, *words: str | Path, **more: str) -> str:
        return self.run(INSTALLED / "awscli/bin/aws", *words, **more)

    def _uri(self, key: str = "") -> str:
        return f"s3://{self.bucket}/{key}"

    def version(self) -> str:
        return self.aws("--version").split()[0].partition("/")[2]

    def make_bucket(self) -> None:
        self.aws("s3", "mb", self._uri())
        assert f" {self.bucket}\n" in self.aws("s3", "ls")

    def remove_bucket(self) -> None:
        self.aws("s3", "rb", self._uri())

    def put(self, file: Path, key: str) -> None:
        self.aws("s3", "cp", file, self._uri(key))

    def get(self, key: str, file: Path) -> None:
        self.aws("s3", "cp", self._uri(key), file)

    def listing(self, prefix: str) -> Sequence[str]:
        told = self.aws("s3", "ls", "--recursive", self._uri(prefix))
        return [line.split(maxsplit=3)[3] for line in told.splitlines()]

    def delete(self, keys: Sequence[str]) -> None:
        if len(keys) == 1:
            self.aws("s3", "rm", self._uri(keys[0]))
        else:
            doomed = {"Objects": [{"Key": key} for key in keys]}
            self.aws(
                "s3api", "delete-objects", f"--bucket={self.bucket}", "--delete", json.dumps(doomed)
            )

    def copy(self, source: str, key: str) -> None:
        self.aws("s3", "cp", self._uri(source), self._uri(key))

    def copy_in_parts(self, source: str, key: str) -> None:
        """The same: what is large it copies in parts by itself."""
        self.copy(source, key)

    def presign(self, key: str) -> str:
        signer = str(self._signer)
        return self.aws("s3", "presign", self._uri(key), AWS_CONFIG_FILE=signer).strip()

    def presign_by_default(self, key: str) -> str:
        return self.aws("s3", "presign", self._uri(key)).strip()

    def put_with_metadata(
        self, file: Path, key: str, metadata: Mapping[str, str], content_type: str
    ) -> None:
        own = ",".join(f"{name}={value}" for name, value in metadata.items())
        kind = f"--content-type={content_type}"
        self.aws("s3", "cp", file, self._uri(key), f"--metadata={own}", kind)

    def metadata(self, key: str) -> tuple[Mapping[str, str], str]:
        told = self.aws("s3api", "head-object", f"--bucket={self.bucket}", "--key", key)
        head = json.loads(told)
        return head["Metadata"], head["ContentType"]


class S5cmd(Client):
    name = "s5cmd"

    def s5cmd(self, *words: str | Path) -> str:
        return self.run(INSTALLED / "sdks/bin/s5cmd", "--json", *words, S3_ENDPOINT_URL=self.url)

    def _uri(self, key: str = "") -> str:
        return f"s3://{self.bucket}/{key}"

    def _lines(self, *words: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.s5cmd(*words).splitlines()]

    def version(self) -> str:
        return self.run(INSTALLED / "sdks/bin/s5cmd", "version").partition("-")[0].lstrip("v")

    def make_bucket(self) -> None:
        self.s5cmd("mb", self._uri().rstrip("/"))
        assert f'"{self.bucket}"' in self.s5cmd("ls")

    def remove_bucket(self) -> None:
        self.s5cmd("rb", self._uri().rstrip("/"))

    def put(self, file: Path, key: str) -> None:
        self.s5cmd("cp", file, self._uri(key))

    def get(self, key: str, file: Path) -> None:
        self.s5cmd("cp", self._uri(key), file)

    def listing(self, prefix: str) -> Sequence[str]:
        found = self._lines("ls", self._uri(prefix) + "*")
        return [str(each["key"]).removeprefix(self._uri()) for each in found]

    def delete(self, keys: Sequence[str]) -> None:
        self.s5cmd("rm", *(self._uri(key) for key in keys))

    def copy(self, source: str, key: str) -> None:
        self.s5cmd("cp", self._uri(source), self._uri(key))

    def presign(self, key: str) -> str:
        return self.run(
            INSTALLED / "sdks/bin/s5cmd", "presign", self._uri(key), S3_ENDPOINT_URL=self.url
        ).strip()

    def put_with_metadata(
        self, file: Path, key: str, metadata: Mapping[str, str], content_type: str
    ) -> None:
        own = [f"--metadata={name}={value}" for name, value in metadata.items()]
        self.s5cmd("cp", *own, f"--content-type={content_type}", file, self._uri(key))

    def metadata(self, key: str) -> tuple[Mapping[str, str], str]:
        told = json.loads(self.s5cmd("head", self._uri(key)))
        return told["metadata"], told["content_type"]


class Rclone(Client):
    name = "rclone"
    notes: ClassVar = {
        Column.BIG: "By `rclone rcat`: it sends a file of less than 200 MiB in one piece."
    }

    def __init__(self, place: Place, scheme: str, bucket: str, folder: Path) -> None:
        super().__init__(place, scheme, bucket, folder)
        self._config = folder / "rclone.conf"
        self._config.write_text(
            f"[aosd]\ntype = s3\nprovider = Other\nendpoint = {self.url}\n"
            f"access_key_id = {place.access_key}\nsecret_access_key = {place.secret_key}\n"
        )

    def rclone(self, *words: str | Path, stdin: Path | None = None) -> str:
        return self.run("rclone", "--config", self._config, *words, stdin=stdin)

    def _uri(self, key: str = "") -> str:
        return f"aosd:{self.bucket}/{key}"

    def version(self) -> str:
        return self.run("rclone", "version").split()[1].lstrip("v").partition("-")[0]

    def make_bucket(self) -> None:
        self.rclone("mkdir", self._uri())
        assert f"{self.bucket}/" in self.rclone("lsf", "aosd:").splitlines()

    def remove_bucket(self) -> None:
        self.rclone("rmdir", self._uri())

    def put(self, file: Path, key: str) -> None:
        self.rclone("copyto", file, self._uri(key))

    def get(self, key: str, file: Path) -> None:
        self.rclone("copyto", self._uri(key), file)

    def upload(self, file: Path, key: str) -> None:
        self.rclone("rcat", self._uri(key), stdin=file)

    def listing(self, prefix: str) -> Sequence[str]:
        told = self.rclone("lsf", "-R", "--files-only", self._uri(prefix))
        return [prefix + line for line in told.splitlines()]

    def delete(self, keys: Sequence[str]) -> None:
        if len(keys) == 1:
            self.rclone("deletefile", self._uri(keys[0]))
        else:
            names = self.folder / "doomed.txt"
            names.write_text("".join(f"{key}\n" for key in keys))
            self.rclone("delete", f"--files-from-raw={names}", self._uri())

    def copy(self, source: str, key: str) -> None:
        self.rclone("copyto", self._uri(source), self._uri(key))

    def presign(self, key: str) -> str:
        return self.rclone("link", self._uri(key)).strip()

    def put_with_metadata(
        self, file: Path, key: str, metadata: Mapping[str, str], content_type: str
    ) -> None:
        own = [f"--metadata-set={name}={value}" for name, value in metadata.items()]
        kind = f"--metadata-set=content-type={content_type}"
        self.rclone("copyto", "--metadata", *own, kind, file, self._uri(key))

    def metadata(self, key: str) -> tuple[Mapping[str, str], str]:
        told = json.loads(self.rclone("lsjson", "--metadata", "--stat", self._uri(key)))
        return told["Metadata"], told["MimeType"]


class S3cmd(Client):
    name = "s3cmd"
    lacks: ClassVar = {Column.PRESIGNED: "Signs URLs with signature V2 only, which aosd refuses."}

    def __init__(self, place: Place, scheme: str, bucket: str, folder: Path) -> None:
        super().__init__(place, scheme, bucket, folder)
        host = self.url.partition("//")[2]
        self._config = folder / "s3cfg"
        self._config.write_text(
            f"[default]\naccess_key = {place.access_key}\nsecret_key = {place.secret_key}\n"
            f"host_base = {host}\nhost_bucket = {host}\nuse_https = {scheme == 'https'}\n"
            f"ca_certs_file = {place.ca}\n"
        )

    def s3cmd(self, *words: str | Path) -> str:
        return self.run("s3cmd", "--config", self._config, *words)

    def _uri(self, key: str = "") -> str:
        return f"s3://{self.bucket}/{key}"

    def version(self) -> str:
        return self.s3cmd("--version").split()[-1]

    def make_bucket(self) -> None:
        self.s3cmd("mb", self._uri())
        assert f" s3://{self.bucket}\n" in self.s3cmd("ls")

    def remove_bucket(self) -> None:
        self.s3cmd("rb", self._uri())

    def put(self, file: Path, key: str) -> None:
        self.s3cmd("put", file, self._uri(key))

    def get(self, key: str, file: Path) -> None:
        self.s3cmd("get", "--force", self._uri(key), file)

    def listing(self, prefix: str) -> Sequence[str]:
        told = self.s3cmd("ls", "--recursive", self._uri(prefix))
        return [line.partition(self._uri())[2] for line in told.splitlines()]

    def delete(self, keys: Sequence[str]) -> None:
        self.s3cmd("del", *(self._uri(key) for key in keys))

    def copy(self, source: str, key: str) -> None:
        self.s3cmd("cp", self._uri(source), self._uri(key))

    def presign_by_default(self, key: str) -> str:
        return self.s3cmd("signurl", self._uri(key), "+600").strip()

    def put_with_metadata(
        self, file: Path, key: str, metadata: Mapping[str, str], content_type: str
    ) -> None:
        own = [f"--add-header=x-amz-meta-{name}:{value}" for name, value in metadata.items()]
        self.s3cmd("put", *own, f"--mime-type={content_type}", file, self._uri(key))

    def metadata(self, key: str) -> tuple[Mapping[str, str], str]:
        told = self.s3cmd("info", self._uri(key))
        kind = re.search(r"MIME type: (\S+)", told)
        assert kind, told
        return dict(re.findall(r"x-amz-meta-(\S+): (.*)", told)), kind[1]
