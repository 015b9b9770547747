"""Docker's registry keeps an image, with a layer of 100 MiB, in a bucket."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import urljoin, urlsplit

import pytest

from tests.integration.clients.matrix import Column, Matrix
from tests.integration.clients.place import REGION, SCHEMES, Place, Reference, sha256
from tests.integration.processes import Process, free_port

NAME = "Docker registry"
LACKS: Mapping[Column, str] = {
    Column.BUCKETS: "Uses a bucket that is there.",
    Column.METADATA: "Keeps what it knows of images in objects of its own.",
}
NOTES: Mapping[Column, str] = {
    Column.BIG: "A layer, sent in parts and then copied to its place in parts.",
    Column.COPY: "A layer that is complete is copied to its place.",
    Column.PRESIGNED: "Where it sends those who fetch a layer.",
}
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
BLOBS = "docker/registry/v2/blobs/sha256"

pytestmark = pytest.mark.timeout(180)


class Registry:
    """The registry's process, and what `docker push` and `docker pull` do with it."""

    name: ClassVar[str] = "docker-registry"

    def __init__(self, place: Place, scheme: str, bucket: str, folder: Path) -> None:
        folder.mkdir()
        self._place = place
        self._folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self._config = folder / "config.yml"
        settings = {
            "version": "0.1",
            "storage": {
                "s3": {
                    "regionendpoint": place.url(scheme),
                    "region": REGION,
                    "bucket": bucket,
                    "accesskey": place.access_key,
                    "secretkey": place.secret_key,
                },
                "delete": {"enabled": True},
            },
            "http": {"addr": urlsplit(self.url).netloc},
        }
        # What is JSON is YAML too.
        self._config.write_text(json.dumps(settings))
        self._environment = place.environment(folder)

    @contextmanager
    def running(self) -> Iterator[None]:
        command = [self.name, "serve", str(self._config)]
        log = self._folder / "registry.log"
        with Process(self.name, command, log, self._environment) as process:
            process.wait_until(self._answers)
            yield

    def _answers(self) -> bool:
        try:
            self.call("GET", "/v2/")
        except OSError:
            return False
        return True

    def collect_garbage(self) -> None:
        command = [self.name, "garbage-collect", "--delete-untagged", str(self._config)]
        log = self._folder / "garbage.log"
        with Process(self.name, command, log, self._environment) as process:
            assert process.wait(60) == 0, process.log_tail()

    def call(
        self, verb: str, url: str, body: bytes | Path | None = None, kind: str = LAYER
    ) -> tuple[Mapping[str, str], bytes]:
        """One request to the registry: the headers and the body of its answer."""
        data = body.open("rb") if isinstance(body, Path) else body
        size = body.stat().st_size if isinstance(body, Path) else len(body or b"")
        request = urllib.request.Request(urljoin(self.url, url), data=data, method=verb)
        request.add_header("Content-Type", kind)
        request.add_header("Content-Length", str(size))
        with urllib.request.urlopen(request, timeout=100) as answer:
            return answer.headers, answer.read()

    def push_layer(self, repository: str, file: Path) -> str:
        """Send a blob as Docker does: begun, sent, and named by its digest."""
        digest = f"sha256:{sha256(file)}"
        headers, _ = self.call("POST", f"/v2/{repository}/blobs/uploads/")
        headers, _ = self.call("PATCH", headers["Location"], file, "application/octet-stream")
        where = headers["Location"]
        self.call("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}")
        return digest

    def push_image(self, repository: str, tag: str, layers: Mapping[str, int], own: str) -> str:
        """Put a manifest; its digest."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": own, "size": layers[own]},
            "layers": [
                {"mediaType": LAYER, "digest": digest, "size": size}
                for digest, size in layers.items()
            ],
        }
        body = json.dumps(manifest).encode()
        self.call("PUT", f"/v2/{repository}/manifests/{tag}", body, MANIFEST)
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    def pull_layer(self, repository: str, digest: str) -> tuple[str, bytes]:
        """Where the registry sends who asks for a blob, and what is there."""
        url = f"{self.url}/v2/{repository}/blobs/{digest}"
        with urllib.request.urlopen(url, context=self._place.trust(), timeout=60) as answer:
            return answer.geturl(), answer.read()


def key_of(digest: str) -> str:
    """The object that a blob lies in."""
    digits = digest.removeprefix("sha256:")
    return f"{BLOBS}/{digits[:2]}/{digits}/data"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_docker_registry(
    scheme: str, place: Place, reference: Reference, matrix: Matrix, big: Path, tmp_path: Path
) -> None:
    bucket = f"registry-{secrets.token_hex(6)}"
    reference.make_bucket(bucket)
    registry = Registry(place, scheme, bucket, tmp_path / "home")
    matrix.row(NAME, version(), LACKS, NOTES)

    def works(column: Column) -> None:
        matrix.works(NAME, column, scheme)

    small = tmp_path / "small.json"
    small.write_text(json.dumps({"rootfs": os.urandom(1000).hex()}))
    try:
        with registry.running():
            config = registry.push_layer("images/one", small)
            assert reference.sha256(bucket, key_of(config)) == sha256(small)
            works(Column.PUT)
            layer = registry.push_layer("images/one", big)
            assert reference.parts(bucket, key_of(layer)) > 1
            works(Column.COPY)

            sizes = {each: file.stat().st_size for each, file in ((config, small), (layer, big))}
            image = registry.push_image("images/one", "latest", sizes, config)
            _, told = registry.call("GET", f"/v2/images/one/manifests/{image}")
            assert json.loads(told)["config"]["digest"] == config
            works(Column.GET)

            where, fetched = registry.pull_layer("images/one", layer)
            assert where.startswith(place.url(scheme))
            assert f"sha256:{hashlib.sha256(fetched).hexdigest()}" == layer
            works(Column.BIG)
            works(Column.PRESIGNED)

            _, told = registry.call("GET", "/v2/_catalog")
            assert json.loads(told) == {"repositories": ["images/one"]}
            _, told = registry.call("GET", "/v2/images/one/tags/list")
            assert json.loads(told) == {"name": "images/one", "tags": ["latest"]}
            works(Column.LIST)

            registry.call("DELETE", f"/v2/images/one/manifests/{image}")
        registry.collect_garbage()
        assert not [key for key in reference.keys(bucket, f"{BLOBS}/") if key.endswith("/data")]
        works(Column.DELETE)
    finally:
        reference.empty(bucket)


def version() -> str:
    """As its package has it."""
    told = subprocess.run(
        ["docker-registry", "--version"], capture_output=True, text=True, check=True, timeout=30
    )
    return told.stdout.split()[-1].partition("+")[0]
