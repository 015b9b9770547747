"""Answers in JSON, and which status an error gets."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from aosd.doors.request import DoorRequest
from aosd.model.errors import (
    AosdError,
    BadRequest,
    ChangeRefused,
    ClientGone,
    ClusterError,
    DigestMismatch,
    IncompleteBody,
    NoSuchKey,
    NoSuchNode,
    NotModified,
    PreconditionFailed,
    RangeNotSatisfiable,
    RequestError,
    RequestTimeout,
    TooLarge,
    UpstreamNonsense,
    UpstreamTimeout,
)

_log = Logger()
_encoded = json.JSONEncoder(ensure_ascii=False).encode

_STATUS: dict[type[AosdError], int] = {
    NotModified: 304,
    BadRequest: 400,
    DigestMismatch: 400,
    IncompleteBody: 400,
    NoSuchKey: 404,
    NoSuchNode: 404,
    RequestTimeout: 408,
    ChangeRefused: 409,
    PreconditionFailed: 412,
    TooLarge: 413,
    RangeNotSatisfiable: 416,
    UpstreamNonsense: 502,
    ClusterError: 503,
    UpstreamTimeout: 504,
}


class HttpError(RequestError):
    """A refusal that is the door's own: a status, its code, and headers that go with it."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[bytes, bytes] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


def wrong_verb(*allowed: str) -> HttpError:
    """405: the path is known, the verb isn't; `allowed` are those that are."""
    allow = ", ".join(allowed)
    return HttpError(405, "MethodNotAllowed", f"allowed here: {allow}", {b"allow": allow.encode()})


def not_found() -> HttpError:
    """404: no door knows the path."""
    return HttpError(404, "NotFound", "nothing is at this path")


def status_of(error: AosdError) -> int:
    """The status that tells of an error."""
    if isinstance(error, HttpError):
        return error.status
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return 500


@lru_cache(maxsize=1024)
def http_date(seconds: int) -> bytes:
    """Seconds since 1970 as HTTP has them (RFC 9110, section 5.6.7)."""
    return formatdate(seconds, usegmt=True).encode("ascii")


def write_json(request: DoorRequest, status: int, value: object) -> None:
    """Write a whole JSON answer; the caller doesn't finish the request, Klein does."""
    data = _encoded(value).encode("utf-8", "surrogatepass") + b"\n"
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", b"%d" % len(data))
    request.write(data)


def answer(request: DoorRequest, work: Coroutine[Any, Any, None]) -> Deferred[None]:
    """Run `work`, which writes an answer; whatever it raises becomes one, or an abort.

    Fires when the answer is written, for Klein to finish. Never fails: Klein would write
    its own page, even into an answer that has begun.
    """
    return Deferred.fromCoroutine(_answer(request, work))


async def _answer(request: DoorRequest, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except (CancelledError, ClientGone):
        # Nobody is left to answer.
        request.abort()
    except Exception as error:  # noqa: BLE001 — the last place before Klein
        if request.startedWriting:
            _log.warn(
                "request {request} broken off: {error}", request=request.request_id, error=error
            )
            request.abort()
        else:
            write_error(request, error)


def write_error(request: DoorRequest, error: Exception) -> None:
    """Answer with an error in JSON; what wasn't foreseen goes to the log alone."""
    if not isinstance(error, AosdError):
        _log.failure("request {request} failed", request=request.request_id)
        error = HttpError(500, "InternalError", "unexpected; the log knows more by the request id")
    status = status_of(error)
    if not write_error_head(request, error, status):
        return
    code = getattr(error, "code", "InternalError")
    write_json(
        request,
        status,
        {"error": str(error), "code": code, "request_id": request.request_id},
    )


def write_error_head(request: DoorRequest, error: AosdError, status: int) -> bool:
    """Set the status of an error and the headers that go with it; whether a body follows."""
    request.setResponseCode(status)
    if isinstance(error, NotModified):
        request.setHeader(b"etag", error.etag.encode("latin-1"))
        request.setHeader(b"last-modified", http_date(error.modified_s))
        for name, value in error.headers:
            request.setHeader(name, value)
        return False
    if isinstance(error, HttpError):
        for name, value in error.headers.items():
            request.setHeader(name, value)
    if isinstance(error, RangeNotSatisfiable):
        request.setHeader(b"content-range", b"bytes */%d" % error.size_bytes)
    if isinstance(error, ClusterError) and status in (503, 504):
        request.setHeader(b"retry-after", b"%d" % error.retry_after_s)
    return True
