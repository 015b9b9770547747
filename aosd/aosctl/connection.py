"""Requests to the operations door of a daemon, and what went wrong with them, in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError, SSLError

from aosd.aosctl.call import Failed, NotReady, Unreachable
from aosd.model.errors import ConfigurationError

_CONNECT_S = 5.0
_LARGEST_ANSWER_BYTES = 64 * 1024 * 1024

# What is known to be there of what a page tells, in every version.
_TOLD = {
    "nodes": {"nodes", "unusable", "providers", "next_may_go", "wait_for"},
    "changes": {"changing", "queue"},
    "repair": {"settled", "marks"},
    "explain": {"order", "verdict"},
}

_OK = 200
_UNAUTHORIZED, _NOT_FOUND, _UNAVAILABLE, _LEAST_ERROR = 401, 404, 503, 400


class Connection:
    """IDaemon over HTTP. `token` is asked for the operator's when a request needs it."""

    def __init__(
        self, url: str, token: Callable[[], str], pool: urllib3.PoolManager | None = None
    ) -> None:
        self.url = url
        self._token = token
        self._known_token = ""
        self._pool = urllib3.PoolManager(retries=False, maxsize=1) if pool is None else pool

    def get(
        self, page: str, query: Mapping[str, str] | None = None, *, timeout_s: float | None = 10.0
    ) -> Any:
        """See IDaemon."""
        told = self._ask("GET", page, query, timeout_s, {})
        # Other servers answer in JSON, too, whatever they are asked for.
        if not isinstance(told, dict) or not told.keys() >= _TOLD.get(page, set()):
            raise _no_door(self.url, _OK)
        return told

    def post(
        self, page: str, query: Mapping[str, str] | None = None, *, timeout_s: float | None = 60.0
    ) -> Any:
        """See IDaemon."""
        if not self._known_token:
            # Whether there is a daemon is told before anything of tokens, and to no other server.
            if self.get("health") != {"status": "alive"}:
                raise _no_door(self.url, _OK)
            self._known_token = self._token()
        headers = {"Authorization": f"Bearer {self._known_token}"}
        return self._ask("POST", page, query, timeout_s, headers)

    def _ask(
        self,
        verb: str,
        page: str,
        query: Mapping[str, str] | None,
        timeout_s: float | None,
        headers: Mapping[str, str],
    ) -> Any:
        url = f"{self.url}/-/{page}{_asked(query)}"
        connect_s = _CONNECT_S if timeout_s is None else min(_CONNECT_S, timeout_s)
        timeout = urllib3.Timeout(connect=connect_s, read=timeout_s)
        try:
            answer = self._pool.request(
                verb,
                url,
                headers={"Accept": "application/json", **headers},
                timeout=timeout,
                redirect=False,
                preload_content=False,
            )
            try:
                data = answer.read(_LARGEST_ANSWER_BYTES + 1)
            finally:
                answer.close()
        except ReadTimeoutError as error:
            raise Unreachable(
                f"the daemon at {self.url} took the question and gave no answer within "
                f"{timeout_s:g} s; its log may say why"
            ) from error
        except (HTTPError, OSError, UnicodeError) as error:
            raise Unreachable(
                f"no daemon answers at {self.url} ({why_not(error)}): is it running? --url or "
                "AOSD_URL says where else it is"
            ) from error
        document = _document(data)
        if answer.status < _LEAST_ERROR and document is not None:
            return document
        raise _refusal(self.url, answer.status, document)


def _asked(query: Mapping[str, str] | None) -> str:
    """As it stands in a URL. Raises ConfigurationError for words that can't be sent."""
    try:
        return f"?{urlencode(query)}" if query else ""
    except UnicodeEncodeError as error:
        # Bytes of a command line that are no UTF-8 came as halves of pairs.
        raise ConfigurationError(f"{error.object!r} is no text in UTF-8") from error


def why_not(error: Exception) -> str:
    """In a few words, without urllib3's wrapping."""
    if isinstance(error, SSLError):
        return f"TLS: {error}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error).rpartition(": ")[2] or type(error).__name__


def _document(data: bytes) -> Any:
    """What the JSON holds; None when it is none, or too long."""
    if len(data) > _LARGEST_ANSWER_BYTES:
        return None
    try:
        return json.loads(data)
    except ValueError:
        return None


def _no_door(url: str, status: int) -> Unreachable:
    return Unreachable(
        f"what answers at {url} is no operations door of aosd (status {status}): --url or "
        "AOSD_URL has to say where that is"
    )


def _refusal(url: str, status: int, document: Any) -> Failed:
    if not isinstance(document, dict) or "error" not in document:
        if status == _UNAVAILABLE and isinstance(document, dict) and "reason" in document:
            return NotReady(f"the daemon at {url} isn't ready: {document['reason']}")
        return _no_door(url, status)
    words, code = str(document["error"]), str(document.get("code", ""))
    if status == _UNAUTHORIZED:
        return Failed(
            f"the daemon at {url} doesn't take this token: --token or AOSD_OPERATOR_TOKEN has to "
            "be the one that it was given, or else the one of its own cluster",
            code,
        )
    if status == _NOT_FOUND and code == "NoSuchNode":
        return Failed(f"{words}; aosctl nodes lists them", code)
    if status == _NOT_FOUND:
        return Failed(f"the daemon at {url} doesn't know this: it is of an older version", code)
    if status == _UNAVAILABLE:
        return NotReady(f"not now: {words}", code)
    return Failed(words, code)
