"""The first contact with a node: its buckets, and the marker that names it.

Blocking, by the minio package; to be run in a thread.
"""

from __future__ import annotations

import json
import secrets
from io import BytesIO

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from aosd.model.errors import NodeError, NodeNonsense, NodeRefused, NodeUnavailable
from aosd.model.node import Address, Credentials
from aosd.model.objects import OBJECT_BUCKET, SYSTEM_BUCKET
from aosd.nodes.s3 import MARKER_KEY

_TIMEOUT_S = 5.0
_ALREADY_THERE = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def provision(name: str, address: Address, credentials: Credentials) -> bytes:
    """Make the buckets that are missing, and `node.json` if the node has none; returns it.

    Raises NodeError with words for the operator. Takes 5 s a request at most.
    """
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=1.5, read=_TIMEOUT_S), retries=False, maxsize=1
    )
    client = Minio(
        address.url.partition("://")[2],
        access_key=credentials.access_key,
        secret_key=credentials.secret_key,
        secure=address.scheme == "https",
        region="us-east-1",
        http_client=pool,
    )
    try:
        for bucket in (SYSTEM_BUCKET, OBJECT_BUCKET):
            _make_bucket(client, bucket)
        return _marker(client, name)
    except S3Error as error:
        raise NodeRefused(
            name, f"{error.code}: {error.message}", error.response.status, error.code or ""
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise NodeUnavailable(name, f"no connection: {_innermost(error)}") from error
    except (MinioException, ValueError) as error:
        raise NodeNonsense(name, f"doesn't answer as S3 does: {error}") from error
    finally:
        pool.clear()


def check_marker(name: str, marker: bytes) -> str:
    """The incarnation that a node's marker tells; NodeError when it is another node's."""
    try:
        told = json.loads(marker)
        owner, incarnation = told["node"], told["incarnation"]
    except (ValueError, TypeError, KeyError) as error:
        raise NodeNonsense(name, f"its {MARKER_KEY} can't be read") from error
    if owner != name:
        raise NodeError(name, f"it holds the data of node {owner}, by its {MARKER_KEY}")
    return str(incarnation)


def _make_bucket(client: Minio, bucket: str) -> None:
    if client.bucket_exists(bucket_name=bucket):
        return
    try:
        client.make_bucket(bucket_name=bucket)
    except S3Error as error:
        if error.code not in _ALREADY_THERE:
            raise


def _marker(client: Minio, name: str) -> bytes:
    try:
        response = client.get_object(bucket_name=SYSTEM_BUCKET, object_name=MARKER_KEY)
        try:
            return bytes(response.read())
        finally:
            response.close()
    except S3Error as error:
        if error.code != "NoSuchKey":
            raise
    marker = json.dumps({"node": name, "incarnation": secrets.token_hex(8)}).encode()
    client.put_object(
        bucket_name=SYSTEM_BUCKET,
        object_name=MARKER_KEY,
        data=BytesIO(marker),
        length=len(marker),
        content_type="application/json",
    )
    return marker


def _innermost(error: BaseException) -> BaseException:
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else error
