"""How large the parts of a multipart upload are, and what ETag they make.

S3 takes 10,000 parts of 5 MiB or more (the last may be shorter). Those of a body whose length
isn't known beforehand begin small, so that one of some megabytes costs little memory, and grow,
so that 10,000 are enough: from 8 to 64 MiB, for 459 GiB in all.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

MOST_PARTS = 10_000
_PARTS_A_SIZE = 1_250
_MD5_ETAG = re.compile(r'"([0-9a-f]{32})"')
_PARTS_ETAG = re.compile(r'"[0-9a-f]{32}-([0-9]{1,5})"')


def part_sizes(first_bytes: int, most_bytes: int) -> Iterator[int]:
    """The sizes in bytes of parts 1 to 10,000: doubled each 1,250 parts, up to `most_bytes`.

    All are alike when `first_bytes` isn't under `most_bytes`.
    """
    for size, count in _runs(first_bytes, most_bytes):
        for _ in range(count):
            yield size


@lru_cache(maxsize=16)
def largest_body_bytes(first_bytes: int, most_bytes: int) -> int:
    """The longest body that these parts can hold."""
    return sum(size * count for size, count in _runs(first_bytes, most_bytes))


def md5_of(etag: str) -> bytes | None:
    """The MD5 that the (quoted) ETag of a body in one piece is; None when it isn't one."""
    found = _MD5_ETAG.fullmatch(etag)
    return bytes.fromhex(found[1]) if found else None


def count_of_parts(etag: str) -> int | None:
    """Of how many parts an object with this ETag was made; None when in one piece."""
    found = _PARTS_ETAG.fullmatch(etag)
    return int(found[1]) if found else None


def etag_of_parts(etags: Sequence[str]) -> str | None:
    """The ETag of an object of these parts, as S3 defines it; None when theirs are no MD5s."""
    found = [md5_of(etag) for etag in etags]
    digests = [each for each in found if each is not None]
    if len(digests) != len(etags):
        return None
    md5 = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    return f'"{md5}-{len(etags)}"'


def _runs(first_bytes: int, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Pairs of a size and how many parts of it follow each other."""
    size, left = first_bytes, MOST_PARTS
    while left:
        count = min(_PARTS_A_SIZE, left)
        yield size, count
        left -= count
        if size < most_bytes:
            size = min(size * 2, most_bytes)
