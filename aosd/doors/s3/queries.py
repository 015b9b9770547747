"""Parameters in a request's query."""

from __future__ import annotations

from collections.abc import Mapping

from aosd.doors.s3.errors import S3Error

_LONGEST_NUMBER = 10


def number_of(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A whole number; one over `most` counts as that, as S3 has it.

    Raises S3Error InvalidArgument for one under `least`, and for what is no number.
    """
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > _LONGEST_NUMBER:
        raise S3Error("InvalidArgument", f"{name} isn't a whole number")
    if int(text) < least:
        raise S3Error("InvalidArgument", f"{name} is {least} at least")
    return min(int(text), most)


def encoding_of(query: Mapping[str, str]) -> bool:
    """Whether names in the answer are to be encoded. Raises S3Error InvalidArgument."""
    encoding = query.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise S3Error("InvalidArgument", "encoding-type can only be url")
    return encoding == "url"
