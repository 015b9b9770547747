"""The operator's token: who may change something by the operations door."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from twisted.logger import Logger

from aosd.doors.answers import HttpError
from aosd.doors.request import DoorRequest
from aosd.model.errors import NoNodes

_CHALLENGE = {b"www-authenticate": b'Bearer realm="aosd"'}


class OperatorToken:
    """Looks at `Authorization: Bearer TOKEN` (RFC 6750, section 2.1).

    `given` is the settings' token; where there is none, `made` gives the cluster's own, and
    raises NoNodes while it isn't known. A page of another site can't send that header, so
    nothing else has to be asked of where a request comes from.
    """

    _log = Logger()

    def __init__(self, given: str | None, made: Callable[[], str]) -> None:
        self._given = given
        self._made = made

    def check(self, request: DoorRequest) -> None:
        """Raise HttpError 401 unless the request shows the token; NoNodes while none is known."""
        headers = request.requestHeaders.getRawHeaders(b"authorization") or []
        try:
            known = self._given or self._made()
        except NoNodes:
            raise NoNodes(
                "the operator's token isn't known before the cluster is, or AOSD_OPERATOR_TOKEN"
            ) from None
        scheme, _, shown = headers[0].partition(b" ") if len(headers) == 1 else (b"", b"", b"")
        if scheme.lower() != b"bearer" or not shown.strip():
            self._refuse(request, "this takes the operator's token: Authorization: Bearer TOKEN")
        if not hmac.compare_digest(shown.strip(), known.encode("utf-8")):
            self._refuse(request, "that isn't the operator's token")

    def _refuse(self, request: DoorRequest, why: str) -> None:
        self._log.warn(
            "request {request} refused: {why}", request=request.request_id, why=why, status=401
        )
        raise HttpError(401, "Unauthorized", why, dict(_CHALLENGE))
