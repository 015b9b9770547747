"""Asking the engine, and following its events; the client is a scripted one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import requests
import urllib3
from docker.errors import APIError, DockerException, NotFound
from twisted.trial.unittest import SynchronousTestCase

from aosd.discovery.docker import Engine, EngineEvents
from aosd.discovery.rounds import RoundFailed


def container(name: str, **state: Any) -> dict[str, Any]:
    return {
        "Id": name * 8,
        "Name": f"/{name}",
        "State": {"Running": True, **state},
        "Config": {
            "Labels": {"aosd.node": ""},
            "Env": ["MINIO_ROOT_USER=ring", "MINIO_ROOT_PASSWORD=potato"],
        },
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}},
    }


class Client:
    """What the low-level client answers; an exception is raised."""

    def __init__(self, *containers: dict[str, Any]) -> None:
        self.containers_ = {each["Id"]: each for each in containers}
        self.answers: dict[str, Any] = {}
        self.failure: Exception | None = None
        self.closed = False

    def containers(self, all: bool) -> list[dict[str, Any]]:  # noqa: A002 - as docker has it
        assert all
        if self.failure is not None:
            raise self.failure
        return [
            {"Id": key, "Names": [each["Name"]], "Labels": each["Config"]["Labels"]}
            for key, each in self.containers_.items()
        ]

    def inspect_container(self, key: str) -> Any:
        answer = self.answers.get(key, self.containers_.get(key))
        if answer is None:
            raise NotFound("no such container")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


class EngineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clients = [Client(container("n1"), container("n2"), container("n3"))]
        self.connected = 0
        self.engine = Engine(self.connect)

    def connect(self) -> Any:
        self.connected += 1
        return self.clients[-1]

    def seen(self) -> dict[str, str | None]:
        return {each.name: each.problem for each in self.engine.look()}

    def test_all_nodes_on_one_connection(self) -> None:
        for _ in range(2):
            self.assertEqual(self.seen(), {"n1": None, "n2": None, "n3": None})
        self.assertEqual(self.connected, 1)

    def test_only_nodes_are_inspected(self) -> None:
        client = self.clients[0]
        client.containers_["n2" * 8]["Config"]["Labels"] = {}
        client.answers["n2" * 8] = AssertionError("inspected")
        self.assertEqual(list(self.seen()), ["n1", "n3"])

    def test_one_bad_container_spoils_nothing_but_itself(self) -> None:
        self.clients[0].answers["n2" * 8] = APIError("500", explanation="layer is gone")
        seen = self.seen()
        self.assertEqual((seen["n1"], seen["n3"]), (None, None))
        self.assertIn("layer is gone", seen["n2"] or "")

    def test_one_that_went_meanwhile_isnt_seen(self) -> None:
        self.clients[0].answers["n2" * 8] = NotFound("no such container")
        self.assertEqual(list(self.seen()), ["n1", "n3"])

    def test_two_running_ones_of_one_name_are_both_reported(self) -> None:
        for key in ("n1", "n2"):
            self.clients[0].containers_[key * 8]["Config"]["Labels"]["aosd.name"] = "same"
        self.assertEqual([each.name for each in self.engine.look()], ["same", "same", "n3"])

    def test_failures_in_one_line_and_a_new_connection_afterwards(self) -> None:
        self.seen()
        broken = requests.ConnectionError(
            urllib3.exceptions.ProtocolError("aborted", FileNotFoundError(2, "No such file"))
        )
        for failure, words in (
            (broken, "No such file"),
            (requests.ReadTimeout("timed out"), "timed out"),
            (DockerException("odd\nlines"), "odd"),
            (APIError("500", explanation="busy\nvery"), "busy"),
            (ConnectionResetError(104, "reset"), "reset"),
        ):
            self.clients[-1].failure = failure
            said = str(self.assertRaises(RoundFailed, self.engine.look))
            self.assertIn(words, said)
            self.assertNotIn("\n", said)
            self.assertTrue(self.clients[-1].closed)
            self.clients.append(Client(container("n4")))
            self.assertEqual(list(self.seen()), ["n4"])
        self.assertEqual(self.connected, 6)

    def test_an_engine_that_fails_at_our_own_container_is_no_news(self) -> None:
        # Taken for "not in a container", it would move all addresses for a round.
        class Refusing(Client):
            def inspect_container(self, key: str) -> Any:
                raise requests.ConnectionError("gone")

        self.clients.append(Refusing(container("n1")))
        self.assertRaises(RoundFailed, self.engine.look)


class Stream:
    """An event stream: yields events, raises exceptions, and ends."""

    def __init__(self, *script: Any) -> None:
        self._script = script
        self.closed = False

    def __iter__(self) -> Iterator[Any]:
        for step in self._script:
            if isinstance(step, Exception):
                raise step
            if callable(step):
                step()
            else:
                yield step

    def close(self) -> None:
        self.closed = True


def event(name: str) -> dict[str, Any]:
    return {"Type": "container", "Actor": {"Attributes": {"name": name}}}


NODE = event("amazin-object-storage-node-1")
OTHER = event("other")


class EngineEventsTests(SynchronousTestCase):
    """`follow` blocks: each script ends with closing it, or it would never return."""

    def follow(self, *script: Any) -> tuple[int, list[Stream], int]:
        """How often it said that something happened, the streams, and the connections."""
        steps = list(script)
        streams: list[Stream] = []
        connected = 0
        happened: list[None] = []

        class Listening:
            def events(self, decode: bool, filters: Any) -> Stream:
                assert decode
                assert filters["type"] == ["container", "network"]
                if not steps:
                    events.close()
                    return Stream()
                step = steps.pop(0)
                if isinstance(step, Exception):
                    raise step
                streams.append(Stream(*step))
                return streams[-1]

            def close(self) -> None:
                pass

        def connect() -> Any:
            nonlocal connected
            connected += 1
            return Listening()

        events = EngineEvents(connect, first_backoff_s=0.0)
        events.follow(lambda: happened.append(None))
        return len(happened), streams, connected

    def test_events_of_nodes_are_told_and_so_are_the_streams_begin_and_end(self) -> None:
        told, (stream,), _ = self.follow([NODE, OTHER, NODE])
        # begin, two events, end; and the end of the one that closed it
        self.assertEqual(told, 5)
        self.assertTrue(stream.closed)

    def test_a_quiet_stream_is_asked_for_again_on_the_same_connection(self) -> None:
        quiet: Callable[[], Exception] = lambda: urllib3.exceptions.ReadTimeoutError(  # noqa: E731
            None,  # type: ignore[arg-type]
            "/events",
            "Read timed out.",
        )
        _, streams, connected = self.follow([quiet()], [quiet()], [NODE])
        self.assertEqual((len(streams), connected), (3, 2))

    def test_an_engine_that_is_gone_is_asked_again(self) -> None:
        told, streams, connected = self.follow(
            requests.ConnectionError("gone"), DockerException("gone"), OSError("gone"), [NODE]
        )
        self.assertEqual((len(streams), connected), (1, 5))
        # Each failure (the round before may have been the last good one), and as above.
        self.assertEqual(told, 3 + 4)

    def test_whatever_goes_wrong_it_goes_on(self) -> None:
        _, streams, _ = self.follow([ZeroDivisionError()], [NODE])
        self.assertEqual(len(streams), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_closed_before_it_began(self) -> None:
        events = EngineEvents(lambda: self.fail("connected"))
        events.close()
        events.follow(lambda: self.fail("happened"))

    def test_closing_ends_the_stream_that_is_read(self) -> None:
        streams: list[Stream] = []

        class Listening:
            def events(self, decode: bool, filters: Any) -> Stream:
                streams.append(Stream(NODE, close))
                return streams[-1]

            def close(self) -> None:
                pass

        def close() -> None:
            events.close()
            self.assertTrue(streams[0].closed)

        events = EngineEvents(Listening, first_backoff_s=3600.0)
        events.follow(lambda: None)
        self.assertEqual(len(streams), 1)
