"""Which door a request knocks at, by its raw path, its host and whether it is signed."""

from __future__ import annotations

from klein.resource import KleinResource
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from aosd.doors.answers import not_found, write_error
from aosd.doors.heads_first import HeadFirstRequest
from aosd.doors.operations.door import OperationsDoor
from aosd.doors.plain import PlainDoor
from aosd.doors.request import DoorRequest
from aosd.doors.s3.door import S3Door
from aosd.doors.s3.targets import bucket_of_host
from aosd.model.errors import AosdError

_SIGNED_QUERY = (b"X-Amz-Signature=", b"Signature=")


class Doors(Resource):
    """All doors of one port; None for one that isn't on it. `domain`: see S3Door."""

    isLeaf = True

    def __init__(
        self,
        plain: PlainDoor | None,
        operations: OperationsDoor | None,
        s3: S3Door | None,
        domain: str | None = None,
    ) -> None:
        super().__init__()
        self._plain = plain
        self._operations = operations
        self._s3 = s3
        self._domain = domain
        self._plain_app = plain.app.resource() if plain else None
        self._operations_app = operations.app.resource() if operations else None

    def door_of(self, request: DoorRequest) -> str:
        """The name of the door that a request knocks at, for logs and metrics.

        What is signed, or comes to a bucket's own host name, is the S3 door's, and so is a
        browser's preflight, which is never signed: what it asks about may be.
        """
        path = request.path
        host = (request.requestHeaders.getRawHeaders(b"host") or [b""])[0]
        if self._s3 is not None and bucket_of_host(host, self._domain) is not None:
            return "s3"
        if self._operations is not None and self._operations.takes(path):
            return "operations"
        is_plain = self._plain is not None and self._plain.takes(path)
        is_s3 = self._s3 is not None and (_is_signed(request) or _is_preflight(request))
        if is_plain and not is_s3:
            return "plain"
        return "none" if self._s3 is None else "s3"

    def render(self, request: IRequest) -> object:
        """Hand a request to its door. Klein sees only paths that a door has looked at."""
        assert isinstance(request, HeadFirstRequest)
        if request.door == "s3" and self._s3 is not None:
            return self._s3.render(request)
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
            self._plain.check(request.path, request.method)
            return self._plain_app
        raise not_found()


def _is_signed(request: DoorRequest) -> bool:
    if request.requestHeaders.hasHeader(b"authorization"):
        return True
    _, mark, query = request.uri.partition(b"?")
    return bool(mark) and any(part.startswith(_SIGNED_QUERY) for part in query.split(b"&"))


def _is_preflight(request: DoorRequest) -> bool:
    asks = request.requestHeaders.hasHeader(b"access-control-request-method")
    return request.method == b"OPTIONS" and asks
