"""The reference model itself: what a read may return."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from aosd.testing.simulation.reference import Outcome, PromiseBroken, Reference, Write


class History:
    """Writes of one key, a second each unless they are left running."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.reference = Reference(self.clock.seconds)

    def began(self, value: bytes | None) -> Write:
        self.clock.advance(1)
        return self.reference.began("k", value)

    def ended(self, write: Write, outcome: Outcome = Outcome.ACKNOWLEDGED) -> None:
        self.clock.advance(1)
        self.reference.ended(write, outcome)

    def write(self, value: bytes | None, outcome: Outcome = Outcome.ACKNOWLEDGED) -> None:
        self.ended(self.began(value), outcome)

    def found(self, value: bytes | None) -> None:
        self.clock.advance(1)
        self.reference.found("k", value, self.clock.seconds(), "GET")

    def refuses(self, value: bytes | None) -> None:
        with pytest.raises(PromiseBroken):
            self.found(value)


def test_only_the_newest_acknowledged_write_is_returned() -> None:
    history = History()
    history.found(None)
    history.write(b"1")
    history.write(b"2")
    history.found(b"2")
    history.refuses(b"1")
    history.refuses(None)
    history.refuses(b"nobody wrote it")


def test_a_delete_is_a_write_of_nothing() -> None:
    history = History()
    history.write(b"1")
    history.write(None)
    history.found(None)
    history.refuses(b"1")


def test_what_failed_may_appear_until_something_newer_is_acknowledged() -> None:
    history = History()
    history.write(b"1")
    history.write(b"2", Outcome.UNKNOWN)
    for value in (b"1", b"2", b"1"):
        history.found(value)
    history.write(b"3")
    history.found(b"3")
    history.refuses(b"2")
    history.refuses(b"1")


def test_of_two_at_the_same_time_either_wins_but_only_one() -> None:
    history = History()
    one, two = history.began(b"1"), history.began(b"2")
    history.ended(one)
    history.ended(two)
    history.found(b"1")
    history.found(b"1")
    history.refuses(b"2")


def test_the_order_that_was_seen_is_kept_in_a_chain() -> None:
    history = History()
    one, two = history.began(b"1"), history.began(b"2")
    history.ended(one)
    history.ended(two)
    history.found(b"2")  # so 1 is older than 2
    history.write(b"3")
    history.refuses(b"1")
    history.refuses(b"2")


def test_a_read_during_a_write_may_return_either() -> None:
    history = History()
    history.write(b"1")
    began_s = history.clock.seconds()
    history.write(b"2")
    history.reference.found("k", b"1", began_s, "GET")
    history.reference.found("k", b"2", began_s, "GET")
    history.refuses(b"1")


def test_a_refused_write_is_never_seen() -> None:
    history = History()
    history.write(b"1", Outcome.NEVER)
    history.refuses(b"1")


def test_a_key_is_created_once() -> None:
    history = History()
    one = history.reference.began("k", b"1", only_if_new=True)
    two = history.reference.began("k", b"2", only_if_new=True)
    history.ended(one)
    with pytest.raises(PromiseBroken):
        history.ended(two)


def test_a_key_is_created_again_after_a_delete() -> None:
    history = History()
    history.ended(history.reference.began("k", b"1", only_if_new=True))
    history.write(None)
    history.ended(history.reference.began("k", b"2", only_if_new=True))


def test_history_is_forgotten_and_stays_right() -> None:
    history = History()
    for number in range(100):
        history.write(b"%d" % number)
    history.found(b"99")
    history.refuses(b"98")
    assert len(history.reference.may_be("k", history.clock.seconds())) == 1


def test_what_a_node_brought_is_older_than_all_that_clients_did() -> None:
    history = History()
    brought = history.reference.brought("k", b"old", 100.0)
    history.found(None)
    history.found(b"old")
    history.reference.adopted(brought)
    history.found(b"old")
    history.refuses(None)
    history.write(b"1")
    history.refuses(b"old")
    history.write(None)
    history.refuses(b"old")
    history.found(None)


def test_what_was_written_before_a_node_brought_the_key_stays() -> None:
    history = History()
    history.write(b"1")
    history.reference.adopted(history.reference.brought("k", b"old", 100.0))
    history.found(b"1")
    history.refuses(b"old")


def test_of_two_that_were_brought_the_later_one_counts() -> None:
    history = History()
    later = history.reference.brought("k", b"later", 200.0)
    history.reference.adopted(history.reference.brought("k", b"earlier", 100.0))
    history.found(b"earlier")
    history.reference.adopted(later)
    history.found(b"later")
    history.refuses(b"earlier")
