"""Stories of changes by hand: nodes drained, weighed, removed, lost, and what comes between.

They begin as the traces do: v1 on A and B, C the handoff, two copies; most with a node D.
"""

from __future__ import annotations

from collections.abc import Callable

from aosd.model.objects import SYSTEM_BUCKET
from aosd.model.standing import Membership
from aosd.testing.simulation.nodes import SimulatedNode
from aosd.testing.simulation.reference import PromiseBroken
from aosd.testing.simulation.weather import Fate
from tests.simulation.scenes import KEY, Scene, is_wiped, scene

HOUR_S = 3600.0
DAY_S = 86400.0
LONG = b"v2 is so long that it flows"


# -- draining --------------------------------------------------------------------------------------


def a_node_is_drained_while_clients_write() -> None:
    """A's copies go elsewhere; each is read meanwhile, and what is written then isn't on A."""
    with scene(nodes=4) as s:
        keys = _some(s, 12)
        acts(s, "drain", s.a)
        while membership(s, s.a) is not Membership.DRAINED:
            for number, key in enumerate(keys):
                s.does(s.world.get(key))
                if number % 3 == 0:
                    s.does(s.world.put(key, b"%d" % s.world.clock.seconds()))
            s.world.pass_time(1.0)
        expect(not s.a.objects(), "A is empty")
        expect(s.world.is_ready, "the store goes on")


def what_stood_in_is_listed_late() -> None:
    """B is away while A is weighed anew, and C has v2 for it; B comes back, and gets its copy.

    C's listing of then is of before v2. Its copy goes all the same.
    """
    for seed in range(1, 7):
        with scene(nodes=4, seed=seed) as s:
            s.b.kill()
            acts(s, "weigh", s.a, weight=2.0)
            s.does(s.world.put(KEY, b"v2"))
            expect(s.c.name in s.lying(), "C stands in")
            s.world.fates({Fate.STALE: 1.0}, s.c.name)
            s.b.start()
            s.until(lambda: not s.assembly.store.why_unsettled("object", KEY), "settled", HOUR_S)


def a_write_lands_late_on_a_draining_node() -> None:
    """A doesn't answer PUT v2, is drained, and stores v2 then: it isn't empty before that."""
    with scene(nodes=4) as s:
        s.a.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=800.0)
        s.ends(s.world.put(KEY, b"v2"))
        acts(s, "drain", s.a)
        s.world.sleep(850.0)
        s.read_in_every_way()
        until(s, s.a, Membership.DRAINED)


def a_write_of_a_killed_gateway_lands_on_a_draining_node() -> None:
    """The gateway dies with PUT v2 on its way to A; the next one drains A; then it lands."""
    with scene(nodes=4) as s:
        s.does(s.world.delete(KEY))
        s.world.pass_time(70.0)
        s.a.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=800.0)
        s.b.weather.foretell("put", KEY, Fate.SILENT)
        s.killed_while_writing(b"v2")
        acts(s, "drain", s.a)
        s.world.sleep(850.0)
        s.read_in_every_way()
        until(s, s.a, Membership.DRAINED)


def only_a_node_whose_clock_is_off_is_left() -> None:
    """B's clock is off; A and C are drained: no write is taken before B's clock is set right."""
    with scene() as s:
        s.b.ahead_s = 100.0
        s.world.pass_time(5.0)
        s.does(s.world.put(KEY, b"v2"))
        for node in (s.a, s.c):
            acts(s, "drain", node)
            until(s, node, Membership.DRAINED)
        s.fails(s.world.put(KEY, b"v3"))
        s.read_in_every_way()
        s.world.quiet()
        s.does(s.world.put(KEY, b"v3"))


def an_upload_is_open_across_a_drain() -> None:
    """A client uploads to A and others; A is drained; the upload is completed afterwards."""
    with scene(nodes=4) as s:
        upload = s.ends(s.world.begin_upload(KEY)).upload
        assert upload is not None and s.a.name in upload.ids
        s.does(s.world.send_part(upload, 1, b"one of two"))
        acts(s, "drain", s.a)
        s.world.sleep(2 * HOUR_S)
        s.does(s.world.send_part(upload, 2, b"two"))
        s.does(s.world.complete_upload(upload))
        s.read_in_every_way()
        until(s, s.a, Membership.DRAINED)


def an_upload_comes_back_when_its_node_is_drained() -> None:
    """An upload is aborted, A, where it was open, is drained, and C's disk falls back before that.

    C tells of it again, and A isn't asked any more: nothing is open on it, or it weren't drained.
    Another run doesn't know that it was aborted, and ends it after a week.
    """
    for restarted in (False, True):
        with scene(nodes=4) as s:
            upload = s.ends(s.world.begin_upload(KEY)).upload
            assert upload is not None and {s.a.name, s.c.name} <= upload.ids.keys()
            before = s.c.snapshot()
            s.does(s.world.abort_upload(upload))
            acts(s, "drain", s.a)
            until(s, s.a, Membership.DRAINED)
            s.c.kill()
            s.c.restore(before)
            s.c.start()
            if restarted:
                s.restart_gateway()


def a_long_put_flows_across_a_drain() -> None:
    """PUT v2 has begun on A when A is to be drained, and ends long after no ring has A."""
    with scene(nodes=4) as s:
        slow = s.world.put(KEY, LONG * 8, gap_s=9.0)
        s.world.pass_time(1.0)
        acts(s, "drain", s.a)
        s.does(slow)
        s.read_in_every_way()
        until(s, s.a, Membership.DRAINED)


def a_record_of_an_upload_that_ended_comes_back() -> None:
    """D is away when a long PUT ends, and has it as open yet: A, where it was, can be drained."""
    with scene(nodes=4, notices_stops=True) as s:
        (d,) = s.others
        slow = s.world.put(KEY, LONG * 8, told=False, gap_s=9.0)
        s.until(lambda: bool(s.a.disk.uploads), "begun")
        d.kill()
        s.until(lambda: s.state(d) == "down", "noticed")
        s.does(slow)
        d.start()
        s.until(lambda: s.state(d) == "up", "back")
        acts(s, "drain", s.a)
        until(s, s.a, Membership.DRAINED)


def an_upload_that_ended_is_open_again() -> None:
    """A long PUT is over, A loses its power, and has it open again: that ends, and A is drained.

    Another PUT flows to it meanwhile.
    """
    with scene(nodes=4) as s:
        s.does(s.world.put(KEY, LONG * 8, told=False, gap_s=9.0))
        s.reboots(s.a, lost_s=5.0)
        expect(len(s.a.disk.uploads) == 1, "it is open there")
        s.world.pass_time(10.0)  # nothing of the next one is lost on the way
        other = s.world.put(KEY, LONG * 8, told=False, gap_s=9.0)
        s.until(lambda: len(s.a.disk.uploads) == 2, "begun")
        s.does(other)
        acts(s, "drain", s.a)
        until(s, s.a, Membership.DRAINED)
        expect(not s.a.disk.uploads, "nothing is open there")


def a_target_refuses_its_copies_during_a_drain() -> None:
    """What A had can't be copied to where it belongs: A is kept until it can."""
    with scene(nodes=4) as s:
        keys = _some(s, 8)
        acts(s, "weigh", s.c, weight=1.0)
        for node in s.world.nodes.values():
            if node is not s.a:
                for key in keys:
                    for _ in range(8):
                        node.weather.foretell("put", key, Fate.REFUSED)
        acts(s, "drain", s.a)
        s.world.sleep(60.0)
        for key in keys:
            s.does(s.world.get(key))
        s.b.kill()
        s.world.pass_time(10.0)
        for key in keys:
            s.ends(s.world.get(key))
        s.b.start()
        for node in s.world.nodes.values():
            node.weather.foretold.clear()
        until(s, s.a, Membership.DRAINED)


def a_drained_node_has_what_others_refused() -> None:
    """B and D refuse the register of a bucket; A, which has it, is drained, removed, and blank.

    C, the other one that took it, is away then: others know of the bucket, and of what is in it.
    """
    with scene(nodes=4) as s:
        d = s.others[0]
        for node in (s.b, d):
            for _ in range(2):
                node.weather.foretell("put", "buckets/box", Fate.REFUSED)
        s.does(s.world.make_bucket("box"))
        acts(s, "drain", s.a)
        until(s, s.a, Membership.DRAINED)
        acts(s, "remove", s.a)
        s.c.kill()
        s.restart_gateway()
        s.world.pass_time(60.0)
        known = s.assembly.recall.registers.get("buckets", "box")
        expect(known is not None, "the bucket is known")


def a_bucket_is_deleted_while_a_node_is_drained() -> None:
    """It is made and filled, A is drained, and it is deleted and made again meanwhile."""
    with scene(nodes=4) as s:
        s.does(s.world.make_bucket("box"))
        keys = [f"box:{number}" for number in range(6)]
        for key in keys:
            s.does(s.world.put(key, b"v1"))
        acts(s, "drain", s.a)
        for key in keys:
            s.does(s.world.delete(key))
        s.does(s.world.remove_bucket("box"))
        s.does(s.world.make_bucket("box"))
        s.does(s.world.put(keys[0], b"v2"))
        s.does(s.world.make_bucket("crate"))
        until(s, s.a, Membership.DRAINED)


def a_drained_disk_falls_back() -> None:
    """A is drained; its disk falls back to what it was; years later A is to be a member again.

    What was deleted meanwhile, and is forgotten by then, must not come back with it.
    """
    with scene(nodes=4) as s:
        before = s.a.snapshot()
        acts(s, "drain", s.a)
        until(s, s.a, Membership.DRAINED)
        s.does(s.world.delete(KEY))
        s.world.sleep(9 * DAY_S, leap_s=HOUR_S)
        s.a.kill()
        s.a.restore(before)
        s.a.start()
        s.world.look_around()
        s.world.pass_time(60.0)
        s.read_in_every_way()
        _refused(s, "undrain", s.a)
        # It is to be emptied first.
        is_wiped(s.a)
        s.world.pass_time(60.0)
        acts(s, "undrain", s.a)
        s.world.pass_time(60.0)
        s.read_in_every_way()


def a_drained_node_is_taken_in_again_where_each_is_needed() -> None:
    """Three copies on three nodes; C was drained, and is undrained: writes go on all the time.

    Nothing is wrong with any node.
    """
    with scene(replicas=3) as s:
        s.world.faulty = False
        acts(s, "drain", s.c)
        until(s, s.c, Membership.DRAINED)
        s.world.pass_time(20.0)
        undraining = s.world.acts("undrain", s.c.name)
        while membership(s, s.c) is not Membership.MEMBER:
            s.does(s.world.put(KEY, b"%d" % s.world.clock.seconds()))
            s.world.pass_time(0.003)
        s.does(undraining)
        s.world.faulty = True


def a_draining_node_loses_power() -> None:
    """A has lost its copies to others, and has them again: it isn't empty before they went anew."""
    with scene(nodes=4) as s:
        keys = _some(s, 8)
        s.world.sleep(120.0)
        acts(s, "drain", s.a)
        s.until(lambda: not s.a.objects(), "empty", HOUR_S)
        s.reboots(s.a, lost_s=30.0)
        s.does(s.world.delete(keys[1]))
        until(s, s.a, Membership.DRAINED)
        for key in keys:
            s.ends(s.world.get(key))


def nothing_is_forgotten_while_a_change_stands_still() -> None:
    """A keeps what was deleted, and is drained; repair is paused for nine days; it isn't back."""
    with scene(nodes=4) as s:
        for _ in range(2000):
            s.a.weather.foretell("delete", KEY, Fate.REFUSED)
        acts(s, "drain", s.a)
        s.does(s.world.pauses(paused=True))
        s.does(s.world.delete(KEY))
        expect(s.a.name in s.lying(), "A has it yet")
        s.world.sleep(9 * DAY_S, leap_s=HOUR_S)
        s.read_in_every_way()
        s.a.weather.foretold.clear()
        s.does(s.world.pauses(paused=False))
        until(s, s.a, Membership.DRAINED)


def repair_is_paused_while_a_node_is_drained() -> None:
    """The change stands still, over a restart, too, and goes on when repair does."""
    with scene(nodes=4) as s:
        keys = _some(s, 8)
        acts(s, "drain", s.a)
        s.does(s.world.pauses(paused=True))
        s.world.sleep(HOUR_S)
        s.restart_gateway()
        s.world.until_ready()
        s.world.sleep(HOUR_S)
        expect(membership(s, s.a) is Membership.DRAINING, "it stands still")
        for key in keys:
            s.does(s.world.get(key))
        s.does(s.world.pauses(paused=False))
        until(s, s.a, Membership.DRAINED)


# -- undoing, and several at once ------------------------------------------------------------------


def a_drain_is_undone_when_half_is_done() -> None:
    """A drain is undone while copies are made, and once more when A is being emptied."""
    with scene(nodes=4) as s:
        keys = _some(s, 12)
        acts(s, "drain", s.a)
        s.world.pass_time(0.5)
        acts(s, "undo", s.a)
        until(s, s.a, Membership.MEMBER)
        acts(s, "drain", s.a)
        s.until(lambda: s.assembly.changes.phase() == "emptying", "emptying", HOUR_S)
        for key in keys[:4]:
            s.does(s.world.put(key, b"v2"))
        acts(s, "undo", s.a)
        until(s, s.a, Membership.MEMBER)
        for key in keys:
            s.does(s.world.get(key))


def fewer_nodes_than_copies_are_left() -> None:
    """Of three nodes A is to be drained, with three copies: there are two, while A is emptied."""
    with scene(replicas=3) as s:
        s.does(s.world.begin_upload(KEY))
        acts(s, "drain", s.a)
        s.until(lambda: s.assembly.changes.phase() == "emptying", "emptying", HOUR_S)
        s.does(s.world.put("x", b"v1"))
        expect(len(s.world.copies("x")) == 2, "the others have it")
        expect(membership(s, s.a) is Membership.DRAINING, "A is being emptied")


def a_late_write_and_a_drain_that_is_undone() -> None:
    """A write lands on A, where no ring looks for it by then, as its drain is undone."""
    with scene(nodes=5) as s:
        s.a.weather.foretell("put", KEY, Fate.SILENT_LATE, there_s=500.0)
        s.ends(s.world.put(KEY, b"v2"))
        acts(s, "drain", s.a)
        s.until(lambda: s.assembly.changes.phase() == "emptying", "emptying", HOUR_S)
        acts(s, "undo", s.a)
        s.world.sleep(600.0)
        s.read_in_every_way()
        until(s, s.a, Membership.MEMBER)


def an_act_is_cut_short_while_it_is_remembered() -> None:
    """B is to weigh more, and who asked goes while nodes write it down: it isn't so, and stays so.

    Nor does the next gateway find it on a node, and begin it of its own accord.
    """
    with scene(nodes=4) as s:
        acting = s.world.acts("weigh", s.b.name, weight=3.0)
        acting.client_leaves()
        s.world.sleep(60.0)
        s.restart_gateway()
        s.world.until_ready()
        standing = s.assembly.changes.standing(s.b.name)
        expect(standing is not None and not standing.moves, f"nothing is begun: {standing}")


def a_drain_is_asked_for_again_after_its_undoing_failed() -> None:
    """A alone took that its drain is undone; it is to be drained: it is, whatever A tells."""
    with scene(nodes=4) as s:
        _some(s, 12)
        acts(s, "drain", s.a)
        _undone_on_one_alone(s, s.a, s.a)
        acts(s, "drain", s.a)
        s.restart_gateway()
        s.world.until_ready()
        until(s, s.a, Membership.DRAINED)


def a_removal_is_asked_for_again_after_its_undoing_failed() -> None:
    """B alone took that the removal of A is undone; A is to be removed: it is, whatever B tells."""
    with scene(nodes=4) as s:
        s.world.sleep(120.0)
        s.a.kill()
        s.world.look_around()
        s.until(lambda: s.state(s.a) == "down", "noticed")
        for node in (s.b, s.c, *s.others):
            for _ in range(200):
                node.weather.foretell("list", "", Fate.REFUSED)
        acts(s, "remove", s.a)
        _undone_on_one_alone(s, s.a, s.b)
        acts(s, "remove", s.a)
        s.restart_gateway()
        for node in s.world.nodes.values():
            node.weather.foretold.clear()
        s.world.until_ready()
        until(s, s.a, Membership.REMOVED)


def two_drains_and_a_kill() -> None:
    """A is drained, and B is to be; the gateway is killed in each phase: both are, in the end."""
    with scene(nodes=5) as s:
        _some(s, 8)
        acts(s, "drain", s.a)
        acts(s, "drain", s.b)
        expect([each for each, _ in s.assembly.changes.queue()] == [s.b.name], "B waits")
        s.restart_gateway()
        s.world.until_ready()
        s.until(lambda: s.assembly.changes.phase() == "emptying", "emptying", HOUR_S)
        s.restart_gateway()
        s.world.until_ready()
        until(s, s.a, Membership.DRAINED)
        until(s, s.b, Membership.DRAINED)
        s.read_in_every_way()


def a_clean_stop_in_the_middle_of_a_change() -> None:
    """The gateway is stopped while A is drained, twice; it goes on where it was."""
    with scene(nodes=4) as s:
        keys = _some(s, 8)
        acts(s, "drain", s.a)
        s.world.pass_time(0.5)
        s.restart_gateway(clean=True)
        s.world.until_ready()
        for key in keys:
            s.does(s.world.get(key))
        s.until(lambda: s.assembly.changes.phase() == "emptying", "emptying", HOUR_S)
        s.restart_gateway(clean=True)
        s.world.until_ready()
        for key in keys:
            s.does(s.world.get(key))
        until(s, s.a, Membership.DRAINED)


def a_node_is_added_while_another_drains() -> None:
    """E comes while A is being drained: it waits, and gets its share afterwards."""
    with scene(nodes=4) as s:
        keys = _some(s, 12)
        acts(s, "drain", s.a)
        added = s.world.add_node()
        for key in keys:
            s.does(s.world.put(key, b"v2"))
        until(s, s.a, Membership.DRAINED)
        until(s, added, Membership.MEMBER)


# -- removing --------------------------------------------------------------------------------------


def a_node_is_lost_for_ever() -> None:
    """A burns down and is removed: all has two copies again, in the ring without it."""
    with scene(nodes=4) as s:
        keys = _some(s, 12)
        s.world.lose_for_ever(s.a.name)
        s.world.look_around()
        s.until(lambda: s.state(s.a) == "down", "noticed")
        acts(s, "remove", s.a)
        for key in keys:
            s.does(s.world.get(key))
        until(s, s.a, Membership.REMOVED)
        s.b.kill()
        s.world.pass_time(10.0)
        for key in keys:
            s.does(s.world.get(key))
        s.b.start()


def a_node_burns_down_before_it_was_a_member() -> None:
    """E is added, and gone before anything was known of it: nobody waits for it."""
    with scene() as s:
        added = s.world.add_node()
        s.world.lose_for_ever(added.name)
        s.world.look_around()
        s.world.sleep(60.0)
        expect(membership(s, added) is None, "E was never taken in")
        s.does(s.world.put(KEY, b"v2"))
        s.read_in_every_way()


def a_draining_node_is_lost_for_ever() -> None:
    """A is being drained, and burns down in the middle of it; it is removed."""
    with scene(nodes=4) as s:
        keys = _some(s, 12)
        acts(s, "drain", s.a)
        s.world.pass_time(0.5)
        s.world.lose_for_ever(s.a.name)
        s.world.look_around()
        s.until(lambda: s.state(s.a) == "down", "noticed")
        _removes(s, s.a)
        for key in keys:
            s.does(s.world.get(key))
        until(s, s.a, Membership.REMOVED)


def a_node_is_replaced_by_a_new_one() -> None:
    """A burns down; E is added first, as one does; then A is removed, which isn't refused."""
    with scene(nodes=4) as s:
        _some(s, 6)
        s.world.lose_for_ever(s.a.name)
        added = s.world.add_node()
        s.until(lambda: membership(s, added) is not None, "E joins", HOUR_S)
        s.world.sleep(300.0)
        acts(s, "remove", s.a)
        until(s, s.a, Membership.REMOVED)
        until(s, added, Membership.MEMBER)


def a_removed_node_comes_back_with_what_it_had() -> None:
    """A was away, and removed; what it has is deleted, and forgotten; then A is there again."""
    with scene(nodes=4) as s:
        s.a.kill()
        s.world.look_around()
        s.until(lambda: s.state(s.a) == "down", "noticed")
        s.world.sleep(60.0)
        acts(s, "remove", s.a)
        until(s, s.a, Membership.REMOVED)
        s.does(s.world.delete(KEY))
        s.world.sleep(9 * DAY_S, leap_s=HOUR_S)
        s.a.start()
        s.world.look_around()
        s.world.sleep(120.0)
        s.read_in_every_way()
        s.restart_gateway()
        s.world.until_ready()
        s.world.sleep(120.0)
        s.read_in_every_way()


def a_node_comes_back_while_it_is_removed() -> None:
    """A is back, and not asked; its removal is taken back, and it is compared with the others."""
    with scene(nodes=4) as s:
        s.a.kill()
        s.world.look_around()
        s.until(lambda: s.state(s.a) == "down", "noticed")
        s.does(s.world.put(KEY, b"v2"))
        s.world.sleep(60.0)
        for node in (s.b, s.c, *s.others):
            for _ in range(200):
                node.weather.foretell("list", "", Fate.REFUSED)
        acts(s, "remove", s.a)
        s.a.start()
        s.world.look_around()
        s.world.pass_time(30.0)
        s.read_in_every_way()
        expect(membership(s, s.a) is Membership.REMOVING, "it is being removed yet")
        for node in s.world.nodes.values():
            node.weather.foretold.clear()
        acts(s, "undo", s.a)
        until(s, s.a, Membership.MEMBER)
        s.read_in_every_way()


def the_last_copy_is_on_a_node_that_is_away() -> None:
    """v2 is on A and on B, and B has lost it; A is away: it can't be removed before it was back."""
    with scene(nodes=4) as s:
        s.does(s.world.put(KEY, b"v2"))
        s.a.kill()
        s.reboots(s.b, lost_s=5.0)
        s.until(lambda: s.state(s.a) == "down", "noticed")
        for _ in range(20):
            _refused(s, "remove", s.a)
            s.world.pass_time(10.0)
        s.a.start()
        s.world.look_around()
        s.until(lambda: s.state(s.a) == "up", "up", HOUR_S)
        s.read_in_every_way()


def the_newest_version_is_known_by_its_mark() -> None:
    """PUT v2 is on A alone by the time that A goes: the mark says so, and A isn't removed."""
    with scene(nodes=4) as s:
        s.world.sleep(120.0)
        for node in (s.b, s.c, *s.others):
            node.weather.foretell("put", KEY, Fate.REFUSED)
        s.ends(s.world.put(KEY, b"v2"))
        s.a.kill()
        s.b.kill()
        s.until(lambda: s.state(s.a) == s.state(s.b) == "down", "noticed")
        for _ in range(6):
            _refused(s, "remove", s.a)
            _refused(s, "remove", s.b)
            s.world.pass_time(10.0)
        s.a.start()
        s.b.start()
        s.world.look_around()
        s.world.sleep(120.0)
        s.read_in_every_way()


def both_who_had_it_are_away() -> None:
    """B and C are away: neither can be removed, as the other one may be gone, too."""
    with scene(nodes=4) as s:
        _some(s, 4)
        s.b.kill()
        s.c.kill()
        s.until(lambda: s.state(s.b) == s.state(s.c) == "down", "noticed")
        _refused(s, "remove", s.b)
        s.b.start()
        s.c.start()
        s.world.look_around()


def a_drained_node_is_removed_and_blank() -> None:
    """Nothing of ours is left on it; it isn't taken in again by itself, as long as it is there."""
    with scene(nodes=4) as s:
        acts(s, "drain", s.a)
        until(s, s.a, Membership.DRAINED)
        acts(s, "remove", s.a)
        expect(SYSTEM_BUCKET not in s.a.disk.buckets, "it is blank")
        s.world.sleep(300.0)
        expect(membership(s, s.a) is Membership.REMOVED, "it is out")
        s.read_in_every_way()


def a_removed_node_comes_again_as_a_new_one() -> None:
    """A weighs more and is elsewhere; it is drained, removed, and adopted: that is forgotten."""
    with scene(nodes=4) as s:
        acts(s, "weigh", s.a, weight=3.0)
        acts(s, "rezone", s.a, zone=s.b.name)
        s.until(lambda: not s.assembly.changes.changing, "over", HOUR_S)
        acts(s, "drain", s.a)
        until(s, s.a, Membership.DRAINED)
        acts(s, "remove", s.a)
        s.world.pass_time(5.0)
        acts(s, "adopt", s.a)
        until(s, s.a, Membership.MEMBER)


def a_removed_node_is_replaced_at_once() -> None:
    """A has lost all, and is away for a moment as it is removed: it is back, and joins anew."""
    with scene(nodes=4) as s:
        is_wiped(s.a)
        s.a.kill()
        s.world.look_around()
        s.until(lambda: s.state(s.a) == "down", "noticed")
        s.world.sleep(60.0)
        acting = s.world.acts("remove", s.a.name)
        s.a.start()
        s.world.look_around()
        s.world.pass_time(30.0)
        expect(acting.error is None, f"{acting.what}: {acting.outcome}")
        until(s, s.a, Membership.MEMBER)


def a_removed_node_leaves_uploads_behind() -> None:
    """A client's upload was open on A when that burned down: after a week nobody remembers it."""
    with scene(nodes=4) as s:
        upload = s.ends(s.world.begin_upload(KEY)).upload
        assert upload is not None and s.a.name in upload.ids
        s.world.lose_for_ever(s.a.name)
        s.world.look_around()
        s.until(lambda: s.state(s.a) == "down", "noticed")
        acts(s, "remove", s.a)
        until(s, s.a, Membership.REMOVED)


def a_node_is_lost_while_an_upload_keeps_another_from_being_drained() -> None:
    """B burns down, and only `--lose` takes it out, as C was away; A waits for an upload."""
    with scene(nodes=5) as s:
        upload = s.ends(s.world.begin_upload(KEY)).upload
        assert upload is not None and s.a.name in upload.ids
        acts(s, "drain", s.a)
        s.until(lambda: s.assembly.changes.phase() == "emptying", "emptying", HOUR_S)
        s.world.lose_for_ever(s.b.name)
        s.world.look_around()
        s.reboots(s.c, lost_s=0.0)
        s.until(lambda: s.state(s.b) == "down", "noticed")
        _refused(s, "remove", s.b)


def a_removed_node_comes_back_with_an_upload() -> None:
    """A client's upload is open on A, which is removed, and back with all it had: it stays so.

    Nothing on A is touched. On the others it is over after a week.
    """
    with scene(nodes=4) as s:
        upload = s.ends(s.world.begin_upload(KEY)).upload
        assert upload is not None and s.a.name in upload.ids
        s.a.kill()
        s.until(lambda: s.state(s.a) == "down", "noticed")
        _removes(s, s.a)
        until(s, s.a, Membership.REMOVED)
        s.a.start()
        s.world.look_around()


def an_upload_is_completed_before_one_of_its_nodes_is_removed() -> None:
    """A is away when a client's upload is completed, is removed, and back with all it had.

    The upload is open on A, which is nobody's to touch, and nowhere else.
    """
    with scene(nodes=4) as s:
        upload = s.ends(s.world.begin_upload(KEY)).upload
        assert upload is not None and s.a.name in upload.ids
        s.does(s.world.send_part(upload, 1, b"v2"))
        s.a.kill()
        s.until(lambda: s.state(s.a) == "down", "noticed")
        s.does(s.world.complete_upload(upload))
        _removes(s, s.a)
        until(s, s.a, Membership.REMOVED)
        s.a.start()
        s.world.look_around()
        s.world.quiet()
        expect(bool(s.a.disk.uploads), "it is left alone")
        expect(not any(node.disk.uploads for node in (s.b, s.c, *s.others)), "it is over")


def an_upload_begins_on_a_node_that_was_removed() -> None:
    """C stands still when an upload is to begin there, is removed, and goes on when it is over.

    It holds no object, joins, and has the upload open.
    """
    with scene(nodes=4) as s:
        s.c.freeze()
        upload = s.ends(s.world.begin_upload(KEY)).upload
        assert upload is not None and s.c.name not in upload.ids
        s.until(lambda: s.state(s.c) == "down", "noticed", HOUR_S)
        s.does(s.world.send_part(upload, 1, b"v2"))
        _removes(s, s.c)
        until(s, s.c, Membership.REMOVED)
        s.does(s.world.complete_upload(upload))
        s.world.sleep(120.0)
        s.c.thaw()
        s.world.look_around()
        until(s, s.c, Membership.MEMBER)
        expect(bool(s.c.disk.uploads), "it is open there")


# -- the share that moves --------------------------------------------------------------------------


def what_moves_is_what_the_ring_says() -> None:
    """A node is drained, one is added, one is weighed: each copy that is made has to be."""
    with scene(nodes=4) as s:
        keys = _some(s, 60)
        s.world.sleep(120.0)
        for verb, name, how in (
            ("drain", s.a.name, {}),
            ("undrain", s.a.name, {}),
            ("weigh", s.b.name, {"weight": 3.0}),
            ("rezone", s.c.name, {"zone": s.b.name}),
        ):
            before = _places(s, keys)
            made = _made(s)
            acts(s, verb, s.world.node(name), **how)
            s.until(lambda: s.assembly.changes.changing, "changing")
            s.until(lambda: not s.assembly.changes.changing, "over", HOUR_S)
            s.world.sleep(300.0)  # what doesn't belong there any more goes
            after = _places(s, keys)
            wanted = sum(len(after[key] - before[key]) for key in keys)
            told = f"{verb}: {_made(s) - made} copies made, {wanted} wanted"
            expect(_made(s) - made == wanted > 0, told)


# -- what is expected ------------------------------------------------------------------------------


def expect(holds: bool, what: str) -> None:
    """It is so, or nothing is worth looking at."""
    if not holds:
        raise PromiseBroken(f"it isn't so: {what}")


def acts(s: Scene, verb: str, node: SimulatedNode, **how: object) -> None:
    """The operator's act is accepted."""
    acting = s.world.acts(verb, node.name, **how)
    s.world.wait(acting)
    expect(acting.error is None, f"{acting.what}: {acting.outcome}")


def _undone_on_one_alone(s: Scene, node: SimulatedNode, one: SimulatedNode) -> None:
    """Too few take that the last act on `node` is undone, and `one` does."""
    for each in s.world.nodes.values():
        if each is not one:
            each.weather.foretell("put", f"members/{node.name}", Fate.REFUSED)
    s.fails(s.world.acts("undo", node.name))


def _removes(s: Scene, node: SimulatedNode) -> None:
    """As soon as it can be: the others have to be compared before."""
    until_s = s.world.clock.seconds() + HOUR_S
    while True:
        acting = s.world.acts("remove", node.name)
        s.world.wait(acting)
        if not acting.refused:
            return
        expect(s.world.clock.seconds() < until_s, f"{acting.what}: {acting.outcome}")
        s.world.sleep(30.0)


def _refused(s: Scene, verb: str, node: SimulatedNode) -> None:
    acting = s.world.acts(verb, node.name)
    s.world.wait(acting)
    s.world.check()
    expect(acting.refused, f"{acting.what} is refused: {acting.outcome}")


def membership(s: Scene, node: SimulatedNode) -> Membership | None:
    """Where the node stands."""
    return s.world.operator.membership(node.name)


def until(s: Scene, node: SimulatedNode, wanted: Membership) -> None:
    """Let time pass until it stands there."""
    until_s = s.world.clock.seconds() + 3 * HOUR_S
    while membership(s, node) is not wanted:
        there = f"{node.name} is {membership(s, node)}, not {wanted}"
        expect(s.world.clock.seconds() < until_s, there)
        s.world.sleep(5.0)


# -- places ----------------------------------------------------------------------------------------


def _some(s: Scene, count: int) -> list[str]:
    """So many keys, with an object each."""
    keys = [f"x{number}" for number in range(count)]
    for key in keys:
        s.does(s.world.put(key, b"of " + key.encode()))
    return [KEY, *keys]


def _places(s: Scene, keys: list[str]) -> dict[str, set[str]]:
    return {key: {node.name for node in s.world.primaries(key)} for key in keys}


def _made(s: Scene) -> int:
    return sum(_copies_made(line) for line in s.lines if "swept" in line)


def _copies_made(line: str) -> int:
    return int(line.partition(" keys: ")[2].partition(" copies made")[0])


STORIES: tuple[Callable[[], None], ...] = (
    a_node_is_drained_while_clients_write,
    what_stood_in_is_listed_late,
    a_write_lands_late_on_a_draining_node,
    a_write_of_a_killed_gateway_lands_on_a_draining_node,
    only_a_node_whose_clock_is_off_is_left,
    an_upload_is_open_across_a_drain,
    an_upload_comes_back_when_its_node_is_drained,
    a_long_put_flows_across_a_drain,
    a_record_of_an_upload_that_ended_comes_back,
    an_upload_that_ended_is_open_again,
    a_target_refuses_its_copies_during_a_drain,
    a_drained_node_has_what_others_refused,
    a_bucket_is_deleted_while_a_node_is_drained,
    a_drained_disk_falls_back,
    a_drained_node_is_taken_in_again_where_each_is_needed,
    a_draining_node_loses_power,
    nothing_is_forgotten_while_a_change_stands_still,
    repair_is_paused_while_a_node_is_drained,
    a_drain_is_undone_when_half_is_done,
    fewer_nodes_than_copies_are_left,
    a_late_write_and_a_drain_that_is_undone,
    an_act_is_cut_short_while_it_is_remembered,
    a_drain_is_asked_for_again_after_its_undoing_failed,
    a_removal_is_asked_for_again_after_its_undoing_failed,
    two_drains_and_a_kill,
    a_clean_stop_in_the_middle_of_a_change,
    a_node_is_added_while_another_drains,
    a_node_is_lost_for_ever,
    a_node_burns_down_before_it_was_a_member,
    a_draining_node_is_lost_for_ever,
    a_node_is_replaced_by_a_new_one,
    a_removed_node_comes_back_with_what_it_had,
    a_node_comes_back_while_it_is_removed,
    the_last_copy_is_on_a_node_that_is_away,
    the_newest_version_is_known_by_its_mark,
    both_who_had_it_are_away,
    a_drained_node_is_removed_and_blank,
    a_removed_node_comes_again_as_a_new_one,
    a_removed_node_is_replaced_at_once,
    a_removed_node_leaves_uploads_behind,
    a_node_is_lost_while_an_upload_keeps_another_from_being_drained,
    a_removed_node_comes_back_with_an_upload,
    an_upload_is_completed_before_one_of_its_nodes_is_removed,
    an_upload_begins_on_a_node_that_was_removed,
    what_moves_is_what_the_ring_says,
)
