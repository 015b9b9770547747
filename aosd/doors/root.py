"""Which door a request knocks at, by its raw path."""

from __future__ import annotations

from klein.resource import KleinResource
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from aosd.doors.answers import HttpError, not_found, write_error
from aosd.doors.operations.door import OperationsDoor
from aosd.doors.plain import PlainDoor
from aosd.doors.site import HeadFirstRequest
from aosd.model.errors import AosdError

_SIGNED_QUERY = (b"X-Amz-Signature=", b"Signature=")


class Doors(Resource):
    """All doors of one port; None for one that isn't on it."""

    isLeaf = True

    def __init__(self, plain: PlainDoor | None, operations: OperationsDoor | None) -> None:
        super().__init__()
        self._plain = plain
        self._operations = operations
        self._plain_app = plain.app.resource() if plain else None
        self._operations_app = operations.app.resource() if operations else None

    def door_of(self, path: bytes) -> str:
        """The name of the door that a raw path belongs to, for logs and metrics."""
        if self._operations is not None and self._operations.takes(path):
            return "operations"
        if self._plain is not None and self._plain.takes(path):
            return "plain"
        return "none"

    def render(self, request: IRequest) -> object:
        """Hand a request to its door. Klein sees only paths that a door has looked at."""
        assert isinstance(request, HeadFirstRequest)
        try:
            return self._app(request).render(request)
        except AosdError as error:
            write_error(request, error)
            request.finish()
            return NOT_DONE_YET

    def _app(self, request: HeadFirstRequest) -> KleinResource:
        if request.door == "operations" and self._operations and self._operations_app:
            self._operations.check(request.path, request.method)
            return self._operations_app
        if request.door == "plain" and self._plain and self._plain_app:
            if _signed(request):
                raise HttpError(
                    501, "NotImplemented", "signed requests are for the S3 door, not built yet"
                )
            self._plain.check(request.path, request.method)
            return self._plain_app
        raise not_found()


def _signed(request: HeadFirstRequest) -> bool:
    if request.requestHeaders.hasHeader(b"authorization"):
        return True
    query = request.uri.partition(b"?")[2]
    return any(part.startswith(_SIGNED_QUERY) for part in query.split(b"&"))
