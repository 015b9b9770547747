"""Which requests the express lane serves itself, and by which door."""

from __future__ import annotations

from collections.abc import Callable

from aosd.doors.plain import PlainDoor
from aosd.doors.request import DoorRequest
from aosd.doors.root import Doors
from aosd.doors.s3 import table
from aosd.doors.s3.door import S3Door
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.targets import bucket_of_host, parse_target

Serve = Callable[[DoorRequest], object]
"""Answers a request, and finishes it."""

_VERBS = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE"})
_OPERATIONS = frozenset({"GetObject", "HeadObject", "PutObject", "DeleteObject"})
_COPY = b"x-amz-copy-source"
_COPIES = frozenset({_COPY})
_NO_NAMES: frozenset[bytes] = frozenset()


class Routes:
    """Knows the requests for one object. What it doesn't know is the standard lane's."""

    def __init__(
        self, doors: Doors, plain: PlainDoor | None, s3: S3Door | None, domain: str | None
    ) -> None:
        self._doors = doors
        self._plain = plain
        self._s3 = s3
        self._domain = domain

    def find(self, request: DoorRequest) -> Serve | None:
        """Who serves a request; None: the standard lane. Sets its `door` where it finds one."""
        if request.method not in _VERBS:
            return None
        door = self._doors.door_of(request)
        serve: Serve | None = None
        if door == "plain" and self._plain is not None:
            if self._plain.is_object(request.path):
                serve = self._plain.serve
        elif door == "s3" and self._s3 is not None and self._is_about_an_object(request):
            serve = self._s3.render
        if serve is not None:
            request.door = door
        return serve

    def _is_about_an_object(self, request: DoorRequest) -> bool:
        """Whether the table resolves it to one of the four operations on an object."""
        copies = request.requestHeaders.hasHeader(_COPY)
        host = (request.requestHeaders.getRawHeaders(b"host") or (b"",))[0]
        if b"?" not in request.uri and not copies:
            path = request.path
            if bucket_of_host(host, self._domain) is None:
                return bool(path[1:].partition(b"/")[2])
            return len(path) > 1
        try:
            target = parse_target(request.uri, host, self._domain)
        except S3Error:
            return False
        if not target.key:
            return False
        verb = request.method.decode("ascii")
        names = _COPIES if copies else _NO_NAMES
        operation = table.find(verb, table.OBJECT, target.query, names)
        return operation is not None and operation.name in _OPERATIONS
