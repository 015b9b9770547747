"""The operations door: what a person or a monitor wants to know, under `/-/`."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast
from urllib.parse import parse_qs

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from aosd.doors.answers import answer, not_found, write_json, wrong_verb
from aosd.doors.operations.report import Oversight
from aosd.doors.site import HeadFirstRequest
from aosd.model.errors import BadRequest
from aosd.model.objects import OBJECT_BUCKET
from aosd.observe.metrics import Metrics

_PREFIX = b"/-/"
_PAGES = frozenset({b"health", b"ready", b"nodes", b"ring", b"repair", b"metrics"})
_LONGEST_KEY_BYTES = 1024


class OperationsDoor:
    """health, ready, metrics, nodes, ring, repair."""

    app = Klein()

    def __init__(self, oversight: Oversight, metrics: Metrics) -> None:
        self._oversight = oversight
        self._metrics = metrics

    def takes(self, path: bytes) -> bool:
        """Whether a raw path is this door's."""
        return path == b"/-" or path.startswith(_PREFIX)

    def check(self, path: bytes, verb: bytes) -> None:
        """Raise HttpError 404 or 405 unless the raw path is a page and the verb reads it.

        To be called first: see PlainDoor.check.
        """
        if path[len(_PREFIX) :] not in _PAGES:
            raise not_found()
        if verb not in (b"GET", b"HEAD"):
            raise wrong_verb("GET", "HEAD")

    # -- routes ---------------------------------------------------------------------------------

    @app.route("/-/health", methods=["GET"])
    def health(self, request: IRequest) -> Deferred[None]:
        """The process lives."""
        return _page(request, lambda ours: write_json(ours, 200, {"status": "alive"}))

    @app.route("/-/ready", methods=["GET"])
    def ready(self, request: IRequest) -> Deferred[None]:
        """Whether requests can be served."""
        return _page(request, self._ready)

    @app.route("/-/nodes", methods=["GET"])
    def nodes(self, request: IRequest) -> Deferred[None]:
        """All nodes, what is wrong with them, and who found them."""
        return _page(request, lambda ours: write_json(ours, 200, self._oversight.nodes()))

    @app.route("/-/ring", methods=["GET"])
    def ring(self, request: IRequest) -> Deferred[None]:
        """The ring; with `?key=` (and `&bucket=`) where a key belongs and why."""
        ours = cast(HeadFirstRequest, request)
        return answer(ours, self._ring(ours))

    @app.route("/-/repair", methods=["GET"])
    def repair(self, request: IRequest) -> Deferred[None]:
        """What is known to be amiss, and what is done about it."""
        return _page(request, lambda ours: write_json(ours, 200, self._oversight.repair()))

    @app.route("/-/metrics", methods=["GET"])
    def metrics(self, request: IRequest) -> Deferred[None]:
        """For Prometheus."""
        return _page(request, self._render_metrics)

    # -- what they do ---------------------------------------------------------------------------

    def _ready(self, request: HeadFirstRequest) -> None:
        ready, why = self._oversight.ready()
        if not ready:
            request.setHeader(b"retry-after", b"1")
        write_json(request, 200 if ready else 503, {"ready": ready, "reason": why})

    async def _ring(self, request: HeadFirstRequest) -> None:
        query = parse_qs(request.uri.partition(b"?")[2].decode("latin-1"))
        key = query.get("key", [""])[-1]
        if not key:
            write_json(request, 200, self._oversight.ring())
            return
        if len(key.encode("utf-8", "surrogatepass")) > _LONGEST_KEY_BYTES:
            raise BadRequest(f"a key is {_LONGEST_KEY_BYTES} bytes at most", "KeyTooLongError")
        bucket = query.get("bucket", [OBJECT_BUCKET])[-1]
        write_json(request, 200, await self._oversight.placement(bucket, key))

    def _render_metrics(self, request: HeadFirstRequest) -> None:
        data = self._metrics.render()
        request.setHeader(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
        request.setHeader(b"content-length", b"%d" % len(data))
        request.write(data)


def _page(request: IRequest, write: Callable[[HeadFirstRequest], None]) -> Deferred[None]:
    ours = cast(HeadFirstRequest, request)

    async def page() -> None:
        write(ours)

    return answer(ours, page())
