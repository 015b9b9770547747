"""Clients that find buckets by the path unless told otherwise, told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.clients.client import Client
from tests.integration.clients.commands import AwsCli, Rclone, S3cmd
from tests.integration.clients.mounted import S3fs
from tests.integration.clients.place import DOMAIN, SCHEMES, Place, Reference, sha256
from tests.integration.clients.sdks import MinioPy

ODD = "folder one/plus+space ü 雪.txt"

pytestmark = pytest.mark.timeout(180)


class AwsCliByHost(AwsCli):
    def __init__(self, place: Place, scheme: str, bucket: str, folder: Path) -> None:
        super().__init__(place, scheme, bucket, folder)
        config = folder / "by-host.config"
        config.write_text("[default]\ns3 =\n    addressing_style = virtual\n")
        self.environment |= {
            "AWS_ENDPOINT_URL": place.url(scheme, DOMAIN),
            "AWS_CONFIG_FILE": str(config),
        }


class MinioPyByHost(MinioPy):
    def endpoint(self) -> str:
        return self.place.url(self.scheme, DOMAIN)

    def settings(self) -> Mapping[str, str]:
        return {**super().settings(), "ADDRESSING_STYLE": "virtual"}


class RcloneByHost(Rclone):
    def __init__(self, place: Place, scheme: str, bucket: str, folder: Path) -> None:
        super().__init__(place, scheme, bucket, folder)
        config = self._config.read_text().replace(self.url, place.url(scheme, DOMAIN))
        self._config.write_text(f"{config}force_path_style = false\n")


class S3cmdByHost(S3cmd):
    def __init__(self, place: Place, scheme: str, bucket: str, folder: Path) -> None:
        super().__init__(place, scheme, bucket, folder)
        host = place.url(scheme, DOMAIN).partition("//")[2]
        config = self._config.read_text().replace(self.url.partition("//")[2], host)
        config = config.replace("host_bucket = ", "host_bucket = %(bucket)s.")
        self._config.write_text(config)


class S3fsByHost(S3fs):
    by_path = False

    def __init__(self, place: Place, scheme: str, bucket: str, folder: Path) -> None:
        super().__init__(place, scheme, bucket, folder)
        self.url = place.url(scheme, DOMAIN)


@pytest.mark.parametrize(
    "client",
    [
        pytest.param((kind, scheme), id=f"{kind.__name__}-{scheme}")
        for kind in (AwsCliByHost, MinioPyByHost, RcloneByHost, S3cmdByHost, S3fsByHost)
        for scheme in SCHEMES
    ],
    indirect=True,
    scope="module",
)
def test_there_and_back(client: Client, reference: Reference, tmp_path: Path) -> None:
    file, fetched = tmp_path / "sent.txt", tmp_path / "fetched"
    file.write_bytes(b"by the name of a host\n" * 99)
    client.put(file, ODD)
    assert reference.sha256(client.bucket, ODD) == sha256(file)
    client.get(ODD, fetched)
    assert sha256(fetched) == sha256(file)
    client.copy(ODD, "copied/there.txt")
    assert reference.sha256(client.bucket, "copied/there.txt") == sha256(file)
    assert list(client.listing("copied/")) == ["copied/there.txt"]
    client.delete(["copied/there.txt"])
    assert not reference.has(client.bucket, "copied/there.txt")
