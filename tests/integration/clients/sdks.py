"""The clients that are libraries: each is driven through a small program in its language."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tests.integration.clients.client import Client
from tests.integration.clients.matrix import Column
from tests.integration.clients.place import DOMAIN, INSTALLED, Place

DRIVERS = Path(__file__).parent / "drivers"
_END_S = 10.0


class Library(Client):
    """A process that is asked by lines of JSON, as long as the client lives."""

    command: ClassVar[Sequence[str]]
    trusts: ClassVar[str]
    """The variable that names the file of the authority that it trusts."""

    def __init__(self, place: Place, scheme: str, bucket: str, folder: Path) -> None:
        super().__init__(place, scheme, bucket, folder)
        self._log = (folder / "driver.log").open("wb")
        self._driver = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=folder,
            env={
                **self.environment,
                **self.settings(),
                "BUCKET": bucket,
                "NODE_PATH": str(INSTALLED / "node" / "node_modules"),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )

    def settings(self) -> Mapping[str, str]:
        """Where it is sent, and whom it trusts."""
        return {"AWS_ENDPOINT_URL": self.endpoint(), self.trusts: str(self.place.ca)}

    def endpoint(self) -> str:
        return self.url

    def ask(self, function: str, *arguments: object) -> Any:
        """Call a function of the driver."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        asked = json.dumps({"do": function, "with": arguments}, default=str)
        self._driver.stdin.write(asked + "\n")
        self._driver.stdin.flush()
        line = self._driver.stdout.readline()
        assert line, (self.folder / "driver.log").read_text()
        told = json.loads(line)
        assert "error" not in told, told["error"]
        return told["value"]

    def end(self) -> None:
        assert self._driver.stdin is not None
        self._driver.stdin.close()
        try:
            self._driver.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()
        self._log.close()

    def version(self) -> str:
        return str(self.ask("version"))

    def make_bucket(self) -> None:
        assert self.ask("make_bucket") is True

    def remove_bucket(self) -> None:
        self.ask("remove_bucket")

    def put(self, file: Path, key: str) -> None:
        self.ask("put", file, key)

    def get(self, key: str, file: Path) -> None:
        self.ask("get", key, file)

    def upload(self, file: Path, key: str) -> None:
        self.ask("upload", file, key)

    def download(self, key: str, file: Path) -> None:
        self.ask("download", key, file)

    def listing(self, prefix: str) -> Sequence[str]:
        return list(self.ask("listing", prefix))

    def delete(self, keys: Sequence[str]) -> None:
        self.ask("delete", keys)

    def copy(self, source: str, key: str) -> None:
        self.ask("copy", source, key)

    def presign(self, key: str) -> str:
        return str(self.ask("presign", key))

    def presign_put(self, key: str) -> str:
        """A URL to put an object by."""
        return str(self.ask("presign_put", key))

    def missing(self, key: str) -> str:
        """The code of the error that a HEAD of an object that isn't there gives."""
        return str(self.ask("missing", key))

    def put_with_metadata(
        self, file: Path, key: str, metadata: Mapping[str, str], content_type: str
    ) -> None:
        self.ask("put_with_metadata", file, key, metadata, content_type)

    def metadata(self, key: str) -> tuple[Mapping[str, str], str]:
        told = self.ask("metadata", key)
        return told["metadata"], told["content_type"]


class Boto3(Library):
    name = "boto3"
    notes: ClassVar = {
        Column.PRESIGNED: 'With `signature_version="s3v4"`: by default boto3 presigns with '
        "signature V2, which aosd refuses, and says so."
    }
    command = (str(INSTALLED / "sdks/bin/python"), str(DRIVERS / "boto3_driver.py"))
    trusts = "AWS_CA_BUNDLE"

    def copy_in_parts(self, source: str, key: str) -> None:
        """What is large is copied in parts."""
        self.ask("copy_in_parts", source, key)

    def presign_by_default(self, key: str) -> str:
        return str(self.ask("presign_by_default", key))


class Boto3VirtualHost(Boto3):
    name = "boto3, virtual host"

    def endpoint(self) -> str:
        return self.place.url(self.scheme, DOMAIN)

    def settings(self) -> Mapping[str, str]:
        return {**super().settings(), "ADDRESSING_STYLE": "virtual"}


class MinioPy(Library):
    name = "minio-py"
    command = (str(INSTALLED / "sdks/bin/python"), str(DRIVERS / "minio_driver.py"))
    trusts = "SSL_CERT_FILE"


class JavaScript(Library):
    name = "AWS SDK for JavaScript v3"
    command = ("node", str(DRIVERS / "javascript.cjs"))
    trusts = "NODE_EXTRA_CA_CERTS"

    def put_stream(self, file: Path, key: str) -> None:
        """Send what can't be read twice."""
        self.ask("put_stream", file, key)


class JavaScriptVirtualHost(JavaScript):
    """Its default as soon as the endpoint is a name."""

    name = "AWS SDK for JavaScript v3, virtual host"

    def endpoint(self) -> str:
        return self.place.url(self.scheme, DOMAIN)
