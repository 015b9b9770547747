"""Stories of keys that can't be objects and folders at once, as nodes hide what lies beneath.

What goes wrong shows when all is quiet: both are objects, or what was deleted lies on yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from aosd.model.errors import KeyConflict
from aosd.model.standing import Membership
from aosd.testing.simulation.nodes import Kind, SimulatedNode
from aosd.testing.simulation.operations import Operation
from aosd.testing.simulation.weather import Fate
from tests.simulation.moving import acts, expect, until
from tests.simulation.scenes import Scene, is_wiped, scene

DAY_S = 86400.0
PARENT = "XMinioParentIsObject"
DIRECTORY = "XMinioObjectExistsAsDirectory"
ABORTED = "OperationAborted"


@contextmanager
def hiding(**how: Any) -> Iterator[Scene]:
    with scene(kinds=[Kind(hides_beneath=True)] * 6, **how) as s:
        yield s


def beneath_an_object() -> None:
    """a is there; a/b and a/b/c are refused."""
    with hiding() as s:
        s.does(s.world.put("a", b"1"))
        _refused(s, s.world.put("a/b", b"2"), PARENT)
        _refused(s, s.world.put("a/b/c", b"3"), PARENT)


def above_an_object() -> None:
    """a/b/c and d/e/f are there; a and d/e are refused."""
    with hiding() as s:
        for key in ("a/b/c", "d/e/f"):
            s.does(s.world.put(key, b"1"))
        _refused(s, s.world.put("a", b"2"), DIRECTORY)
        _refused(s, s.world.put("d/e", b"3"), DIRECTORY)


def above_one_that_no_listing_shows_yet() -> None:
    """a/b was written a moment ago, and all nodes list what was there some seconds before."""
    with hiding() as s:
        s.does(s.world.put("a/b", b"1"))
        s.world.fates({Fate.STALE: 1.0})
        _refused(s, s.world.put("a", b"2"), DIRECTORY)


def once_the_other_is_deleted() -> None:
    """What stood in the way is deleted, and nothing does any more."""
    with hiding() as s:
        s.does(s.world.put("a", b"1"))
        s.does(s.world.delete("a"))
        s.does(s.world.put("a/b", b"2"))
        s.does(s.world.delete("a/b"))
        s.does(s.world.put("a", b"3"))


def both_at_once_and_the_upper_one_is_slow() -> None:
    """A PUT of a is on its way to its nodes when one of a/b comes: nothing shows it yet."""
    with hiding() as s:
        for node in s.world.primaries("a"):
            node.weather.foretell("put", "a", Fate.SLOW, there_s=2.0)
        upper = s.world.put("a", b"1")
        s.world.pass_time(0.5)
        _refused(s, s.world.put("a/b", b"2"), ABORTED)
        s.does(upper)


def both_at_once_and_the_lower_one_is_slow() -> None:
    """A PUT of a/b is on its way to its nodes when one of a comes."""
    with hiding() as s:
        for node in s.world.primaries("a/b"):
            node.weather.foretell("put", "a/b", Fate.SLOW, there_s=2.0)
        lower = s.world.put("a/b", b"1")
        s.world.pass_time(0.5)
        _refused(s, s.world.put("a", b"2"), ABORTED)
        s.does(lower)


def upper_one_failed_and_lands_late() -> None:
    """A PUT of a got no answer from its primaries, and a 500 from the handoff: 503."""
    with hiding() as s:
        _unanswered(s, "a")
        _refused(s, s.world.put("a/b", b"2"), ABORTED)
        s.world.sleep(1800.0)


def lower_one_failed_and_lands_late() -> None:
    """A PUT of a/b got no answer from its primaries, and a 500 from the handoff: 503."""
    with hiding() as s:
        _unanswered(s, "a/b")
        _refused(s, s.world.put("a", b"2"), ABORTED)
        s.world.sleep(1800.0)


def upper_one_was_deleted_and_lands_late() -> None:
    """X gave no answer to a PUT of a, others did. a is deleted, and a/b on its way to X and Y.

    Were a/b there, hidden on X when a lands, Y's disk could be swept without it.
    """
    with hiding() as s:
        upper, lower, x = _pair(s)
        x.weather.foretell("put", upper, Fate.SILENT_LATE, there_s=300.0)
        s.does(s.world.put(upper, b"1"))
        s.does(s.world.delete(upper))
        _refused(s, s.world.put(lower, b"2"), ABORTED)
        s.world.sleep(360.0)
        (y,) = (node for node in s.world.primaries(lower) if node is not x)
        is_wiped(y)
        s.until(lambda: s.state(y) == "returning", "back")
        s.until(lambda: s.state(y) == "up", "compared")
        s.ends(s.world.get(lower))
        s.world.sleep(1800.0)


def lower_one_lands_late_on_a_node_that_returned() -> None:
    """X hung, and a PUT of a/b with it. a/b is deleted, and a written: X is back, and gets it.

    Then a/b lands there, beneath a, while the ring changes: nothing may be removed before that
    is over, and no sweep sees it afterwards.
    """
    with hiding() as s:
        upper, lower, x = _pair(s)
        x.weather.foretell("put", lower, Fate.SILENT_LATE, there_s=600.0)
        s.does(s.world.put(lower, b"1"))
        x.freeze()
        s.until(lambda: s.state(x) == "down", "noticed")
        s.does(s.world.delete(lower))
        s.does(s.world.put(upper, b"2"))
        x.thaw()
        s.until(lambda: s.state(x) == "up", "compared")
        expect(x.name in s.world.copies(upper), "X has a")
        acts(s, "weigh", x, weight=2.0)
        s.world.sleep(1800.0)


def folder_of_the_run_before() -> None:
    """a/b was written by the run before; the next one knows of it when it has asked, or swept."""
    with hiding() as s:
        s.does(s.world.put("a/b", b"1"))
        s.restart_gateway(clean=True)
        s.world.until_ready()
        _refused(s, s.world.put("a", b"2"), DIRECTORY)
        s.until(lambda: s.assembly.store.folders.complete, "all folders are known", 300.0)
        _refused(s, s.world.put("a", b"3"), DIRECTORY)
        assert not s.assembly.store.folders.may_be("object", "z")


def folder_lands_after_the_first_sweep() -> None:
    """A PUT of a/b is on its way for ten minutes when the gateway is killed."""
    with hiding() as s:
        for node in s.world.primaries("a/b"):
            node.weather.foretell("put", "a/b", Fate.SLOW, there_s=600.0)
        s.world.put("a/b", b"1")
        s.world.pass_time(1.0)
        s.restart_gateway()
        s.world.until_ready()
        s.world.sleep(660.0)
        assert s.world.copies("a/b"), "it has landed"
        _refused(s, s.world.put("a", b"2"), DIRECTORY)


def deleted_beneath_on_a_node_that_returns() -> None:
    """X was away when a/b was deleted and a was written, and is back: a is to be copied to it."""
    with hiding() as s:
        upper, lower, x = _pair(s)
        _misses_a_delete(s, x, lower)
        s.does(s.world.put(upper, b"2"))
        x.start()
        s.world.quiet()
        s.world.sleep(60.0)
        s.world.sleep(9 * DAY_S, leap_s=6 * 3600.0)
        s.ends(s.world.get(lower))


def deleted_beneath_on_a_node_that_is_written_to() -> None:
    """X was away when a/b was deleted, and is back: a is to be written to it, at once."""
    with hiding() as s:
        upper, lower, x = _pair(s)
        _misses_a_delete(s, x, lower)
        x.start()
        x.weather.foretell("delete", lower, Fate.REFUSED)
        s.until(lambda: s.state(x) == "returning", "back")
        s.ends(s.world.put(upper, b"2"))
        s.world.quiet()
        s.does(s.world.put(upper, b"3"))


def deleted_beneath_on_a_node_that_is_written_over() -> None:
    """As before, but a is there already: X lacks it when it is written again."""
    with hiding() as s:
        upper, lower, x = _pair(s)
        _misses_a_delete(s, x, lower)
        s.does(s.world.put(upper, b"2"))
        s.does(s.world.delete(upper))
        s.does(s.world.put(upper, b"3"))
        x.start()
        x.weather.foretell("delete", lower, Fate.REFUSED)
        s.until(lambda: s.state(x) == "returning", "back")
        s.ends(s.world.put(upper, b"4"))


def _refused(s: Scene, operation: Operation, code: str) -> None:
    s.world.wait(operation)
    if not isinstance(operation.error, KeyConflict):
        s.world.trace(f"NOT REFUSED: {operation.what}")
        return  # what comes of it shows when all is quiet
    assert operation.error.code == code, operation.outcome


def _unanswered(s: Scene, key: str) -> None:
    a, b, c = s.world.order(key)
    for node in (a, b):
        node.weather.foretell("put", key, Fate.SILENT_LATE, there_s=300.0)
    c.weather.foretell("put", key, Fate.REFUSED)
    s.fails(s.world.put(key, b"1"))


def _pair(s: Scene) -> tuple[str, str, SimulatedNode]:
    """A key, one beneath it, and the one node that is the first of both, and has neither alone."""
    for number in count():
        upper = f"u{number}"
        lower = f"{upper}/b"
        if s.world.order(upper)[0] is s.world.order(lower)[0]:
            return upper, lower, s.world.order(upper)[0]
    raise AssertionError


def the_last_that_hides_is_drained() -> None:
    """A alone hides what lies beneath: a/b is refused until A is drained, and is there then."""
    with scene(kinds=[Kind(hides_beneath=True)], nodes=4) as s:
        hides = s.world.node("n1")
        s.does(s.world.put("a", b"1"))
        _refused(s, s.world.put("a/b", b"2"), PARENT)
        acts(s, "drain", hides)
        _refused(s, s.world.put("a/b", b"2"), PARENT)
        until(s, hides, Membership.DRAINED)
        s.does(s.world.put("a/b", b"3"))
        for key in ("a", "a/b"):
            s.does(s.world.get(key))


def _misses_a_delete(s: Scene, node: SimulatedNode, key: str) -> None:
    s.does(s.world.put(key, b"1"))
    node.kill()
    s.until(lambda: s.state(node) in ("suspect", "down"), "noticed")
    s.does(s.world.delete(key))


STORIES: tuple[Callable[[], None], ...] = (
    beneath_an_object,
    above_an_object,
    above_one_that_no_listing_shows_yet,
    once_the_other_is_deleted,
    both_at_once_and_the_upper_one_is_slow,
    both_at_once_and_the_lower_one_is_slow,
    upper_one_failed_and_lands_late,
    lower_one_failed_and_lands_late,
    upper_one_was_deleted_and_lands_late,
    lower_one_lands_late_on_a_node_that_returned,
    folder_of_the_run_before,
    folder_lands_after_the_first_sweep,
    deleted_beneath_on_a_node_that_returns,
    deleted_beneath_on_a_node_that_is_written_to,
    deleted_beneath_on_a_node_that_is_written_over,
    the_last_that_hides_is_drained,
)
