"""A node by the express lane: own connections, parsed by llhttp."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from aosd.model.objects import ObjectHead, Span
from aosd.nodes.exchange import Exchange
from aosd.nodes.express.answer import Answer
from aosd.nodes.express.exchange import ExpressExchange
from aosd.nodes.express.pool import ConnectionPool
from aosd.nodes.express.reading import AnswerReading
from aosd.nodes.heads import head_of
from aosd.nodes.response import Response
from aosd.nodes.s3 import S3Node
from aosd.nodes.wiring import Wiring
from aosd.ports import IReading


class ExpressNode(S3Node):
    """See S3Node, which it is in all but its client. Probes go the standard way."""

    def _lane(self, wiring: Wiring) -> tuple[Exchange, Callable[[], Deferred[None]]]:
        pool = ConnectionPool(
            wiring.reactor,
            wiring.address.url,
            connect_timeout_s=wiring.connect_timeout_s,
            connections=wiring.connections,
            confirm=wiring.health.confirm,
            spliced=wiring.metrics.spliced_bytes.labels(wiring.name).inc,
        )
        self._express = ExpressExchange(wiring, pool)
        return self._express, pool.close

    def _object_head(self, response: Response, size_bytes: int) -> ObjectHead:
        if isinstance(response, Answer):
            return head_of(self.name, response.headers.by_name, size_bytes)
        return super()._object_head(response, size_bytes)

    def _reading(self, response: Response, head: ObjectHead, span: Span) -> IReading:
        if isinstance(response, Answer):
            return AnswerReading(
                response, head, span, self._express.relay, self._express.splice_relay
            )
        return super()._reading(response, head, span)

    def _drop(self, response: Response) -> None:
        if not (isinstance(response, Answer) and response.over):
            super()._drop(response)
