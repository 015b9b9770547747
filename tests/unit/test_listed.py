"""All keys of one node, page by page, by the tokens that it gives."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from aosd.consistency.listed import Keys
from aosd.model.errors import BadRequest
from aosd.model.objects import Page
from aosd.testing.memory_node import Copy, MemoryNode

BUCKET = "object"


class Telling(MemoryNode):
    """A node that tells how it was asked for each page; it may know none of its tokens."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.by_tokens: list[bool] = []
        self.forgets = False

    def list(self, *args: Any, token: str = "", **how: Any) -> Deferred[Page]:
        self.by_tokens.append(bool(token))
        if token and self.forgets:
            return fail(BadRequest("which token?", "InvalidArgument"))  # as S3Node has it
        return super().list(*args, token=token, **how)


class TokenTests(SynchronousTestCase):
    """Pages of 10, and of twice as many each time."""

    def setUp(self) -> None:
        self.node = Telling("n1")
        self.there = self.node.buckets[BUCKET]
        self.keys = [f"k{number:04d}" for number in range(1000)]
        for key in self.keys:
            self.there[key] = Copy(b"", '"e"', 5.0)
        self.names = Keys(self.node, BUCKET, "k", "", 10)

    def ask(self, times: int = 1) -> None:
        for _ in range(times):
            self.successResultOf(Deferred.fromCoroutine(self.names.ask()))

    def test_not_by_itself(self) -> None:
        self.ask(6)
        self.assertEqual(self.node.by_tokens, [False] * 6)
        self.assertFalse(self.names.scans)

    def test_after_some_pages(self) -> None:
        self.names.by_tokens = True
        self.ask(4)
        self.assertFalse(self.names.scans)
        self.ask(2)
        self.assertTrue(self.names.scans)
        self.ask()
        self.assertTrue(self.names.ended)
        self.assertFalse(self.names.scans)
        self.assertEqual(self.node.by_tokens, [False] * 4 + [True] * 3)
        self.assertEqual([each[1] for each in self.names.ready], self.keys)

    def test_what_comes_may_be_of_before(self) -> None:
        self.names.by_tokens = True
        self.ask(5)
        del self.there[self.keys[-1]]
        self.ask(2)
        self.assertEqual([each[1] for each in self.names.ready], self.keys)

    def test_one_that_is_not_known_any_more(self) -> None:
        self.names.by_tokens = True
        self.ask(5)
        self.node.forgets = True
        self.ask()
        self.node.forgets = False
        self.ask()
        self.assertEqual(self.node.by_tokens[4:], [True, True, False, True])
        self.assertEqual([each[1] for each in self.names.ready], self.keys)
