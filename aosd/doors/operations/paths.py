"""Which paths the operations door has, and which verbs they take."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from aosd.doors.answers import not_found, wrong_verb
from aosd.model.node import is_node_name

PREFIX = b"/-/"

_READ = ("GET", "HEAD")
_VERBS: dict[bytes, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            b"health",
            b"ready",
            b"metrics",
            b"nodes",
            b"ring",
            b"repair",
            b"changes",
            b"explain",
        ),
        _READ,
    ),
    **dict.fromkeys(
        (b"doctor", b"leave", b"leave/undo", b"repair/start", b"repair/pause"), ("POST",)
    ),
}
_OF_A_NODE = frozenset({b"drain", b"undrain", b"weight", b"zone", b"remove", b"adopt", b"undo"})


def takes(path: bytes) -> bool:
    """Whether a raw path is this door's."""
    return path == b"/-" or path.startswith(PREFIX)


def check(path: bytes, verb: bytes) -> None:
    """Raise HttpError 404 or 405 unless there is such a page and it takes the verb.

    Of a raw path: only the name of a node may have something percent-encoded in it.
    """
    verbs = _verbs(path[len(PREFIX) :])
    if verbs is None:
        raise not_found()
    if verb.decode("latin-1") not in verbs:
        raise wrong_verb(*verbs)


def _verbs(page: bytes) -> tuple[str, ...] | None:
    if page in _VERBS:
        return _VERBS[page]
    match page.split(b"/"):
        case [b"nodes", name, act] if act in _OF_A_NODE and _is_name(name):
            return ("POST",)
    return None


def _is_name(segment: bytes) -> bool:
    return is_node_name(unquote_to_bytes(segment).decode("latin-1"))
