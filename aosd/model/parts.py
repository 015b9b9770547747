"""How large the parts of a multipart upload are whose length isn't known beforehand.

S3 takes 10,000 parts. They begin small, so that a body of some megabytes costs little
memory, and grow, so that 10,000 are enough: with 8 to 64 MiB for 460 GiB.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from __future__ import annotations

from collections.abc import Iterator

MOST_PARTS = 10_000
_PARTS_A_SIZE = 1_000


def part_sizes(first_bytes: int, most_bytes: int) -> Iterator[int]:
    """The sizes in bytes of parts 1 to 10,000: doubled each 1,000 parts, up to `most_bytes`."""
    size = first_bytes
    for number in range(MOST_PARTS):
        if number and number % _PARTS_A_SIZE == 0:
            size = min(size * 2, most_bytes)
        yield size


def largest_body_bytes(first_bytes: int, most_bytes: int) -> int:
    """The longest body that these parts can hold."""
    return sum(part_sizes(first_bytes, most_bytes))
