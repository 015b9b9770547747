"""Objects by their path: `key` in the bucket `object`, `bucket:key` in any other."""

from __future__ import annotations

from aosd.model.objects import OBJECT_BUCKET


def split(path: str) -> tuple[str, str]:
    """Bucket and key."""
    bucket, found, key = path.partition(":")
    return (bucket, key) if found else (OBJECT_BUCKET, path)


def joined(bucket: str, key: str) -> str:
    """The path."""
    return key if bucket == OBJECT_BUCKET else f"{bucket}:{key}"


def bucket_of(path: str) -> str:
    """The bucket alone."""
    return split(path)[0]
