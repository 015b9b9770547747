"""Where aosctl finds the daemon and its token, and what becomes of answers."""

from __future__ import annotations

import io
import json
import os
from typing import Any, cast

import urllib3
from pydantic import SecretStr
from twisted.trial.unittest import SynchronousTestCase
from urllib3.exceptions import NewConnectionError, ProtocolError, ReadTimeoutError

from aosd.aosctl import keys
from aosd.aosctl.call import Call, Failed, NotReady, TokenUnknown, Unreachable
from aosd.aosctl.connection import Connection
from aosd.aosctl.finding import find_daemon, find_token, url_listened, url_said
from aosd.aosctl.words import brief, many, number, size, time
from aosd.consistency.registers import Register
from aosd.model.errors import ConfigurationError, NoNodes
from aosd.settings import Settings
from aosd.settings_sources import load_settings

TOLD = keys.Told("c", Register("keys", "cluster", "1", {"token": "the-clusters-own"}))


class UrlTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {})

    def test_as_operators_write_it(self) -> None:
        for words, url in (
            ("host:3000", "http://host:3000"),
            ("https://host/", "https://host"),
            ("http://host:3000/-/", "http://host:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://host/prefix", "http://host/prefix"),
        ):
            self.assertEqual(url_said(words), url)

    def test_what_is_none(self) -> None:
        for words in ("ftp://h", "http://", "http://h:x", "http://u:p@h", "http://h/?q", "//", ""):
            error = self.assertRaises(ConfigurationError, url_said, words)
            self.assertIn("AOSD_URL has to be one", str(error))

    def test_where_a_daemon_listens(self) -> None:
        for endpoints, url in (
            (["tcp:3000"], "http://127.0.0.1:3000"),
            (["tcp:port=81:interface=0.0.0.0"], "http://127.0.0.1:81"),
            (["tcp:81:interface=10.0.0.1:backlog=9"], "http://10.0.0.1:81"),
            (["tcp6:81"], "http://[::1]:81"),
            (["tcp6:81:interface=\\:\\:"], "http://[::1]:81"),
            (["tcp:81:interface=fd00\\:\\:7"], "http://[fd00::7]:81"),
            (["unix:/run/aosd", "ssl:443:privateKey=a"], "https://127.0.0.1:443"),
        ):
            settings = Settings.model_construct(http=tuple(endpoints), operations=None)
            self.assertEqual(url_listened(settings), url)

    def test_where_nobody_reaches_it(self) -> None:
        settings = Settings(http=("unix:/run/aosd",))
        error = self.assertRaises(ConfigurationError, url_listened, settings)
        self.assertIn("unix:/run/aosd, which can't be asked", str(error))

    def test_the_operations_door_of_its_own(self) -> None:
        self.assertEqual(url_listened(Settings(operations="tcp:9")), "http://127.0.0.1:9")

    def test_said_or_found(self) -> None:
        self.assertEqual(find_daemon(Call()).url, "http://127.0.0.1:3000")
        flagged = Call(flags={"http": ["tcp:81"]})
        self.assertEqual(find_daemon(flagged).url, "http://127.0.0.1:81")
        os.environ["AOSD_OPERATIONS"] = "tcp:82"
        self.assertEqual(find_daemon(flagged).url, "http://127.0.0.1:82")
        os.environ["AOSD_URL"] = "there:83"
        self.assertEqual(find_daemon(flagged).url, "http://there:83")
        self.assertEqual(find_daemon(Call(url="elsewhere:84")).url, "http://elsewhere:84")

    def test_the_daemon_knows_the_variable(self) -> None:
        self.assertEqual(load_settings({}, {"AOSD_URL": "x"}).unknown_environment, ())


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {})
        self.answers: Any = [TOLD]
        self.asked = 0
        self.patch(keys, "ask_keys", self.ask_keys)

    def ask_keys(self, settings: Settings) -> Any:
        self.asked += 1
        if isinstance(self.answers, Exception):
            raise self.answers
        return self.answers

    def token(self, call: Call | None = None, url: str = "http://127.0.0.1:3000") -> str:
        return find_token(call or Call(), url, at_hand="127" in url)

    def test_said(self) -> None:
        os.environ["AOSD_OPERATOR_TOKEN"] = "of-the-environment"
        self.assertEqual(self.token(), "of-the-environment")
        self.assertEqual(self.token(Call(token="said")), "said")
        self.assertEqual(self.asked, 0)

    def test_what_can_be_none(self) -> None:
        for token in ("naïve", "two words", "with a line\nbreak", "\udcff"):
            error = self.assertRaises(ConfigurationError, self.token, Call(token=token))
            self.assertIn("--token or AOSD_OPERATOR_TOKEN", str(error))

    def test_of_the_settings(self) -> None:
        flags = {"operator_token": SecretStr("of-the-settings-16")}
        self.assertEqual(self.token(Call(flags=flags)), "of-the-settings-16")
        self.assertEqual(self.asked, 0)

    def test_of_the_nodes(self) -> None:
        self.assertEqual(self.token(), "the-clusters-own")

    def test_it_isnt_taken_elsewhere(self) -> None:
        # Whatever the nodes of this host are, nobody said that they are those of the other.
        error = self.assertRaises(TokenUnknown, self.token, url="http://there:3000")
        self.assertIn("--token or AOSD_OPERATOR_TOKEN gives it", str(error))
        self.assertEqual(self.asked, 0)
        named = Call(flags={"nodes": ["dns:minio"]})
        self.assertEqual(self.token(named, "http://there:3000"), "the-clusters-own")

    def test_nodes_that_dont_answer(self) -> None:
        self.answers = NoNodes("no node was found")
        error = self.assertRaises(TokenUnknown, self.token)
        self.assertIn("(no node was found): --token", str(error))
        self.answers = ConfigurationError("no such provider")
        self.assertRaises(ConfigurationError, self.token)


ALIVE = {"status": "alive"}


class Pool:
    """A PoolManager that answers what it is told."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    def request(self, verb: str, url: str, *, headers: dict[str, str], **_: Any) -> Any:
        self.asked.append((verb, url, headers))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, data = answer
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        return urllib3.HTTPResponse(io.BytesIO(body), status=status, preload_content=False)


class ConnectionTests(SynchronousTestCase):
    def connection(self, *answers: Any) -> Connection:
        self.pool = Pool(*answers)
        self.tokens = 0

        def token() -> str:
            self.tokens += 1
            return "secret"

        return Connection("http://h:1", token, cast(urllib3.PoolManager, self.pool))

    def test_get(self) -> None:
        told = {"verdict": "It lies right.", "order": [], "a": 1}
        answered = self.connection((200, told)).get("explain", {"bucket": "b", "key": "a/é &"})
        self.assertEqual(answered, told)
        [(verb, url, headers)] = self.pool.asked
        self.assertEqual((verb, url), ("GET", "http://h:1/-/explain?bucket=b&key=a%2F%C3%A9+%26"))
        self.assertNotIn("Authorization", headers)
        self.assertEqual(self.tokens, 0)

    def test_another_servers_json(self) -> None:
        for page in ("nodes", "changes", "repair", "explain"):
            for document in ({}, {"nodes": []}, {"status": "ok"}, [], ["nodes"], "nodes", 7, True):
                connection = self.connection((200, document))
                error = self.assertRaises(Unreachable, connection.get, page)
                self.assertIn("no operations door of aosd (status 200)", str(error))

    def test_post(self) -> None:
        connection = self.connection((200, ALIVE), (202, {"a": 1}), (202, {}))
        self.assertEqual(connection.post("leave"), {"a": 1})
        connection.post("leave")
        self.assertEqual(
            [(verb, url, headers.get("Authorization")) for verb, url, headers in self.pool.asked],
            [
                ("GET", "http://h:1/-/health", None),
                ("POST", "http://h:1/-/leave", "Bearer secret"),
                ("POST", "http://h:1/-/leave", "Bearer secret"),
            ],
        )
        self.assertEqual(self.tokens, 1)

    def test_no_token_is_told_to_what_is_no_daemon(self) -> None:
        connection = self.connection((200, {"status": "ok"}))
        error = self.assertRaises(Unreachable, connection.post, "leave")
        self.assertIn("is no operations door of aosd", str(error))
        self.assertEqual((self.tokens, len(self.pool.asked)), (0, 1))

    def test_words_that_cant_be_sent(self) -> None:
        connection = self.connection()
        query = {"bucket": "b", "key": "\udcff"}
        error = self.assertRaises(ConfigurationError, connection.get, "explain", query)
        self.assertEqual(str(error), r"'\udcff' is no text in UTF-8")
        self.assertEqual(self.pool.asked, [])

    def test_no_token_is_looked_for_where_no_daemon_is(self) -> None:
        connection = self.connection(ProtocolError("reset"))
        self.assertRaises(Unreachable, connection.post, "leave")
        self.assertEqual(self.tokens, 0)

    def refusal(self, *answers: Any) -> Failed:
        with self.assertRaises(Failed) as caught:
            self.connection(*answers).get("nodes")
        return caught.exception

    def test_refusals(self) -> None:
        def error(code: str) -> dict[str, str]:
            return {"error": "the words", "code": code, "request_id": "r"}

        for status, document, kind, code, said in (
            (400, error("InvalidArgument"), Failed, "InvalidArgument", "the words"),
            (401, error("Unauthorized"), Failed, "Unauthorized", "doesn't take this token"),
            (404, error("NoSuchNode"), Failed, "NoSuchNode", "the words; aosctl nodes lists them"),
            (404, error("NotFound"), Failed, "NotFound", "of an older version"),
            (409, error("ChangeRefused"), Failed, "ChangeRefused", "the words"),
            (500, error("InternalError"), Failed, "InternalError", "the words"),
            (503, error("NoNodes"), NotReady, "NoNodes", "not now: the words"),
            (503, {"ready": False, "reason": "founding"}, NotReady, "NotReady", "isn't ready: fou"),
            (403, b"<Error>", Unreachable, "Unreachable", "no operations door of aosd (status 403"),
            (200, b"<html>", Unreachable, "Unreachable", "no operations door of aosd (status 200"),
            (404, [], Unreachable, "Unreachable", "no operations door"),
            (302, b"", Unreachable, "Unreachable", "no operations door"),
        ):
            raised = self.refusal((status, document))
            self.assertIs(type(raised), kind)
            self.assertEqual(raised.code, code)
            self.assertIn(said, str(raised))

    def test_what_cant_be_reached(self) -> None:
        pool = cast(urllib3.connectionpool.ConnectionPool, None)
        refused = NewConnectionError(cast(Any, None), "Failed to establish: [Errno 111] no")
        refused.__cause__ = ConnectionRefusedError(111, "Connection refused")
        for error, said in (
            (refused, "no daemon answers at http://h:1 (Connection refused)"),
            (ProtocolError("Connection aborted"), "(Connection aborted)"),
            (ReadTimeoutError(pool, "u", "Read timed out."), "gave no answer within 10 s"),
        ):
            raised = self.refusal(error)
            self.assertIs(type(raised), Unreachable)
            self.assertIn(said, str(raised))


class WordsTests(SynchronousTestCase):
    def test_sizes(self) -> None:
        for size_bytes, words in (
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1,023 bytes"),
            (1024, "1.0 KiB"),
            (1024**2 - 1, "1.0 MiB"),
            (1.5 * 1024**3, "1.5 GiB"),
            (1024**5, "1.0 PiB"),
            (5000 * 1024**5, "5000.0 PiB"),
        ):
            self.assertEqual(size(size_bytes), words)

    def test_times(self) -> None:
        for seconds, words in (
            (None, "?"),
            (0, "no time"),
            (0.2, "less than a second"),
            (1, "1 second"),
            (59.6, "1 minute"),
            (61, "1 minute 1 second"),
            (599, "9 minutes 59 seconds"),
            (660, "11 minutes"),
            (661, "11 minutes"),
            (3600, "1 hour"),
            (7384, "2 hours 3 minutes"),
            (90000, "1 day 1 hour"),
        ):
            self.assertEqual(time(seconds), words)
        short = [brief(each) for each in (0.2, 61, 7384, 90000, None)]
        self.assertEqual(short, ["< 1 s", "1 min 1 s", "2 h 3 min", "1 d 1 h", "?"])

    def test_counts(self) -> None:
        self.assertEqual(many(1, "copy"), "1 copy")
        self.assertEqual(many(12_000, "copy"), "12,000 copies")
        self.assertEqual(many(0, "key"), "0 keys")
        self.assertEqual([number(each) for each in (1.0, 0.1, 100.0)], ["1", "0.1", "100"])
