"""An object's tags: as a header, as a document, and as they are kept beside it.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote_plus

from aosd.doors.s3.errors import S3Error
from aosd.model.objects import OWN_METADATA, Headers

Tags = tuple[tuple[str, str], ...]

NAME = OWN_METADATA + b"tags"
_MOST_TAGS = 10
_LONGEST_KEY = 128
_LONGEST_VALUE = 256
_MARKS = frozenset("+-=._:/@")


def tags_of_header(text: str) -> Tags:
    """Tags from x-amz-tagging: a query string. Raises S3Error InvalidTag or InvalidArgument."""
    try:
        found = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_TAGS + 1
        )
    except ValueError as error:
        raise S3Error("InvalidArgument", "x-amz-tagging can't be read") from error
    return checked_tags(found)


def checked_tags(tags: Iterable[tuple[str, str]]) -> Tags:
    """The tags, if S3 takes them. Raises S3Error InvalidTag."""
    found = tuple(tags)
    if len(found) > _MOST_TAGS:
        raise S3Error("InvalidTag", f"an object has {_MOST_TAGS} tags at most")
    if len({key for key, _ in found}) < len(found):
        raise S3Error("InvalidTag", "two tags have the same key")
    for key, value in found:
        if not (1 <= len(key) <= _LONGEST_KEY and len(value) <= _LONGEST_VALUE):
            raise S3Error(
                "InvalidTag",
                f"a tag's key has 1 to {_LONGEST_KEY} characters, its value up to {_LONGEST_VALUE}",
            )
        if key.startswith("aws:"):
            raise S3Error("InvalidTag", "keys that begin with aws: aren't for clients")
        if not all(_is_fine(each) for each in key + value):
            raise S3Error("InvalidTag", "tags are letters, digits, spaces and + - = . _ : / @")
    return found


def kept_tags(tags: Tags) -> Headers:
    """The own metadata that keeps tags; nothing for none."""
    if not tags:
        return ()
    text = "&".join(f"{_quoted(key)}={_quoted(value)}" for key, value in tags)
    return ((NAME, text.encode("ascii")),)


def tags_in(own: Headers) -> Tags:
    """The tags that an object is kept with."""
    for name, value in own:
        if name == NAME:
            return tuple(parse_qsl(value.decode("latin-1"), keep_blank_values=True))
    return ()


def _is_fine(character: str) -> bool:
    return character in _MARKS or unicodedata.category(character)[0] in "LNZ"


def _quoted(text: str) -> str:
    # Nodes take some 2,000 bytes of metadata: no byte more than it needs.
    return quote_plus(text, safe="-._:/@")
