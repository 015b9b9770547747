"""What the tests of the plain door and the operations door share: requests as bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from aosd.doors.express.factory import ExpressSite
from aosd.doors.express.routes import Routes
from aosd.doors.load import Load
from aosd.doors.operations.acts import Acts
from aosd.doors.operations.doctor import Doctor
from aosd.doors.operations.door import OperationsDoor
from aosd.doors.operations.explaining import Explaining
from aosd.doors.operations.report import Oversight
from aosd.doors.operations.token import OperatorToken
from aosd.doors.plain import PlainDoor
from aosd.doors.root import Doors
from aosd.doors.site import HeadFirstSite
from aosd.model.check import Check
from aosd.model.errors import AosdError
from aosd.model.standing import Membership, Place, Queued, Standing
from aosd.observe.access import AccessLog
from tests.unit.cluster_case import ClusterTestCase, Gateway

TOKEN = "an operator's own one".replace(" ", "-")


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Answer:
    """A parsed answer."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = dict(line.split(b": ", 1) for line in lines[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asked:
    """Takes all that an operator may ask for, and remembers it; `error` is raised by all."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: AosdError | None = None
        self.waits: Deferred[None] = succeed(None)
        self.queued: Queued | None = None

    async def _done(self, *call: Any) -> Standing:
        self.calls.append(call)
        waits = self.waits
        await waits
        if self.error is not None:
            raise self.error
        self.calls.append(("done",))
        return Standing("n1", Membership.DRAINING, Place(1.0, "n1"), queued=self.queued)

    @property
    def changing(self) -> bool:
        return False

    def phase(self) -> str:
        return ""

    def waiting_for(self) -> str:
        return ""

    def standing(self, name: str) -> Standing | None:
        return None

    def queue(self) -> list[tuple[str, Queued]]:
        return []

    async def drain(self, name: str) -> Standing:
        return await self._done("drain", name)

    async def undrain(self, name: str) -> Standing:
        return await self._done("undrain", name)

    async def weigh(self, name: str, weight: float) -> Standing:
        return await self._done("weigh", name, weight)

    async def rezone(self, name: str, zone: str) -> Standing:
        return await self._done("rezone", name, zone)

    async def undo(self, name: str) -> Standing:
        return await self._done("undo", name)

    async def remove(self, name: str, *, lose: bool = False) -> Standing:
        return await self._done("remove", name, lose)

    async def adopt(self, name: str) -> Standing:
        return await self._done("adopt", name)

    async def __call__(self, act: str, name: str, **more: Any) -> Asked:
        await self._done("forecast", act, name, more)
        return self

    async def of_sweep(self) -> Asked:
        await self._done("forecast", "sweep")
        return self

    def told(self) -> dict[str, Any]:
        return {"told": 7}

    async def pause(self) -> None:
        await self._done("pause")

    def check_pause(self) -> None:
        if self.error is not None:
            raise self.error

    def report(self) -> dict[str, Any]:
        return {"sweep": {"running": True, "keys": 3}, "last_sweep": None, "paused": False}

    def undoing(self) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return {"leaving": None, "weight": None, "refusal": "it isn't left"}

    async def resume(self) -> None:
        await self._done("resume")

    def start_sweep(self) -> None:
        self.calls.append(("start_sweep",))

    async def plan(self, gather: str | None) -> Asked:
        await self._done("plan", gather)
        return self

    async def leave(self, gather: str | None) -> None:
        await self._done("leave", gather)

    async def cancel(self) -> None:
        await self._done("cancel")


Examined = Callable[..., Deferred[tuple[Check, ...]]]


def operations_door(
    gateway: Gateway,
    oversight: Oversight,
    asked: Asked | None = None,
    examine: Examined = lambda *known: succeed(()),
    token: str | None = TOKEN,
) -> OperationsDoor:
    """An operations door of a gateway on nodes in memory."""
    assembly, asked = gateway.assembly, asked or Asked()

    return OperationsDoor(
        oversight,
        gateway.metrics,
        OperatorToken(token, lambda: assembly.keys.token),
        Acts(asked, asked, asked, asked, assembly.to_the_end, oversight.changes),
        Explaining(assembly),
        Doctor(assembly, examine, assembly.store.clock.seconds, sweep_interval_s=3600),
    )


class DoorTestCase(ClusterTestCase):
    """`express`: requests come by the express lane."""

    express = True

    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.begin(replay_bytes=100, part_bytes=1000, part_bytes_max=1000)
        self.metrics = self.gateway.metrics
        self.discovery = self.gateway.discovery
        self.oversight = Oversight(self.gateway.assembly, self.replicas)
        self.asked = Asked()
        self.examined: dict[str, tuple[Check, ...]] = {}
        self.on_examine: Callable[[Any], object] = lambda known: None
        self.examining: Deferred[None] | None = None
        plain = PlainDoor(self.gateway.store)
        self.doors = Doors(
            plain,
            self.make_operations(),
            None,
        )
        self.standard = HeadFirstSite(
            self.doors,
            clock=self.clock,
            observer=AccessLog(self.clock, self.metrics, written=True),
            make_request_id=lambda: "0123456789ABCDEF",
            door_of=self.doors.door_of,
            client_idle_timeout_s=25.0,
            load=Load(100, 100),
        )
        self.site: Any = self.standard
        if self.express:
            routes = Routes(self.doors, plain, None, None)
            self.site = ExpressSite(self.standard, routes, self.metrics)
        self.open: list[Any] = []

    def tearDown(self) -> None:
        for channel in self.open:
            channel.connectionLost(Failure(ConnectionLost()))
        super().tearDown()
        for node in self.nodes.values():
            self.assertEqual((node.open_readings, node.uploads), (0, {}))

    def make_operations(self) -> OperationsDoor:
        return operations_door(self.gateway, self.oversight, self.asked, self.examine)

    def examine(self, *known: Any) -> Deferred[tuple[Check, ...]]:
        self.on_examine(known)
        found = self.examined.get(known[0], ())
        if self.examining is None:
            return succeed(found)
        waiting: Deferred[tuple[Check, ...]] = Deferred()
        self.examining.addCallback(lambda _: waiting.callback(found))
        return waiting

    def nodes_up(self) -> None:
        self.gateway.see(*self.names)
        self.wait(10, lambda: self.gateway.ready)
        # The heartbeat and the first sweep are over.
        self.pass_s(1)

    def connect(self) -> tuple[Any, Transport]:
        channel = self.site.buildProtocol(None)
        transport = Transport()
        channel.makeConnection(transport)
        self.open.append(channel)
        return channel, transport

    def ask(self, target: str, verb: str = "GET", body: bytes | None = None, **more: str) -> Answer:
        channel, transport = self.connect()
        head = f"{verb} {target} HTTP/1.1\r\nHost: h\r\n"
        head += "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        channel.dataReceived(head.encode("latin-1") + b"\r\n" + (body or b""))
        return Answer(transport.value())
