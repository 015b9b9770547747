"""What is behind a lane: all doors over a store in memory, or a recorder of what was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from aosd.consistency.to_the_end import ToTheEnd
from aosd.doors.express.routes import Routes
from aosd.doors.operations.acts import Acts
from aosd.doors.operations.door import OperationsDoor
from aosd.doors.operations.token import OperatorToken
from aosd.doors.plain import PlainDoor
from aosd.doors.root import Doors
from aosd.doors.s3.door import S3Door
from aosd.doors.s3.identities import Identities
from aosd.model.node import Credentials
from aosd.model.objects import OBJECT_BUCKET, STAMP_HEADER, SYSTEM_BUCKET
from aosd.testing.memory_node import MemoryNode
from aosd.testing.stores import MemoryPlacement, make_store
from tests.fuzz.signing import ACCESS_KEY, SECRET_KEY
from tests.unit import test_doors_express as express
from tests.unit.door_case import Asked
from tests.unit.test_doors_site import Root, Sink, answer

DOMAIN = "s3.example.org"
TOKEN = "token"


class Recorder:
    """Takes whatever is asked, and answers with the path when the body is over.

    What begins with /handed isn't of the express lane.
    """

    def __init__(self, clock: Clock) -> None:
        self.resource: Any = Root(self._take)
        self.routes: Any = express.Routes(self._take)
        self.door_of: Callable[[Any], str] = lambda request: "plain"
        self._requests: list[tuple[Any, Sink]] = []
        self._answered = 0

    def _take(self, request: Any) -> None:
        sink = Sink()
        self._requests.append((request, sink))
        request.body.start(sink)

    def settle(self) -> None:
        """Answer those whose bodies are over."""
        while self._answered < len(self._requests):
            request, sink = self._requests[self._answered]
            if not (sink.ended or sink.failure):
                break
            self._answered += 1
            request.setResponseCode(200 if sink.ended else 400)
            answer(request, request.path)

    def seen(self) -> list[Any]:
        """Verb, target, body, whether that is whole, whether it failed, headers: of each."""
        return [
            (
                *(request.method, request.uri, sink.data, sink.ended, sink.failure is not None),
                sorted((n.lower(), list(v)) for n, v in request.requestHeaders.getAllRawHeaders()),
            )
            for request, sink in self._requests
        ]

    def check(self) -> None:
        """Nothing can be left behind."""


class Overseen:
    """Tells the operations door the same of everything."""

    def ready(self) -> tuple[bool, str]:
        return True, ""

    def nodes(self) -> dict[str, Any]:
        return {"nodes": [{"name": "n1"}]}

    ring = repair = changes = nodes

    async def placement(self, bucket: str, key: str) -> dict[str, Any]:
        return {"bucket": bucket, "key": key}

    explain = placement

    async def findings(self) -> dict[str, Any]:
        return {"findings": []}

    def render(self) -> bytes:
        return b"aosd_requests_total 1\n"


class StoreInMemory:
    """The plain door and the S3 door over a store on one node in memory, and the operations door.

    What an operator asks for there is only remembered.
    """

    def __init__(self, clock: Clock) -> None:
        self._node = MemoryNode("n1", now=clock.seconds)
        self._store = make_store(MemoryPlacement([self._node]), clock, replicas=1)
        self._clock = clock
        plain = PlainDoor(self._store)
        identities = Identities(lambda: Credentials(ACCESS_KEY, SECRET_KEY), [])
        self._asked, overseen = Asked(), Overseen()
        asked: Any = self._asked
        told: Any = overseen
        operations = OperationsDoor(
            *(told, told, OperatorToken(TOKEN, lambda: TOKEN)),
            *(Acts(asked, asked, asked, asked, ToTheEnd(), overseen.changes), told, told),
        )
        s3 = S3Door(self._store, identities, DOMAIN, clock.seconds)
        self.resource = Doors(plain, operations, s3, DOMAIN)
        self.routes = Routes(self.resource, plain, s3, DOMAIN)
        self.door_of = self.resource.door_of
        self._node.disk.put(OBJECT_BUCKET, "a", b"0123456789", ())

    def settle(self) -> None:
        """It answers by itself."""

    def seen(self) -> list[Any]:
        """Buckets, objects, how many uploads are open of each key, and what an operator wanted.

        Without stamps: a lane may begin a request later.
        """
        uploads = Counter((each.bucket, each.key) for each in self._node.uploads.values())
        objects = [
            (
                bucket,
                key,
                copy.data,
                sorted(each for each in copy.headers if each[0] != STAMP_HEADER),
            )
            for bucket, keys in sorted(self._node.buckets.items())
            for key, copy in sorted(keys.items())
            if bucket != SYSTEM_BUCKET
        ]
        buckets = sorted(self._node.buckets)
        return [buckets, objects, sorted(uploads.items()), self._asked.calls]

    def check(self) -> None:
        """Fail when something is left behind."""
        assert self._node.open_readings == 0
        assert self._store.budget.used_bytes == 0
        assert len(self._store.turns) == 0
