"""The operations door: what a person or a monitor wants to know, under `/-/`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast
from urllib.parse import parse_qs

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from aosd.doors.answers import answer, write_json
from aosd.doors.operations.acts import Acts, Told
from aosd.doors.operations.doctor import Doctor
from aosd.doors.operations.explaining import Explaining
from aosd.doors.operations.paths import check, takes
from aosd.doors.operations.queries import query_of, word_of
from aosd.doors.operations.report import Oversight
from aosd.doors.operations.token import OperatorToken
from aosd.doors.request import DoorRequest
from aosd.model.errors import BadRequest
from aosd.model.objects import OBJECT_BUCKET
from aosd.observe.metrics import Metrics

_LONGEST_KEY_BYTES = 1024


class OperationsDoor:
    """What there is, told to everyone; what is done, for who has the operator's token."""

    app = Klein()

    def __init__(
        self,
        oversight: Oversight,
        metrics: Metrics,
        token: OperatorToken,
        acts: Acts,
        explaining: Explaining,
        doctor: Doctor,
    ) -> None:
        self._oversight = oversight
        self._metrics = metrics
        self._token = token
        self._acts = acts
        self._explaining = explaining
        self._doctor = doctor

    def takes(self, path: bytes) -> bool:
        """Whether a raw path is this door's."""
        return takes(path)

    def check(self, path: bytes, verb: bytes) -> None:
        """Raise HttpError 404 or 405 unless the raw path is a page that takes the verb.

        To be called first: see PlainDoor.check.
        """
        check(path, verb)

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
        ours = cast(DoorRequest, request)
        return answer(ours, self._ring(ours))

    @app.route("/-/repair", methods=["GET"])
    def repair(self, request: IRequest) -> Deferred[None]:
        """What is known to be amiss, and what is done about it."""
        return _page(request, lambda ours: write_json(ours, 200, self._oversight.repair()))

    @app.route("/-/metrics", methods=["GET"])
    def metrics(self, request: IRequest) -> Deferred[None]:
        """For Prometheus."""
        return _page(request, self._render_metrics)

    @app.route("/-/changes", methods=["GET"])
    def changes(self, request: IRequest) -> Deferred[None]:
        """Changes of the ring, under way and waiting."""
        return _page(request, lambda ours: write_json(ours, 200, self._oversight.changes()))

    @app.route("/-/explain", methods=["GET"])
    def explain(self, request: IRequest) -> Deferred[None]:
        """All that is known of a key."""
        ours = cast(DoorRequest, request)
        return answer(ours, self._explain(ours))

    @app.route("/-/nodes/<name>/<act>", methods=["POST"])
    def node(self, request: IRequest, name: str, act: str) -> Deferred[None]:
        """Drain, weigh, remove a node, and so on."""
        return self._post(
            request, lambda query: self._acts.on_node(name, act, query), *Acts.parameters(act)
        )

    @app.route("/-/leave", methods=["POST"])
    def leave(self, request: IRequest) -> Deferred[None]:
        """Take aosd off the nodes."""
        return self._post(request, self._acts.leave, "gather", "dry_run")

    @app.route("/-/leave/undo", methods=["POST"])
    def stay(self, request: IRequest) -> Deferred[None]:
        """Leave no more."""
        return self._post(request, self._acts.stay, "dry_run")

    @app.route("/-/repair/start", methods=["POST"])
    def start_repair(self, request: IRequest) -> Deferred[None]:
        """Go on, and begin a sweep."""
        return self._post(
            request, lambda query: self._repair(self._acts.start_repair(query)), "dry_run"
        )

    @app.route("/-/repair/pause", methods=["POST"])
    def pause_repair(self, request: IRequest) -> Deferred[None]:
        """No sweeps until it is started."""
        return self._post(
            request, lambda query: self._repair(self._acts.pause_repair(query)), "dry_run"
        )

    @app.route("/-/doctor", methods=["POST"])
    def doctor(self, request: IRequest) -> Deferred[None]:
        """Examine all nodes, and the cluster."""
        return self._post(request, lambda query: self._examine())

    # -- what they do ---------------------------------------------------------------------------

    def _post(
        self,
        request: IRequest,
        act: Callable[[Mapping[str, str]], Coroutine[Any, Any, Told]],
        *parameters: str,
    ) -> Deferred[None]:
        """Answer with what `act` tells, for who has the token; it gets the query."""
        ours = cast(DoorRequest, request)

        async def posted() -> None:
            self._token.check(ours)
            if ours.body.length != 0:
                raise BadRequest("this takes no body: parameters stand in the query")
            told = await act(query_of(ours, *parameters))
            write_json(ours, told.status, told.value)

        return answer(ours, posted())

    async def _repair(self, asked: Coroutine[Any, Any, Told | None]) -> Told:
        return await asked or Told(200, self._oversight.repair())

    async def _examine(self) -> Told:
        return Told(200, await self._doctor.findings())

    async def _explain(self, request: DoorRequest) -> None:
        query = query_of(request, "bucket", "key")
        key = word_of(query, "key", "the key of an object")
        bucket = query.get("bucket", OBJECT_BUCKET)
        write_json(request, 200, await self._explaining.explain(bucket, key))

    def _ready(self, request: DoorRequest) -> None:
        ready, why = self._oversight.ready()
        if not ready:
            request.setHeader(b"retry-after", b"1")
        write_json(request, 200 if ready else 503, {"ready": ready, "reason": why})

    async def _ring(self, request: DoorRequest) -> None:
        query = parse_qs(request.uri.partition(b"?")[2].decode("latin-1"))
        key = query.get("key", [""])[-1]
        if not key:
            write_json(request, 200, self._oversight.ring())
            return
        if len(key.encode("utf-8", "surrogatepass")) > _LONGEST_KEY_BYTES:
            raise BadRequest(f"a key is {_LONGEST_KEY_BYTES} bytes at most", "KeyTooLongError")
        bucket = query.get("bucket", [OBJECT_BUCKET])[-1]
        write_json(request, 200, await self._oversight.placement(bucket, key))

    def _render_metrics(self, request: DoorRequest) -> None:
        data = self._metrics.render()
        request.setHeader(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
        request.setHeader(b"content-length", b"%d" % len(data))
        request.write(data)


def _page(request: IRequest, write: Callable[[DoorRequest], None]) -> Deferred[None]:
    ours = cast(DoorRequest, request)

    async def page() -> None:
        write(ours)

    return answer(ours, page())
