"""What can be wrong with a cluster as a whole, and what to do about it. Asks nobody."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version

from aosd.assembly import Assembly
from aosd.doors.operations.moments import span
from aosd.model.check import Check
from aosd.model.node import NodeState
from aosd.model.standing import Act, Queued

_OLD_MARK_S = 3600.0


def check_cluster(assembly: Assembly, *, now_s: float, sweep_interval_s: float) -> list[Check]:
    """One check each of what there is to look at; see docs/operations.md."""
    return [
        _ready(assembly),
        *_providers(assembly),
        _members(assembly),
        _enough(assembly),
        _weights(assembly),
        _gateways(assembly),
        _change(assembly),
        *_leaving(assembly),
        _marks(assembly),
        _sweep(assembly, now_s, sweep_interval_s),
        _repair(assembly),
        _versions(),
    ]


def _ready(assembly: Assembly) -> Check:
    ready, why = assembly.ready()
    if ready:
        return Check("ready", True, "requests are served")
    return Check("ready", False, why, "see to what is named here; it is tried again all the time")


def _providers(assembly: Assembly) -> Iterable[Check]:
    roster = assembly.roster
    for state in roster.providers:
        name = state.discovery.name
        if state.trouble:
            do = "mend that: nodes that change their address aren't found meanwhile"
            yield Check("providers", False, f"{name}: {state.trouble}", do)
        elif not state.reported:
            yield Check("providers", None, f"{name} hasn't reported yet")
        else:
            yield Check("providers", True, f"{name} sees {len(state.sightings)} nodes")
    for where, trouble in sorted(roster.troubles.items()):
        do = "mend that, or take the label or the name away by which it was found"
        yield Check("providers", True, f"{where} can't be used: {trouble}", do)


def _members(assembly: Assembly) -> Check:
    watched = assembly.roster.watched
    members = assembly.roster.members()
    said = {each.name: f"{each.name} is {each.state}" for each in members}
    for name, words in said.items():
        if why := watched[name].why:
            said[name] = f"{words} ({why})"
    down = [said[each.name] for each in members if each.state is NodeState.DOWN]
    if down:
        do = "start it again; if it is lost for good: aosctl node remove, and others get its copies"
        return Check("members", False, "; ".join(down), do)
    other = [said[each.name] for each in members if each.state is not NodeState.UP]
    if other:
        do = "wait: it is looked at by itself; a full one needs space"
        return Check("members", True, "; ".join(other), do)
    return Check("members", True, f"all {len(members)} are up")


def _enough(assembly: Assembly) -> Check:
    replicas = assembly.store.replicas
    # A node that is on its way out takes what the former ring wants, and no more.
    ring = assembly.roster.ring.members
    members = [each for each in assembly.roster.members() if each.name in ring]
    takers = [each for each in members if each.state is NodeState.UP]
    found = f"nodes that take writes: {len(takers)}; each write goes to {replicas}"
    if len(takers) < replicas:
        return Check(
            "enough nodes", False, found, f"start or add nodes: there should be {replicas + 1}"
        )
    if len(takers) == replicas:
        return Check(
            "enough nodes", True, found, "add a node, or writes are refused while one is away"
        )
    return Check("enough nodes", True, found)


def _weights(assembly: Assembly) -> Check:
    saturated = assembly.roster.ring.saturated(assembly.store.replicas)
    if not saturated:
        return Check("weights", True, "each node gets the share that its weight asks for")
    names = ", ".join(saturated)
    return Check(
        "weights",
        True,
        f"{names} should get more than one copy of some keys, and gets one of each",
        "weigh it less, or the others more, if disks fill up unevenly",
    )


def _gateways(assembly: Assembly) -> Check:
    heartbeat = assembly.heartbeat
    if heartbeat.other:
        return Check(
            "gateways",
            False,
            f"another gateway ({heartbeat.other}) uses these nodes: writes are refused",
            "stop one of the two",
        )
    if not heartbeat.alone:
        return Check("gateways", None, "whether there is another gateway isn't known yet")
    return Check("gateways", True, "this is the only gateway")


def _change(assembly: Assembly) -> Check:
    changes = assembly.changes
    waiting = [f"{_acts(queued)} of {name}" for name, queued in changes.queue()]
    told, wait = ", ".join(waiting), "waits" if len(waiting) == 1 else "wait"
    if not changes.changing:
        after = f"; {told} {wait}" if waiting else ""
        return Check("change", True, f"no change of the ring is under way{after}")
    after = f"; {told} {wait} for it" if waiting else ""
    nodes = [each.name for each in changes.standings() if each.moves or each.strays]
    words = f"{changes.phase()}: {', '.join(nodes)}{after}"
    if why := changes.waiting_for():
        return Check("change", True, f"{words}; it waits, as {why}", "see to that, or undo it")
    return Check("change", True, words)


def _acts(queued: Queued) -> str:
    """A weight and a zone wait together, and are called by one of the two."""
    is_both = queued.weight is not None and queued.zone is not None
    return f"{Act.WEIGH} and {Act.REZONE}" if is_both else str(queued.act)


def _leaving(assembly: Assembly) -> Iterable[Check]:
    told = assembly.leaving.told()
    if told is not None:
        waits = f"; it waits: {', '.join(told['waits'])}" if told["waits"] else ""
        yield Check("leaving", True, f"this cluster is being left: {told['phase']}{waits}")


def _marks(assembly: Assembly) -> Check:
    marks = assembly.marks
    oldest_s = marks.oldest_s()
    if oldest_s is None:
        return Check("marks", True, "no key is marked as in doubt")
    age_s = assembly.store.clock.seconds() - oldest_s
    found = f"{len(marks)} say that copies may differ, the oldest for {span(age_s)}"
    if age_s > _OLD_MARK_S:
        do = "bring back the nodes that are away: a mark is settled once all of its nodes answer"
        return Check("marks", False, found, do)
    return Check("marks", True, found, "wait: they are looked at one after the other")


def _sweep(assembly: Assembly, now_s: float, interval_s: float) -> Check:
    names = [each.name for each in assembly.roster.members()]
    last = assembly.keeper.report()["last_sweep"]
    ago = "" if last is None else f", the last one {span(now_s - last['ended_s'])} ago"
    if not assembly.settled.is_covered(*names):
        do = "wait: a sweep begins by itself once all nodes answer"
        return Check("sweep", True, f"no one sweep has compared all nodes yet{ago}", do)
    if last is not None and now_s - last["ended_s"] > 2 * interval_s:
        return Check("sweep", False, f"all nodes were compared{ago}", "aosctl repair start")
    return Check("sweep", True, f"all nodes were compared{ago}")


def _repair(assembly: Assembly) -> Check:
    if assembly.keeper.paused:
        do = "aosctl repair start, or nodes that return, and changes of the ring, wait for ever"
        return Check("repair", True, "repair is paused", do)
    return Check("repair", True, "repair goes on by itself")


def _versions() -> Check:
    parts = [f"{name} {version(name)}" for name in ("aosd", "Twisted", "minio")]
    return Check("versions", True, f"{', '.join(parts)}, Python {platform.python_version()}")
