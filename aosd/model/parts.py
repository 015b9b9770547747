"""How large the parts of a multipart upload are whose length isn't known beforehand.

S3 takes 10,000 parts of 5 MiB or more (the last may be shorter). They begin small, so that
a body of some megabytes costs little memory, and grow, so that 10,000 are enough: from 8 to
64 MiB, for 459 GiB in all.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from __future__ import annotations

from collections.abc import Iterator

MOST_PARTS = 10_000
_PARTS_A_SIZE = 1_250


def part_sizes(first_bytes: int, most_bytes: int) -> Iterator[int]:
    """The sizes in bytes of parts 1 to 10,000: doubled each 1,250 parts, up to `most_bytes`.

    All are alike when `first_bytes` isn't under `most_bytes`.
    """
    for size, count in _runs(first_bytes, most_bytes):
        for _ in range(count):
            yield size


def largest_body_bytes(first_bytes: int, most_bytes: int) -> int:
    """The longest body that these parts can hold."""
    return sum(size * count for size, count in _runs(first_bytes, most_bytes))


def _runs(first_bytes: int, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Pairs of a size and how many parts of it follow each other."""
    size, left = first_bytes, MOST_PARTS
    while left:
        count = min(_PARTS_A_SIZE, left)
        yield size, count
        left -= count
        if size < most_bytes:
            size = min(size * 2, most_bytes)
