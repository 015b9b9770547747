"""Parameters of the operations door, which stand in a request's query."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qs

from aosd.doors.request import DoorRequest
from aosd.model.errors import BadRequest

_MOST_FIELDS = 16
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)


def query_of(request: DoorRequest, *known: str) -> Mapping[str, str]:
    """The query's values by their names; of one that is there twice, the last.

    Raises BadRequest for a name that isn't among the `known` ones, and for what is no UTF-8.
    """
    text = request.uri.partition(b"?")[2].decode("latin-1")
    try:
        values = parse_qs(
            text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:
        raise BadRequest(f"the query can't be read: {error}", "InvalidArgument") from error
    for name in values:
        if name not in known:
            takes = ", ".join(known) or "no parameters"
            raise BadRequest(f"unknown parameter {name!r}: this takes {takes}", "InvalidArgument")
    return {name: found[-1] for name, found in values.items()}


def switch_of(query: Mapping[str, str], name: str) -> bool:
    """Whether `name` is 1; it isn't when it is 0, or not there. Raises BadRequest."""
    value = query.get(name, "0")
    if value not in ("0", "1"):
        raise BadRequest(f"{name} is 1 or 0", "InvalidArgument")
    return value == "1"


def word_of(query: Mapping[str, str], name: str, what: str) -> str:
    """The value of a parameter that has to be there; `what` says what it is. Raises BadRequest."""
    value = query.get(name, "")
    if not value:
        raise BadRequest(f"{name} is missing: {what}", "InvalidArgument")
    return value


def number_of(query: Mapping[str, str], name: str, what: str) -> float:
    """A number of 0 or more, which has to be there. Raises BadRequest."""
    text = word_of(query, name, what)
    if _NUMBER.fullmatch(text) is None:
        raise BadRequest(f"{name} isn't {what}", "InvalidArgument")
    return float(text)
