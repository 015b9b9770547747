"""Stories of nodes that come with objects which aosd didn't write.

They begin as the traces do: v1 on A and B, C the handoff, two copies; then E comes.
"""

from __future__ import annotations

from collections.abc import Callable

from aosd.model.standing import Membership
from aosd.testing.simulation.nodes import Kind, SimulatedNode
from aosd.testing.simulation.weather import Fate
from aosd.testing.simulation.world import START_S
from tests.simulation.moving import DAY_S, HOUR_S, acts, expect, membership, until
from tests.simulation.scenes import KEY, Scene, scene

_YEAR_S = 365 * DAY_S
_OLD_S = START_S - _YEAR_S


def what_a_node_brings_is_readable_at_once() -> None:
    """E is adopted: from when it is a member each of its objects is read, in every way."""
    with scene(nodes=6) as s:
        keys = [f"f{number}" for number in range(12)]
        added = _comes(s, *keys)
        s.does(s.world.put(keys[0], b"written by a client"))
        s.world.pass_time(60.0)
        expect(membership(s, added) is None, "nobody takes it in by itself")
        _is_adopted(s, added)
        for key in keys:
            s.does(s.world.get(key))
            s.does(s.world.head(key))
        s.does(s.world.list())
        until(s, added, Membership.MEMBER)


def of_two_that_were_brought_the_later_counts() -> None:
    """E and F have the same key, and two that clients write or delete meanwhile."""
    with scene() as s:
        one = _comes(s, "f", "g", "h", at_s=_OLD_S)
        two = _comes(s, "f", "g", "h", at_s=_OLD_S + 5.0)
        three = _comes(s, "f", at_s=_OLD_S - 5.0)
        for node in (one, two, three):
            _is_adopted(s, node)
            s.ends(s.world.get("f"))
        s.does(s.world.put("g", b"a client's"))
        s.does(s.world.delete("h"))
        for key in "fgh":
            s.ends(s.world.get(key))
        until(s, three, Membership.MEMBER)


def what_was_deleted_stays_so() -> None:
    """A key was deleted, another one is an object; E brings both: neither is seen."""
    with scene() as s:
        s.does(s.world.put("gone", b"v1"))
        s.does(s.world.delete("gone"))
        s.does(s.world.put("there", b"v1"))
        added = _comes(s, "gone", "there")
        _is_adopted(s, added)
        for key in ("gone", "there"):
            s.ends(s.world.get(key))
            s.ends(s.world.get(key, newest=True))
        s.does(s.world.delete("there"))
        until(s, added, Membership.MEMBER)


def who_brought_them_is_away() -> None:
    """E is adopted, and gone before any copy was made: its objects aren't there, nor missing."""
    with scene() as s:
        keys = [f"f{number}" for number in range(8)]
        added = _comes(s, *keys)
        _refuse(s, *keys, but=added)
        _is_adopted(s, added)
        added.kill()
        s.world.pass_time(20.0)
        for key in keys:
            s.ends(s.world.get(key))
            s.ends(s.world.head(key))
        s.ends(s.world.list())
        s.world.sleep(HOUR_S)
        for key in keys:
            s.ends(s.world.get(key))
        added.start()
        _calm(s)
        until(s, added, Membership.MEMBER)


def an_adoption_is_undone() -> None:
    """E is adopted, and is to go again: what it brought stays, on the others."""
    with scene(nodes=4) as s:
        keys = [f"f{number}" for number in range(8)]
        added = _comes(s, *keys)
        _is_adopted(s, added)
        s.world.pass_time(0.3)
        acts(s, "undo", added)
        for key in keys:
            s.does(s.world.get(key))
        until(s, added, Membership.DRAINED)
        for key in keys:
            s.does(s.world.get(key))


def killed_while_a_node_is_adopted() -> None:
    """The gateway is killed again and again while E is taken in, and what it has is copied."""
    with scene() as s:
        keys = [f"f{number}" for number in range(8)]
        added = _comes(s, *keys, bucket="attic")
        _is_adopted(s, added)
        for after_s in (0.05, 0.5, 2.0):
            s.world.pass_time(after_s)
            s.restart_gateway()
            s.world.until_ready()
            s.until(lambda: s.state(added) != "down", "it is back")
            for key in keys:
                s.does(s.world.get(f"attic:{key}"))
        until(s, added, Membership.MEMBER)


def what_was_hidden_on_a_node_that_is_adopted() -> None:
    """E lists `f`, and not `f/g`, which it has: it is read by its name; then E is drained."""
    with scene(kinds=[Kind(), Kind(), Kind(), Kind(hides_beneath=True)]) as s:
        added = _comes(s, "f", "f/g", "f/g/h", "e")
        _is_adopted(s, added)
        s.does(s.world.get("f"))
        s.does(s.world.get("e"))
        until(s, added, Membership.MEMBER)
        acts(s, "drain", added)
        until(s, added, Membership.DRAINED)
        expect(not added.objects(), "it is empty")


def clients_write_what_a_node_brought() -> None:
    """Keys that E brought are written, deleted, written again while they are copied."""
    with scene() as s:
        keys = [f"f{number}" for number in range(9)]
        added = _comes(s, *keys)
        _is_adopted(s, added)
        for number, key in enumerate(keys):
            if number % 3:
                s.does(s.world.put(key, b"a client's"))
            if number % 3 == 2:
                s.does(s.world.delete(key))
            s.ends(s.world.get(key))
            s.world.pass_time(0.2)
        until(s, added, Membership.MEMBER)
        s.does(s.world.delete(KEY))


def what_clients_wrote_goes_to_who_is_adopted() -> None:
    """E and F are adopted, and at once some objects lie on them alone, and on A and B no more."""
    with scene() as s:
        keys = [f"f{number}" for number in range(40)]
        for key in keys:
            s.does(s.world.put(key, b"a client's"))
        added = [_comes(s, "d"), _comes(s, "e")]
        s.world.pass_time(3.0)
        for node in added:
            s.does(s.world.acts("adopt", node.name))
        # It is all one step: nobody has looked who is a member meanwhile.
        s.world.pass_time(HOUR_S / 60.0)
        alone = [key for key in keys if s.world.copies(key).keys() == {each.name for each in added}]
        expect(bool(alone), "some lie there alone")
        for node in added:
            until(s, node, Membership.MEMBER)


def its_disk_falls_back_to_before_it_was_adopted() -> None:
    """E is adopted, and its disk is again as it came: E waits until it is adopted once more.

    What clients wrote and deleted since then stays so, whichever gateway takes it in.
    """
    for restarted in (False, True):
        with scene() as s:
            added = _comes(s, "f", "g", "h")
            before = added.snapshot()
            _is_adopted(s, added)
            until(s, added, Membership.MEMBER)
            s.does(s.world.put("g", b"a client's"))
            s.does(s.world.delete("h"))
            added.kill()
            added.restore(before)
            added.start()
            if restarted:
                s.restart_gateway()
            s.world.sleep(300.0)
            expect(s.state(added) == "down", "nobody takes it in by itself")
            for key in "fgh":
                s.ends(s.world.get(key))
                s.ends(s.world.get(key, newest=True))


def a_node_is_lost_before_another_is_adopted() -> None:
    """A burns down, then E is adopted, which lost nothing: 404s go on, and A can be removed."""
    with scene(nodes=4) as s:
        s.world.lose_for_ever(s.a.name)
        s.world.look_around()
        s.until(lambda: s.state(s.a) == "down", "noticed")
        added = _comes(s, "f")
        _is_adopted(s, added)
        s.world.sleep(300.0)
        for key in ("f", "nothing"):
            s.read_in_every_way()
            read = s.ends(s.world.get(key, newest=True))
            expect(read.error is None or "NoSuchKey" in read.outcome, read.outcome)
        acts(s, "remove", s.a)
        until(s, added, Membership.MEMBER)


def adopting_waits_for_longer_than_the_journal_remembers() -> None:
    """E is to be adopted after A is drained, which an upload holds up for a week.

    What was deleted before isn't forgotten in the moment between the two.
    """
    with scene(nodes=4) as s:
        s.does(s.world.put("gone", b"v1"))
        s.does(s.world.delete("gone"))
        upload = s.ends(s.world.begin_upload(KEY)).upload
        expect(upload is not None and s.a.name in upload.ids, "it is open on A")
        acts(s, "drain", s.a)
        added = _comes(s, "gone", "f")
        s.world.pass_time(3.0)
        acts(s, "adopt", added)
        s.world.sleep(9 * DAY_S, leap_s=6 * HOUR_S)
        expect(membership(s, s.a) is Membership.DRAINED, "A is drained")
        s.ends(s.world.get("gone"))
        s.ends(s.world.get("gone", newest=True))
        until(s, added, Membership.MEMBER)


def an_adoption_that_waits_is_taken_back() -> None:
    """E is to be adopted after A is drained, and then it isn't; later on it is after all."""
    with scene(nodes=4) as s:
        upload = s.ends(s.world.begin_upload(KEY)).upload
        expect(upload is not None and s.a.name in upload.ids, "it is open on A")
        acts(s, "drain", s.a)
        added = _comes(s, "f")
        s.world.pass_time(3.0)
        acts(s, "adopt", added)
        s.world.sleep(HOUR_S)
        acts(s, "undo", added)
        s.does(s.world.abort_upload(upload))
        s.until(lambda: membership(s, s.a) is Membership.DRAINED, "A is drained", DAY_S)
        s.world.sleep(HOUR_S)
        expect(membership(s, added) is None, "nobody lets it in any more")
        _is_adopted(s, added)
        s.does(s.world.get("f"))
        until(s, added, Membership.MEMBER)


# -- the scene -------------------------------------------------------------------------------------


def _comes(s: Scene, *keys: str, at_s: float = _OLD_S, bucket: str = "") -> SimulatedNode:
    """A node with these keys."""
    number = len(s.world.machines)
    prefix = f"{bucket}:" if bucket else ""
    objects = [(prefix + key, b"%s on %d" % (key.encode(), number), at_s) for key in keys]
    return s.world.add_foreign_node(objects)


def _is_adopted(s: Scene, node: SimulatedNode) -> None:
    """As soon as it has been met."""
    s.world.pass_time(3.0)
    acts(s, "adopt", node)
    s.until(lambda: membership(s, node) is not None, "it joins", HOUR_S)


def _refuse(s: Scene, *keys: str, but: SimulatedNode) -> None:
    for node in s.world.nodes.values():
        for key in keys if node is not but else ():
            for _ in range(20):
                node.weather.foretell("put", key, Fate.REFUSED)


def _calm(s: Scene) -> None:
    for node in s.world.nodes.values():
        node.weather.foretold.clear()


STORIES: tuple[Callable[[], None], ...] = (
    what_a_node_brings_is_readable_at_once,
    of_two_that_were_brought_the_later_counts,
    what_was_deleted_stays_so,
    who_brought_them_is_away,
    an_adoption_is_undone,
    killed_while_a_node_is_adopted,
    what_was_hidden_on_a_node_that_is_adopted,
    clients_write_what_a_node_brought,
    what_clients_wrote_goes_to_who_is_adopted,
    its_disk_falls_back_to_before_it_was_adopted,
    a_node_is_lost_before_another_is_adopted,
    adopting_waits_for_longer_than_the_journal_remembers,
    an_adoption_that_waits_is_taken_back,
)
