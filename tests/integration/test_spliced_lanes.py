"""Bodies of lengths that are spliced, and others, in whatever pieces: both lanes say the same."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from threading import Thread

from tests.conftest import LANES, NAMES
from tests.integration.bodies import KIB, MIB, body, pieces
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, write_nodes_file
from tests.integration.splicing import spliced_bytes
from tests.integration.waiting import until
from tests.integration.wire import Wire, chunk, head

_TALKS = 16
_KEYS = ("spliceda", "splicedb")
_LENGTHS = (
    *(256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 300_007, 512 * KIB, MIB - 1, MIB + 1),
    *(1_234_567, 2 * MIB),
)
# What an answer has of its own, and what tells its time.
_OWN = re.compile(rb"^(?:date|last-modified|x-amz-request-id):[^\r]*\r\n", re.MULTILINE)
_OWN_JSON = re.compile(rb'"request_id": "\w+"')


@dataclass
class Talk:
    """Requests one behind the other on one connection, and how their bytes come.

    `sizes` are those of portions in turn. Its client leaves in the middle of the last request when
    only `sent` bytes are sent at all, and in the middle of the last answer when it reads `taken` of
    its body; None: it doesn't.
    """

    sizes: tuple[int, ...]
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    sent: int | None = None
    taken: int | None = None

    def ask(self, verb: str, target: str, data: bytes | None = None, **more: str) -> None:
        length = None if data is None else len(data)
        self.requests.append((verb, head(verb, target, more, length) + (data or b"")))

    def portions(self) -> Iterator[bytes]:
        raw, at = b"".join(raw for _, raw in self.requests)[: self.sent], 0
        for size in cycle(self.sizes):
            if at >= len(raw):
                return
            yield raw[at : at + size]
            at += size

    @property
    def answered(self) -> list[str]:
        """The verbs of those that are answered for certain, and to the end."""
        verbs = [verb for verb, _ in self.requests]
        return verbs if self.sent is None and self.taken is None else verbs[:-1]


def _talk(number: int) -> Talk:
    """The same for the same number."""
    chance = random.Random(number)
    sizes = [chance.choice((1, 17, 1_447, 40_009, 65_537, 299_993, MIB)) for _ in range(3)]
    talk = Talk((*sizes, 200_003))
    # Something to read comes first.
    for verb in ("PUT", *chance.choices(("PUT", "GET", "RANGE", "HEAD", "CHUNKS", "DELETE"), k=6)):
        target = f"/object/{chance.choice(_KEYS)}"
        data = body(chance.choice(_LENGTHS), chance.randrange(1_000))
        first = chance.randrange(250_000)
        if verb == "PUT":
            talk.ask(verb, target, data)
        elif verb == "CHUNKS":
            chunks = b"".join(map(chunk, pieces(data, 100_000))) + b"0\r\n\r\n"
            chunked = head("PUT", target, {"Transfer-Encoding": "chunked"})
            talk.requests.append(("PUT", chunked + chunks))
        elif verb == "RANGE":
            talk.ask("GET", target, Range=f"bytes={first}-{first + 700_001}")
        else:
            talk.ask(verb, target)
    target, data = f"/object/{_KEYS[0]}", body(chance.choice(_LENGTHS), number)
    leaves = number % 4
    if leaves == 1:
        talk.ask("PUT", target, data)
        talk.sent = len(b"".join(talk.portions())) - chance.randrange(1, len(data) + 50)
    elif leaves == 2:
        talk.ask("PUT", target, data)
        talk.ask("GET", target)
        talk.taken = chance.randrange(1, 250_000)
    elif leaves == 3:
        # A body that is refused before it came: nothing behind it is looked at.
        talk.ask("PUT", "/object/no-id", body(500_009) + head("DELETE", target) * 9)
    else:
        talk.ask("GET", target, Connection="close")
    return talk


def _send(wire: Wire, talk: Talk) -> None:
    with suppress(OSError):
        for portion in talk.portions():
            wire.send(portion)


def _said(daemon: Daemon, talk: Talk) -> list[object]:
    """What is answered, in order, and whether that is the end."""
    told: list[object] = []
    with Wire(daemon.port, 60.0) as wire:
        sender = Thread(target=_send, args=(wire, talk))
        sender.start()
        for verb in talk.answered:
            answer = wire.answer(verb)
            content = _OWN_JSON.sub(b"", answer.body)
            told += verb, _lines(answer.raw_head), hashlib.sha256(content).hexdigest()
        if talk.taken is not None:
            # No length is asked for: the rest is on its way already.
            raw_head = wire.read_head()
            content = wire.read_body(raw_head, talk.taken)
            told += _lines(raw_head), hashlib.sha256(content).hexdigest()
        sender.join()
        if talk.taken is None and talk.sent is None:
            told.append(wire.is_over())
        else:
            wire.vanish()
    return told


def _lines(raw_head: bytes) -> list[bytes]:
    return sorted(_OWN.sub(b"", raw_head + b"\r\n").split(b"\r\n"))


def _kept(daemon: Daemon) -> list[object]:
    """What is stored when all is over, and that each ETag is that of its bytes."""
    until(lambda: daemon.metric("aosd_requests_in_flight", door="plain") == 0, "all is over")
    told: list[object] = []
    for key in _KEYS:
        answer = daemon.ask("GET", f"/object/{key}", timeout_s=60.0)
        digest = hashlib.md5(answer.body, usedforsecurity=False).hexdigest()
        if answer.status == 200:
            assert answer.headers["etag"] == f'"{digest}"'
        told.append((key, answer.status, len(answer.body), digest if answer.status == 200 else ""))
    return told


def test_nobody_can_tell_the_lanes_apart(fresh_nodes: list[RealNode], tmp_path: Path) -> None:
    nodes_file = write_nodes_file(tmp_path / "nodes.toml", fresh_nodes)
    flags = ("--replicas=1", "--late-write-window-s=1")
    talks = [_talk(number) for number in range(_TALKS)]
    found = []
    for lane, flag in LANES.items():
        with running_daemon(tmp_path / lane, nodes_file, flag, *flags, up=NAMES) as daemon:
            daemon.wait_until_settled()
            told = []
            for number, talk in enumerate(talks):
                told.append((number, _said(daemon, talk), _kept(daemon)))
            found.append(told)
            for key in _KEYS:
                daemon.ask("DELETE", f"/object/{key}")
            assert (spliced_bytes(daemon) > 10 * MIB) == (lane == "express")
    express, standard = found
    for one, other in zip(express, standard, strict=True):
        assert one == other
