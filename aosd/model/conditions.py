"""Conditional requests (RFC 9110, section 13). Dates are whole seconds since 1970."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

from aosd.model.errors import BadRequest

_ONE_ETAG = re.compile(r'(?:W/)?"[^"]*"|[^",\s]+')


class Verdict(Enum):
    """What conditions make of a request."""

    PROCEED = "proceed"
    FAILED = "failed"  # 412
    NOT_MODIFIED = "not modified"  # 304, reads only


@dataclass(frozen=True, slots=True)
class Conditions:
    """The raw values of a request's conditional headers; None for one that isn't there."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None

    def __bool__(self) -> bool:
        return any(
            value is not None
            for value in (
                self.if_match,
                self.if_none_match,
                self.if_modified_since,
                self.if_unmodified_since,
            )
        )


UNCONDITIONAL = Conditions()


def check_read(conditions: Conditions, etag: str, modified_s: int) -> Verdict:
    """Judge a read of an object that is there, in the order of RFC 9110, section 13.2.2."""
    if conditions.if_match is not None:
        if not _matches(conditions.if_match, etag, weakly=False):
            return Verdict.FAILED
    elif (since_s := _date(conditions.if_unmodified_since)) is not None and modified_s > since_s:
        return Verdict.FAILED
    if conditions.if_none_match is not None:
        if _matches(conditions.if_none_match, etag, weakly=True):
            return Verdict.NOT_MODIFIED
    elif (since_s := _date(conditions.if_modified_since)) is not None and modified_s <= since_s:
        return Verdict.NOT_MODIFIED
    return Verdict.PROCEED


def check_write(conditions: Conditions, etag: str | None) -> Verdict:
    """Judge a write by the ETag of what is there now; None when nothing is.

    If-Match on a key that has no object fails. Date conditions don't apply to writes.
    """
    if conditions.if_match is not None and (
        etag is None or not _matches(conditions.if_match, etag, weakly=False)
    ):
        return Verdict.FAILED
    if (
        conditions.if_none_match is not None
        and etag is not None
        and _matches(conditions.if_none_match, etag, weakly=True)
    ):
        return Verdict.FAILED
    return Verdict.PROCEED


def valid_for_write(conditions: Conditions) -> None:
    """Raise BadRequest for a condition that S3 doesn't know on writes.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    if conditions.if_none_match is not None and conditions.if_none_match.strip() != "*":
        raise BadRequest("If-None-Match on a write can only be *", "NotImplemented")


def if_range_holds(value: str, etag: str, modified_s: int) -> bool:
    """Whether If-Range names the present version (RFC 9110, section 13.1.5).

    A date has to be the very one, and then counts as a strong validator: two writes of a
    key within one second look the same to who goes by dates.
    """
    value = value.strip()
    if value.startswith('"'):
        return value == etag
    if value.startswith("W/"):
        return False
    return _date(value) == modified_s


def _matches(value: str, etag: str, weakly: bool) -> bool:
    if value.strip() == "*":
        return True
    if etag.startswith("W/") and not weakly:
        return False
    etag = etag.removeprefix("W/")
    for found in _ONE_ETAG.findall(value):
        if found.startswith("W/"):
            if not weakly:
                continue
            found = found[2:]
        # Some clients leave the quotes out.
        if found.strip('"') == etag.strip('"'):
            return True
    return False


def _date(value: str | None) -> int | None:
    """A date in any of HTTP's three forms; None for none and for a malformed one."""
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value.strip())
        # asctime's form names no zone: HTTP's dates are always in UTC.
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None
