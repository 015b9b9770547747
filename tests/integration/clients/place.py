"""Where the clients are sent: one daemon with an endpoint over http and one over TLS."""

from __future__ import annotations

import hashlib
import os
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

ROOT = Path(__file__).resolve().parents[3]
INSTALLED = ROOT / ".cache" / "clients"
"""Where tools/clients.sh puts what comes from PyPI and npm."""

ADDRESS = "127.0.0.1"
DOMAIN = "s3.localhost"
"""Its subdomains are buckets (AOSD_S3_DOMAIN)."""

SCHEMES = ("http", "https")
REGION = "us-east-1"
MIB = 1024 * 1024
BIG_BYTES = 100 * MIB


@dataclass(frozen=True)
class Place:
    """Ports by scheme, who may, whom to trust, and what the nodes are."""

    ports: Mapping[str, int]
    access_key: str
    secret_key: str
    ca: Path
    server: str

    def url(self, scheme: str, host: str = ADDRESS) -> str:
        """The endpoint that a client is given."""
        return f"{scheme}://{host}:{self.ports[scheme]}"

    def environment(self, home: Path) -> dict[str, str]:
        """What every client is started with: nothing of the caller's own settings."""
        return {
            "PATH": os.environ["PATH"] + os.pathsep + "/usr/sbin:/sbin",
            "HOME": str(home),
            "TMPDIR": str(home),
            "LANG": "C.UTF-8",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "SSL_CERT_FILE": str(self.ca),
        }

    def trust(self) -> ssl.SSLContext:
        """For requests of the tests' own."""
        return ssl.create_default_context(cafile=str(self.ca))

    def fetch(self, url: str, body: bytes | None = None) -> bytes:
        """What a presigned URL gives to one who has nothing but the URL, or takes from one."""
        request = urllib.request.Request(url, data=body, method="PUT" if body else "GET")
        with urllib.request.urlopen(request, context=self.trust(), timeout=60) as answer:
            told: bytes = answer.read()
        return told


class Reference:
    """Looks at, and puts, what the client under test should find or have left."""

    def __init__(self, place: Place) -> None:
        self._client = Minio(
            f"{ADDRESS}:{place.ports['http']}",
            access_key=place.access_key,
            secret_key=place.secret_key,
            secure=False,
            region=REGION,
        )

    def make_bucket(self, bucket: str) -> None:
        self._client.make_bucket(bucket_name=bucket)

    def has_bucket(self, bucket: str) -> bool:
        return self._client.bucket_exists(bucket_name=bucket)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self._client.put_object(
            bucket_name=bucket, object_name=key, data=BytesIO(data), length=len(data)
        )

    def keys(self, bucket: str, prefix: str = "") -> set[str]:
        """All keys that begin with `prefix`."""
        listed = self._client.list_objects(bucket_name=bucket, prefix=prefix, recursive=True)
        return {str(each.object_name) for each in listed}

    def has(self, bucket: str, key: str) -> bool:
        try:
            self._client.stat_object(bucket_name=bucket, object_name=key)
        except S3Error as error:
            assert error.code == "NoSuchKey", error
            return False
        return True

    def head(self, bucket: str, key: str) -> Mapping[str, str]:
        """An object's headers, names in lower case."""
        told = self._client.stat_object(bucket_name=bucket, object_name=key).metadata
        return {name.lower(): str(value) for name, value in (told or {}).items()}

    def parts(self, bucket: str, key: str) -> int:
        """How many parts an object was sent in, by its ETag; 0: not in parts."""
        _, _, count = self.head(bucket, key)["etag"].strip('"').partition("-")
        return int(count or 0)

    def sha256(self, bucket: str, key: str) -> str:
        answer = self._client.get_object(bucket_name=bucket, object_name=key)
        digest = hashlib.sha256()
        try:
            for chunk in answer.stream(MIB):
                digest.update(chunk)
        finally:
            answer.close()
            answer.release_conn()
        return digest.hexdigest()

    def empty(self, bucket: str) -> None:
        """Remove all objects of a bucket."""
        doomed = [DeleteObject(key) for key in self.keys(bucket)]
        assert not list(self._client.remove_objects(bucket_name=bucket, delete_object_list=doomed))


def sha256(path: Path) -> str:
    """Of a file, by pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
