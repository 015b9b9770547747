"""Objects of somebody who never heard of aosd, put on a node by a plain S3 client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.session
from botocore.config import Config

from tests.integration.nodes import RealNode

_CLIENTS = 8


def plain_client(url: str, access_key: str, secret_key: str) -> Any:
    """A client as anyone has it; it tries once."""
    return botocore.session.get_session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"max_attempts": 0},
            max_pool_connections=_CLIENTS,
        ),
    )


def client_of(node: RealNode) -> Any:
    """A client of the node itself."""
    return plain_client(node.url, node.credentials.access_key, node.credentials.secret_key)


def put_foreign(
    node: RealNode, bucket: str, objects: Mapping[str, bytes], content_type: str = "text/x-theirs"
) -> None:
    """Put objects on a node, each with metadata of the user's own."""
    client = client_of(node)
    if bucket not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=bucket)

    def put(key: str) -> None:
        client.put_object(
            Bucket=bucket,
            Key=key,
            Body=objects[key],
            ContentType=content_type,
            Metadata={"whose": "theirs"},
        )

    with ThreadPoolExecutor(_CLIENTS) as threads:
        list(threads.map(put, objects))


def problems_of(
    client: Any,
    bucket: str,
    objects: Mapping[str, bytes],
    content_type: str = "text/x-theirs",
    keys: Iterable[str] | None = None,
) -> list[str]:
    """What a client finds that isn't as it was put."""

    def look(key: str) -> str:
        try:
            told = client.get_object(Bucket=bucket, Key=key)
            data = told["Body"].read()
        except client.exceptions.ClientError as error:
            return f"{bucket}/{key}: {error}"
        if data != objects[key]:
            return f"{bucket}/{key}: {len(data)} other bytes"
        if (told["ContentType"], told["Metadata"]) != (content_type, {"whose": "theirs"}):
            return f"{bucket}/{key}: {told['ContentType']}, {told['Metadata']}"
        return ""

    with ThreadPoolExecutor(_CLIENTS) as threads:
        return [each for each in threads.map(look, objects if keys is None else keys) if each]
