"""What is wrong with a node, found out by asking it, and what to do about it. Blocking.

For the daemon, which runs it in a thread, and for whoever looks when no daemon answers.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from hashlib import md5

from aosd.cluster.member import CLOCK_REFUSAL_S, CLOCK_WARNING_S
from aosd.model.check import Check
from aosd.model.errors import NodeError, NodeNonsense, NodeRefused, NodeTimeout
from aosd.model.marker import MARKER_KEY, Introduction, Marker, read_marker
from aosd.model.node import Address, Credentials
from aosd.model.objects import SYSTEM_BUCKET
from aosd.nodes.asking import Answer, Asking
from aosd.nodes.capabilities import PROBES
from aosd.nodes.provision import introduce, problem_of
from aosd.nodes.space import Space, space_of

CHECKS = ("reachable", "credentials", "clock", "marker", "probe", "space")
"""What is looked at, in this order: each where those before it allow it."""

_ANY_ERROR = tuple(range(400, 600))
_FORBIDDEN = (401, 403)
_UNAVAILABLE = 503
_LITTLE = 0.10
_NEXT_TO_NOTHING = 0.02
_DATA = b"what aosd looks with whether a node stores"
_FULL = ("XMinioStorageFull", "InsufficientStorage", "QuotaExceeded")
_NO_SPACE = 507
# "HTTPConnection(host='h', port=1): Failed to establish a new connection: [Errno 111] "
_LIBRARYS_OWN = re.compile(r"HTTPS?Connection\(.*\): .*?(\[Errno [0-9-]+\] |(?=\())")
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
_CREDENTIALS = {
    "InvalidAccessKeyId": (
        "it doesn't know the access key",
        "give the node's provider the access key that the server was started with, or make this "
        "one on the server",
    ),
    "SignatureDoesNotMatch": (
        "the secret key is another one: it knows the access key, and not the signature",
        "give the node's provider the secret key that belongs to its access key",
    ),
    "AccessDenied": (
        "it knows the credentials, and they may not read its bucket aos-system",
        "use credentials that may do everything on the node: aosd makes buckets there",
    ),
}


def examine(
    name: str,
    address: Address,
    credentials: Credentials,
    *,
    cluster: str = "",
    incarnation: str = "",
    member: bool = False,
    now: Callable[[], float] = time.time,
) -> tuple[Check, ...]:
    """All CHECKS of one node, in their order. Never raises for what the node does.

    `cluster` is the id of the cluster that asks ("" when nobody knows it), `member` whether
    the node belongs to it, `incarnation` the one that it is remembered with. `now` gives
    seconds since 1970. A member is tried out with one object in `aos-system`, which is gone
    again afterwards; a node that isn't one as at its first contact (see `introduce`), unless
    it is somebody else's: then nothing is written. Some seconds for a node that doesn't answer.
    """
    return tuple(_Examination(name, address, credentials, cluster, incarnation, now).run(member))


class _Examination:
    def __init__(
        self,
        name: str,
        address: Address,
        credentials: Credentials,
        cluster: str,
        incarnation: str,
        now: Callable[[], float],
    ) -> None:
        self._name = name
        self._address = address
        self._credentials = credentials
        self._cluster = cluster
        self._incarnation = incarnation
        self._now = now

    def run(self, member: bool) -> Iterable[Check]:
        with Asking(self._name, self._address, self._credentials) as asking:
            try:
                answer = asking.ask("GET", SYSTEM_BUCKET, MARKER_KEY, well=_ANY_ERROR)
            except NodeError as error:
                yield self._unreachable(error)
                yield from _unknown(CHECKS[1:], "it can't be asked")
                return
            yield self._reachable(answer)
            credentials = _credentials(answer)
            yield credentials
            yield _clock(answer, self._now())
            if not credentials.ok:
                yield from _unknown(CHECKS[3:], "it doesn't let us in")
                return
            marker, ours = self._marker(answer, member)
            yield marker
            probe = self._probe(asking, member, ours)
            yield probe
            yield _space(space_of(self._address, self._credentials), probe)

    # -- each of them -----------------------------------------------------------------------------

    def _unreachable(self, error: NodeError) -> Check:
        where = self._address.url
        if isinstance(error, NodeTimeout):
            do = "look at the server's log and its disks: it takes connections, and stands still"
        elif isinstance(error, NodeNonsense):
            do = "see what listens there: it isn't an S3 server"
        else:
            do = "start the server, or see what stands between: a firewall, a name, another port"
        return Check("reachable", False, f"{where}: {_words(error)}", do)

    def _reachable(self, answer: Answer) -> Check:
        if answer.status == _UNAVAILABLE:
            return Check(
                "reachable",
                False,
                f"{self._address.url}: it answers, and isn't ready ({answer.code})",
                "wait while it starts; look at the server's log if that takes more than a minute",
            )
        return Check("reachable", True, f"it answers at {self._address.url}")

    def _marker(self, answer: Answer, member: bool) -> tuple[Check, bool | None]:
        """What its marker tells; and whether it may be written to (None: if it is blank)."""
        if answer.code:
            if answer.status != 404:
                found = f"its {MARKER_KEY} can't be read ({answer.code})"
                return Check("marker", None, found, "look at the server's log"), False
            if not member:
                return Check("marker", True, "none: it belongs to no cluster yet"), None
            return Check(
                "marker",
                False,
                "its marker is gone: its disk is empty, or another one",
                "nothing if you gave it another disk, it is filled again; otherwise find its "
                "disk before you start it again",
            ), False
        try:
            marker = read_marker(self._name, answer.data)
        except NodeNonsense as error:
            do = "find out who wrote it: aosd leaves the node alone as long as it is there"
            return Check("marker", False, _words(error), do), False
        return self._of_marker(marker, member)

    def _of_marker(self, marker: Marker, member: bool) -> tuple[Check, bool | None]:
        if marker.node != self._name:
            return Check(
                "marker",
                False,
                f"it holds the data of node {marker.node}",
                f"let it run under the name {marker.node}, or give it its own disk",
            ), False
        if not self._cluster:
            whose = f"it belongs to the cluster {marker.cluster}" if marker.cluster else "ours"
            return Check("marker", True, whose), True
        if marker.cluster not in ("", self._cluster):
            return Check(
                "marker",
                False,
                f"it belongs to another cluster, {marker.cluster}",
                "see that each gateway finds its own nodes only; to use it here, let its own "
                "cluster leave it first",
            ), False
        if member and self._incarnation and marker.incarnation != self._incarnation:
            return Check(
                "marker",
                False,
                "ours, of another disk than the one that is remembered",
                "nothing if you gave it another disk: it is filled again; otherwise find its disk",
            ), True
        return Check("marker", True, "ours"), True

    def _probe(self, asking: Asking, member: bool, ours: bool | None) -> Check:
        if ours is False:
            return Check("probe", None, "not tried: nothing is written to a node that isn't ours")
        try:
            if not member:
                return self._tried_out(introduce(*self._who, probe=True))
            if problem := problem_of(asking):
                return _unusable(problem)
            return _stores(asking)
        except NodeRefused as error:
            if error.code in _FULL or error.status == _NO_SPACE:
                return Check(
                    "probe",
                    False,
                    f"it refuses writes for lack of space ({error.code})",
                    "give it more space, or drain it: writes go to other nodes meanwhile",
                )
            return Check("probe", False, _words(error), "look at the server's log")
        except NodeError as error:
            return Check("probe", False, _words(error), "look at the server's log and its disks")

    @property
    def _who(self) -> tuple[str, Address, Credentials]:
        return self._name, self._address, self._credentials

    def _tried_out(self, found: Introduction) -> Check:
        if found.problem:
            return _unusable(found.problem)
        if found.objects and found.marker is None:
            return Check(
                "probe",
                True,
                "it holds objects that this cluster didn't write; more wasn't tried",
                f"aosctl node adopt {self._name} takes it in with them; else empty it",
            )
        ways = [
            words
            for is_so, words in (
                (not found.checks_sha256, "doesn't check digests (aosd does)"),
                (not found.conditional_put, "doesn't honour conditional writes"),
                (not found.sorted_listing, "lists in an order of its own"),
                (found.hides_beneath, "hides keys beneath other keys in listings"),
            )
            if is_so
        ]
        return Check("probe", True, "it stores as S3 does" + "".join(f"; {way}" for way in ways))


def _unknown(what: Iterable[str], why: str) -> Iterable[Check]:
    return (Check(each, None, f"not known: {why}") for each in what)


def _words(error: NodeError) -> str:
    """What the error says, without the node's name and its address, which stand beside it."""
    words = str(error).removeprefix(f"node {error.node}: ")
    return _LIBRARYS_OWN.sub("", words)


def _credentials(answer: Answer) -> Check:
    if answer.code == "RequestTimeTooSkewed":
        return Check("credentials", None, "not known: it refuses signatures of another time")
    if answer.status in _FORBIDDEN:
        found, do = _CREDENTIALS.get(
            answer.code, (f"it refuses them ({answer.code})", "see who may do what on the node")
        )
        return Check("credentials", False, found, do)
    if answer.code and answer.status != 404:
        return Check("credentials", None, f"not known: it answers {answer.status} ({answer.code})")
    return Check("credentials", True, "it lets us in")


def _clock(answer: Answer, now_s: float) -> Check:
    try:
        told_s = parsedate_to_datetime(answer.date).timestamp()
    except ValueError:
        return Check("clock", None, "it doesn't tell its time")
    # Whole seconds are told: on average half a second of them is over.
    ahead_s = told_s + 0.5 - now_s
    far = f"its clock is {ahead_s:+.0f} s from ours"
    do = "let the clocks be set by NTP on the node's host and on ours"
    if abs(ahead_s) > CLOCK_REFUSAL_S:
        return Check("clock", False, far, f"{do}; nodes refuse requests 15 minutes off")
    if abs(ahead_s) > CLOCK_WARNING_S:
        return Check("clock", True, far, do)
    return Check("clock", True, "it has our time, to a second or so")


def _stores(asking: Asking) -> Check:
    """Put an object, get it, and remove it."""
    key = f"{PROBES}/{secrets.token_hex(8)}"
    try:
        put = asking.ask("PUT", SYSTEM_BUCKET, key, body=_DATA)
        got = asking.ask("GET", SYSTEM_BUCKET, key)
    finally:
        # Also when it gave no answer: it may be there.
        with suppress(NodeError):
            asking.ask("DELETE", SYSTEM_BUCKET, key)
    if got.data != _DATA:
        do = "take it out of use: remove it, and look at its disks"
        return Check("probe", False, "it gives back other bytes than it was given", do)
    if put.etag != md5(_DATA, usedforsecurity=False).hexdigest():
        return _unusable("its ETags aren't the MD5 of what is stored: encryption or the like is on")
    return Check("probe", True, "it stores, gives back and removes an object")


def _unusable(problem: str) -> Check:
    return Check("probe", False, problem, "turn that off on the server: copies can't agree with it")


def _space(space: Space | None, probe: Check) -> Check:
    refuses = probe.ok is False and "lack of space" in probe.found
    if space is None:
        if refuses:
            return Check("space", False, "it refuses writes for lack of space", probe.do)
        return Check("space", None, "not known: only MinIO tells, to who may do everything there")
    free = f"{_size(space.available_bytes)} of {_size(space.size_bytes)} are free"
    free += f" ({space.available_part:.0%} where it is fullest)"
    if space.drives_away:
        free += f"; {space.drives_away} of {space.drives} drives don't work"
    if refuses or space.available_part < _NEXT_TO_NOTHING:
        do = "give it more space now, or weigh it less: MinIO refuses writes when it is 99 % full"
        return Check("space", False, free, do)
    if space.available_part < _LITTLE:
        return Check("space", True, free, "give it more space, weigh it less, or add a node")
    if space.drives_away:
        return Check("space", True, free, "replace the drives that don't work")
    return Check("space", True, free)


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"
