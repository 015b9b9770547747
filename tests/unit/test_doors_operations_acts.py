"""What the operations door takes from operators: tokens, paths, parameters, acts."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from aosd.model.errors import ChangeRefused, NodeUnavailable, NoNodes, NoQuorum, NoSuchNode
from aosd.model.standing import Act, Queued
from tests.unit.door_case import TOKEN, Answer, DoorTestCase, operations_door

ACTS = ("drain", "undrain", "weight?to=2", "zone?to=r", "remove", "adopt", "undo")
POSTS = (
    *(f"/-/nodes/n1/{act}" for act in ACTS),
    "/-/repair/start",
    "/-/repair/pause",
    "/-/doctor",
    "/-/leave",
    "/-/leave/undo",
)
PAGES = ("health", "ready", "metrics", "nodes", "ring", "repair", "changes", "explain?key=a")


class ActsTestCase(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.nodes_up()

    def post(self, target: str, body: bytes | None = None, **more: str) -> Answer:
        return self.ask(target, "POST", body, **{"Authorization": f"Bearer {TOKEN}", **more})


class TokenTests(ActsTestCase):
    def test_nothing_is_done_without_it(self) -> None:
        for target in POSTS:
            for shown in (
                {},
                {"Authorization": ""},
                {"Authorization": "Bearer"},
                {"Authorization": "Bearer "},
                {"Authorization": f"Bearer {TOKEN}x"},
                {"Authorization": f"Bearer {TOKEN[:-1]}"},
                {"Authorization": f"Basic {TOKEN}"},
                {"Authorization": TOKEN},
                {"Authorization": "Bearer \xff\xfe"},
            ):
                answer = self.ask(target, "POST", **shown)
                self.assertEqual(answer.status, 401, (target, shown))
                self.assertEqual(answer.headers[b"www-authenticate"], b'Bearer realm="aosd"')
                self.assertEqual(answer.json["code"], "Unauthorized")
        self.assertEqual(self.asked.calls, [])

    def test_it_is_known_by_its_scheme_in_any_case(self) -> None:
        for scheme in ("Bearer", "bearer", "BEARER"):
            answer = self.ask("/-/nodes/n1/drain", "POST", Authorization=f"{scheme} {TOKEN}")
            self.assertEqual(answer.status, 202)

    def test_two_headers_show_none(self) -> None:
        channel, transport = self.connect()
        line = f"Authorization: Bearer {TOKEN}\r\n" * 2
        channel.dataReceived(f"POST /-/doctor HTTP/1.1\r\nHost: h\r\n{line}\r\n".encode())
        self.assertEqual(Answer(transport.value()).status, 401)

    def test_it_is_never_logged(self) -> None:
        events: list[Any] = []
        from twisted.logger import globalLogPublisher

        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self.ask("/-/doctor", "POST", Authorization="Bearer another-one-that-is-wrong")
        self.post("/-/nodes/n1/drain")
        refused = [each for each in events if each.get("status") == 401 and "why" in each]
        self.assertEqual(len(refused), 1)
        self.assertNotIn("another-one", repr(events))
        self.assertNotIn(TOKEN, repr(events))

    def test_what_only_tells_asks_nobody_for_it(self) -> None:
        self.ask("/object/a", "PUT", b"x")
        for page in PAGES:
            self.assertEqual(self.ask(f"/-/{page}").status, 200, page)


class ClusterTokenTests(DoorTestCase):
    """Where the settings have none, the one made for the cluster counts."""

    def make_operations(self) -> Any:
        return operations_door(self.gateway, self.oversight, self.asked, token=None)

    def test_it_is_not_known_before_the_cluster_is(self) -> None:
        answer = self.ask("/-/nodes/n1/drain", "POST", Authorization=f"Bearer {TOKEN}")
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.headers[b"retry-after"], b"1")
        self.nodes_up()
        made = self.gateway.assembly.keys.token
        for shown, status in ((TOKEN, 401), (made, 202), ("", 401)):
            answer = self.ask("/-/nodes/n1/drain", "POST", Authorization=f"Bearer {shown}")
            self.assertEqual(answer.status, status)
        self.assertNotIn(made.encode(), self.ask("/-/nodes").body)


class PathTests(ActsTestCase):
    def test_each_takes_its_own_verbs(self) -> None:
        for target in POSTS:
            for verb in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post", "X"):
                answer = self.ask(target, verb)
                self.assertEqual(answer.status, 405, (target, verb))
                self.assertEqual(answer.headers[b"allow"], b"POST")
        for page in PAGES:
            for verb in ("POST", "PUT", "DELETE", "OPTIONS", "get"):
                answer = self.ask(f"/-/{page}", verb)
                self.assertEqual(answer.status, 405, (page, verb))
                self.assertEqual(answer.headers[b"allow"], b"GET, HEAD")
        self.assertEqual(self.asked.calls, [])

    def test_what_is_at_no_path(self) -> None:
        for path in (
            "nodes/n1",
            "nodes/n1/",
            "nodes/n1/nope",
            "nodes/n1/drain/",
            "nodes//drain",
            "nodes/n1//drain",
            "nodes/n1%2Fx/drain",
            "nodes/../drain",
            "nodes/-n/drain",
            "nodes/%ff/drain",
            "nodes/n1/dr%61in",
            "nodes/" + "n" * 255 + "/drain",
            "repair/",
            "repair/stop",
            "doctor/",
            "leave/n1",
        ):
            for verb in ("GET", "POST"):
                self.assertEqual(self.ask(f"/-/{path}", verb).status, 404, path)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_names_of_nodes_as_they_may_be_written(self) -> None:
        for written, name in (("n1", "n1"), ("%6e1", "n1"), ("a.b_c-D", "a.b_c-D")):
            self.assertEqual(self.post(f"/-/nodes/{written}/drain").status, 202)
            self.assertIn(("drain", name), self.asked.calls)


class BodyTests(ActsTestCase):
    def test_none_is_taken(self) -> None:
        for target in POSTS:
            answer = self.post(target, b'{"to": 2}')
            self.assertEqual((answer.status, answer.json["code"]), (400, "InvalidRequest"), target)
            self.assertEqual(self.post(target, b"").status // 100, 2)

    def test_who_sends_one_without_its_length(self) -> None:
        channel, transport = self.connect()
        head = f"POST /-/doctor HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
        channel.dataReceived(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        self.assertEqual(Answer(transport.value()).status, 400)
        self.assertIn(b"connection: close", transport.value())
        # The rest of it is taken, so that the client gets to read the answer.
        channel.dataReceived(b"3\r\nabc\r\n0\r\n\r\n")
        self.assertEqual(transport.value().count(b"HTTP/1.1"), 1)
        self.assertTrue(transport.disconnecting)

    def test_who_asks_whether_it_may_send_one_is_refused_at_once(self) -> None:
        for token, status in ((TOKEN, 400), ("not-the-one-that-it-is", 401)):
            channel, transport = self.connect()
            channel.dataReceived(
                b"POST /-/doctor HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                b"Content-Length: 5\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n"
            )
            self.assertEqual(Answer(transport.value()).status, status)
            self.clock.advance(2)
            self.assertTrue(transport.aborted)

    def test_a_connection_goes_on_after_an_act(self) -> None:
        channel, transport = self.connect()
        head = (
            f"POST /-/nodes/n1/drain HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        )
        channel.dataReceived(head.encode() * 2)
        self.assertEqual(transport.value().count(b"HTTP/1.1 202"), 2)


class NodeActTests(ActsTestCase):
    def test_each_act(self) -> None:
        for target, call in (
            ("drain", ("drain", "n1")),
            ("undrain", ("undrain", "n1")),
            ("undo", ("undo", "n1")),
            ("adopt", ("adopt", "n1")),
            ("weight?to=0.5", ("weigh", "n1", 0.5)),
            ("weight?to=0", ("weigh", "n1", 0.0)),
            ("zone?to=rack%201", ("rezone", "n1", "rack 1")),
            ("remove", ("remove", "n1", False)),
            ("remove?lose=0", ("remove", "n1", False)),
            ("remove?lose=1", ("remove", "n1", True)),
            ("drain?dry_run=0", ("drain", "n1")),
        ):
            self.asked.calls.clear()
            answer = self.post(f"/-/nodes/n1/{target}")
            self.assertEqual(answer.status, 202, target)
            self.assertEqual(self.asked.calls, [call, ("done",)])
            told = answer.json
            self.assertEqual((told["node"], told["queued"]), ("n1", False))
            self.assertEqual(told["standing"]["state"], "draining")
            self.assertEqual(told["changes"], self.ask("/-/changes").json)

    def test_one_that_waits(self) -> None:
        self.asked.queued = Queued(Act.DRAIN, "018bcfe56800-0000-00000001")
        told = self.post("/-/nodes/n1/drain").json
        self.assertIs(told["queued"], True)
        self.assertEqual(told["standing"]["queued"]["act"], "drain")

    def test_parameters_that_can_not_be(self) -> None:
        for target in (
            "weight",
            "weight?to=",
            "weight?to=x",
            "weight?to=-1",
            "weight?to=nan",
            "weight?to=inf",
            "weight?to=1e3",
            "weight?to=1_0",
            "weight?to=%202",
            "weight?to=2&lose=1",
            "zone",
            "zone?to=",
            "zone?to=%ff",
            "remove?lose=yes",
            "remove?lose=",
            "drain?dry_run=true",
            "drain?dryrun=1",
            "drain?to=2",
        ):
            answer = self.post(f"/-/nodes/n1/{target}")
            self.assertEqual((answer.status, answer.json["code"]), (400, "InvalidArgument"), target)
        self.assertEqual(self.asked.calls, [])

    def test_what_is_refused(self) -> None:
        for error, status, code in (
            (NoSuchNode("no node n1 is known"), 404, "NoSuchNode"),
            (ChangeRefused("the last copy of b/k lies there"), 409, "ChangeRefused"),
            (NoQuorum("too few nodes"), 503, "ServiceUnavailable"),
            (NodeUnavailable("n1", "no connection"), 503, "ServiceUnavailable"),
        ):
            self.asked.error = error
            for target in ("/-/nodes/n1/remove", "/-/nodes/n1/drain?dry_run=1", "/-/leave"):
                answer = self.post(target)
                self.assertEqual((answer.status, answer.json["code"]), (status, code), target)
                self.assertIn(str(error), answer.json["error"])
                self.assertEqual(b"retry-after" in answer.headers, status == 503)

    def test_a_dry_run_changes_nothing(self) -> None:
        for target, call in (
            ("drain", ("forecast", "drain", "n1", {})),
            ("weight?to=2", ("forecast", "weight", "n1", {"weight": 2.0})),
            ("zone?to=r", ("forecast", "zone", "n1", {"zone": "r"})),
            ("remove?lose=1", ("forecast", "remove", "n1", {"lose": True})),
            ("adopt", ("forecast", "adopt", "n1", {})),
            ("undo", ("forecast", "undo", "n1", {})),
        ):
            self.asked.calls.clear()
            both = "&" if "?" in target else "?"
            answer = self.post(f"/-/nodes/n1/{target}{both}dry_run=1")
            self.assertEqual((answer.status, answer.json), (200, {"told": 7}), target)
            self.assertEqual(self.asked.calls, [call, ("done",)])

    def test_an_act_goes_on_when_its_client_leaves(self) -> None:
        gate = self.asked.waits = Deferred()
        self.leave_after("/-/nodes/n1/drain")
        self.assertNotIn(("done",), self.asked.calls)
        gate.callback(None)
        self.assertIn(("done",), self.asked.calls)

    def test_a_dry_run_ends_with_its_client(self) -> None:
        cancelled: list[Any] = []
        self.asked.waits = Deferred(cancelled.append)
        self.leave_after("/-/nodes/n1/drain?dry_run=1")
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_one_that_takes_long_is_answered(self) -> None:
        gate = self.asked.waits = Deferred()
        channel, transport = self.connect()
        channel.dataReceived(self.head("/-/nodes/n1/drain?dry_run=1"))
        self.pass_s(600)
        self.assertFalse(transport.disconnecting or transport.aborted)
        gate.callback(None)
        self.assertEqual(Answer(transport.value()).json, {"told": 7})

    def head(self, target: str) -> bytes:
        token = f"Authorization: Bearer {TOKEN}"
        return f"POST {target} HTTP/1.1\r\nHost: h\r\n{token}\r\n\r\n".encode()

    def leave_after(self, target: str) -> None:
        """Ask, and go away without an answer."""
        channel, _ = self.connect()
        channel.dataReceived(self.head(target))
        channel.connectionLost(Failure(ConnectionLost()))
        self.open.remove(channel)


class OtherActTests(ActsTestCase):
    def test_repair(self) -> None:
        started = self.post("/-/repair/start")
        self.assertEqual((started.status, started.json), (200, self.ask("/-/repair").json))
        self.assertEqual(self.asked.calls, [("resume",), ("done",), ("start_sweep",)])
        self.asked.calls.clear()
        paused = self.post("/-/repair/pause")
        self.assertEqual((paused.status, paused.json), (200, self.ask("/-/repair").json))
        self.assertEqual(self.asked.calls, [("pause",), ("done",)])
        self.assertEqual(self.post("/-/repair/pause?for=1").status, 400)

    def test_what_a_sweep_would_find(self) -> None:
        told = self.post("/-/repair/start?dry_run=1")
        self.assertEqual((told.status, told.json), (200, {"told": 7}))
        self.assertEqual(self.asked.calls, [("forecast", "sweep"), ("done",)])
        self.asked.calls.clear()
        for query in ("dry_run=yes", "for=1"):
            self.assertEqual(self.post(f"/-/repair/start?{query}").status, 400)
        self.assertEqual(self.asked.calls, [])
        self.assertEqual(self.post("/-/repair/start?dry_run=0").json, self.ask("/-/repair").json)
        self.asked.error = NoNodes("no nodes yet")
        self.assertEqual(self.post("/-/repair/start?dry_run=1").status, 503)

    def test_what_a_pause_would_hold_back(self) -> None:
        told = self.post("/-/repair/pause?dry_run=1")
        sweep = {"running": True, "keys": 3}
        expected = {"sweep": sweep, "changes": self.ask("/-/changes").json}
        self.assertEqual((told.status, told.json), (200, expected))
        self.asked.error = NoQuorum("too few nodes")
        self.assertEqual(self.post("/-/repair/pause?dry_run=1").status, 503)
        self.assertEqual(self.post("/-/repair/pause?dry_run=2").status, 400)
        self.assertEqual(self.asked.calls, [])

    def test_what_would_be_taken_back(self) -> None:
        told = self.post("/-/leave/undo?dry_run=1")
        expected = {"leaving": None, "weight": None, "refusal": "it isn't left"}
        self.assertEqual((told.status, told.json), (200, expected))
        self.asked.error = NoQuorum("too few nodes")
        self.assertEqual(self.post("/-/leave/undo?dry_run=1").status, 503)
        self.assertEqual(self.post("/-/leave/undo?gather=n1").status, 400)
        self.assertEqual(self.asked.calls, [])

    def test_leaving(self) -> None:
        answer = self.post("/-/leave?gather=n2")
        self.assertEqual(answer.status, 202)
        self.assertEqual(set(answer.json), {"leaving", "changes"})
        self.assertEqual(self.asked.calls, [("leave", "n2"), ("done",)])
        self.asked.calls.clear()
        self.assertEqual(self.post("/-/leave").status, 202)
        self.assertEqual(self.asked.calls, [("leave", None), ("done",)])
        self.asked.calls.clear()
        plan = self.post("/-/leave?dry_run=1")
        self.assertEqual((plan.status, self.asked.calls[0]), (200, ("plan", None)))
        self.assertEqual(self.post("/-/leave?gather=").status, 400)
        self.asked.calls.clear()
        self.assertEqual(self.post("/-/leave/undo").status, 202)
        self.assertEqual(self.asked.calls, [("cancel",), ("done",)])
