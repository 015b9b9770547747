"""On whose behalf something is done: a client's request, or the daemon's own work.

The daemon's own work bounds itself, and who looks after the daemon has to get in: what bounds
clients' requests concerns neither. Twisted runs each coroutine in a copy of the context that it
was begun in, so what a request begins is known as the request's.
"""

from __future__ import annotations

from contextvars import ContextVar

_CLIENT: ContextVar[object | None] = ContextVar("client", default=None)

client = _CLIENT.get
"""Stands for the client's request that is being served, the same for all of it; None outside."""


def serve_client() -> None:
    """The coroutine that calls this serves a client's request from here on."""
    _CLIENT.set(object())
