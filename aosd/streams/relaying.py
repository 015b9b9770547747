"""How one node's answer on its way to a client ends, whichever way its bytes take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer, IReactorTime
from twisted.python.failure import Failure

from aosd.model.errors import ClientGone
from aosd.streams.deadlines import IdleTimer


class Relaying(ABC):
    """Brings a node's bytes to `consumer`, whose producer it is meanwhile.

    `done` fires when the consumer has all; it errbacks with ClientGone when it wants no more
    or takes nothing for `stall_timeout_s` while `_stall` runs, and with what `broken` makes of
    what is wrong with the node and whether it fell silent. Cancelling drops the node's
    connection. `heard` is called whenever bytes come.
    """

    def __init__(
        self,
        consumer: IConsumer,
        clock: IReactorTime,
        stall_timeout_s: float,
        broken: Callable[[str, bool], Exception],
        heard: Callable[[], None],
    ) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self._give_up())
        self._consumer = consumer
        self._broken = broken
        self._heard = heard
        self._stall = IdleTimer(clock, stall_timeout_s, self._client_is_stuck)
        self._registered = False
        self._settled = False

    def stopProducing(self) -> None:
        """See IProducer. The client is gone: the node's connection is released at once."""
        self._fail(ClientGone("the client went away before the end of the body"))

    def _register(self, producer: IPushProducer) -> None:
        self._registered = True
        self._consumer.registerProducer(producer, True)

    def _client_is_stuck(self) -> None:
        self._fail(ClientGone("the client takes no more bytes"))

    def _node_broke(self, why: str, silent: bool = False) -> None:
        self._fail(self._broken(why, silent))

    def _fail(self, error: Exception) -> None:
        if not self._settled:
            self._give_up()
            self.done.errback(Failure(error))

    def _give_up(self) -> None:
        self._settle()
        self._drop()

    def _settle(self) -> None:
        """Release timers and the consumer."""
        self._settled = True
        self._stall.stop()
        if self._registered:
            self._registered = False
            self._consumer.unregisterProducer()

    @abstractmethod
    def _drop(self) -> None:
        """Drop the node's connection, with what it was to bring."""
