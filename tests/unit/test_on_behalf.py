"""On whose behalf nodes are asked: known of all that a request begins, and of the daemon's own."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from aosd.on_behalf import client, serve_client
from aosd.testing.faults import NO_FAULT, Fault
from aosd.testing.memory_node import MemoryNode
from tests.unit.door_case import DoorTestCase
from tests.unit.s3_case import S3TestCase


def whose(nodes: dict[str, MemoryNode], ask: Callable[[], object]) -> set[bool]:
    """Whether it was for a client that nodes were asked while this ran."""
    seen: set[bool] = set()

    def weather(method: str) -> Fault:
        seen.add(client() is not None)
        return NO_FAULT

    for node in nodes.values():
        node.weather = weather
    ask()
    return seen


class ContextTests(SynchronousTestCase):
    def test_each_client_is_another_and_all_that_it_begins_is_its(self) -> None:
        gates: list[Deferred[None]] = []
        seen: list[list[object]] = []

        async def part(clients: list[object]) -> None:
            clients.append(client())
            await gates[-1]
            clients.append(client())

        async def serve() -> None:
            clients: list[object] = []
            seen.append(clients)
            serve_client()
            for _ in range(2):
                gates.append(Deferred())
                await Deferred.fromCoroutine(part(clients))
            await succeed(None)
            clients.append(client())

        serving = [Deferred.fromCoroutine(serve()) for _ in range(2)]
        self.assertIsNone(client())
        while gates:
            gates.pop(0).callback(None)
        for each in serving:
            self.successResultOf(each)
        one, other = seen
        self.assertEqual([len(one), len(set(one))], [5, 1])
        self.assertEqual([len(other), len(set(other))], [5, 1])
        self.assertNotIn(None, one)
        self.assertNotEqual(one[0], other[0])
        self.assertIsNone(client())


class PlainTests(DoorTestCase):
    def test_objects_are_asked_for_by_clients(self) -> None:
        self.nodes_up()
        for verb, target, data in (
            ("PUT", "/object/a", b"x"),
            ("GET", "/object/a", b""),
            ("HEAD", "/object/a", b""),
            ("GET", "/object", b""),
            ("DELETE", "/object/a", b""),
        ):

            def ask(verb: str = verb, target: str = target, data: bytes = data) -> None:
                self.assertLess(self.ask(target, verb, data).status, 300)

            self.assertEqual(whose(self.nodes, ask), {True}, (verb, target))

    def test_what_operators_and_the_daemon_ask_for_is_no_clients(self) -> None:
        self.nodes_up()

        def ask() -> None:
            self.assertEqual(self.ask("/-/ring?key=a&bucket=object").status, 200)

        self.assertEqual(whose(self.nodes, ask), {False})
        self.assertEqual(whose(self.nodes, lambda: self.pass_s(60)), {False})


class StandardPlainTests(PlainTests):
    express = False


class S3Tests(S3TestCase):
    def test_objects_are_asked_for_by_clients(self) -> None:
        where = {"Bucket": "object", "Key": "a"}
        for ask in (
            lambda: self.s3.put_object(Body=b"x", **where),
            lambda: self.s3.get_object(**where),
            lambda: self.s3.list_objects_v2(Bucket="object"),
            lambda: self.s3.create_multipart_upload(**where),
            lambda: self.s3.delete_object(**where),
            lambda: self.s3.create_bucket(Bucket="another"),
        ):
            self.assertEqual(whose(self.nodes, ask), {True})


class StandardS3Tests(S3Tests):
    express = False
