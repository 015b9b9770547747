"""What is fuzzed: inputs, and what has to be so of each.

An input is five bytes that say how it comes, and then the bytes of the connection. Of the five,
four are the sizes of portions in turn: up to `}` as many as the byte's value and one more, from
`~` on all that is left. The fifth has flags, `@` none: 1, a recorder is behind the lane and not a
store; 2, the client takes answers slowly; 4, it waits 7 s after each portion; 8, it stays until it
is closed; 16, the first bytes 254 stand for 5,500 letters each, so that short inputs reach what is
too long; 32, it comes by TLS. Bytes 253 and 252 stand for signatures (`tests/fuzz/signing.py`).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, repeat

from tests.fuzz.behind import Recorder, StoreInMemory
from tests.fuzz.conversation import Manner, Told, converse
from tests.fuzz.reading import Message, Stream, answers, read
from tests.fuzz.signing import sign

HEADER_BYTES = 5
_ALL = 0x7E
_PAUSE_S = 7.0
_LONG = b"\xfe"
_MOST_LONG = 4


def opened(data: bytes) -> tuple[bytes, Manner, type[Recorder | StoreInMemory]]:
    """The bytes of the connection, how they come, and what is behind the lane."""
    sizes, flags = data[: HEADER_BYTES - 1], data[HEADER_BYTES - 1 : HEADER_BYTES] or b"@"
    slow, waits, stays, by_tls = (bool(flags[0] & each) for each in (2, 4, 8, 32))
    manner = Manner(
        [100_000 if each >= _ALL else each + 1 for each in sizes] or [100_000],
        _PAUSE_S if waits else 0.0,
        slow,
        stays,
        by_tls,
    )
    sent = data[HEADER_BYTES:]
    if flags[0] & 16:
        sent = sent.replace(_LONG, b"a" * 5_500, _MOST_LONG)
    return sign(sent), manner, Recorder if flags[0] & 1 else StoreInMemory


def head_path(data: bytes) -> None:
    """The express lane answers what was asked, in order, and nothing that is ambiguous.

    Raises whatever it raises, and AssertionError.
    """
    sent, manner, behind = opened(data)
    told = converse("express", sent, manner, behind)
    asked = read(sent)
    _check_quiet(told)
    _check_answers(told, asked, waited=bool(manner.pause_s or manner.stays))
    if behind is Recorder:
        _check_seen(told, asked)


def handover(data: bytes) -> None:
    """Nobody can tell the express lane from the standard one. Raises AssertionError."""
    sent, manner, behind = opened(data)
    if manner.pause_s:
        # How long a head may take counts from when it is looked at: for a slow client the express
        # lane looks later.
        manner = replace(manner, slow=False)
    express, standard = (converse(lane, sent, manner, behind) for lane in ("express", "standard"))
    for told in (express, standard):
        _check_quiet(told)
    assert express == standard, (express, standard)


TARGETS = {"head_path": head_path, "handover": handover}


def _check_quiet(told: Told) -> None:
    assert told.log == [], told.log
    assert told.late == b"", told.late
    assert not told.stuck


def _check_answers(told: Told, asked: Stream, *, waited: bool) -> None:
    """Each is to one request, in order; `waited`: some may be that a timeout was over."""
    messages, refusal = asked.messages, asked.refusal
    verbs = chain((each.verb for each in messages), repeat(b""))
    given = answers(told.raw, verbs)
    assert len(given) <= len(messages) + bool(refusal or waited), given
    assert all(each.whole for each in given[:-1])
    assert not any(each.status == 500 or each.closes for each in given[:-1]), given
    # None is answered after one that asked for the connection to be closed.
    assert not any(each.closes for each in messages[: max(0, len(given) - 1)]), given
    if len(given) > len(messages):
        [*_, last] = given
        assert last.status == refusal or (waited and last.status == 408), last
        assert last.closes
        assert last.body == b""
    wanted = sum(each.whole for each in messages) + bool(refusal)
    if len(given) < wanted:
        # Somebody asked for it, or was told.
        assert told.closes or waited
        before = messages[: len(given)]
        assert any(each.may_close for each in before) or (given and given[-1].closes) or waited, (
            given
        )
    if refusal and len(given) > len(messages):
        assert told.closes


def _check_seen(told: Told, asked: Stream) -> None:
    assert len(told.seen) <= len(asked.messages)
    for (verb, target, body, ended, _, headers), message in zip(
        told.seen, asked.messages, strict=False
    ):
        assert (verb, target) == (message.verb, _path(message))
        assert body == message.body if ended else message.body.startswith(body)
        assert ended <= message.whole
        names = sorted({name for name, _ in message.headers})
        assert headers == [(name, message.values(name)) for name in names]


def _path(message: Message) -> bytes:
    """The target without scheme and authority."""
    scheme, found, rest = message.target.partition(b"://")
    if not found or scheme.lower() not in (b"http", b"https"):
        return message.target
    at = min(rest.find(end) % (len(rest) + 1) for end in (b"/", b"?", b"#"))
    return rest[at:] if rest[at:].startswith(b"/") else b"/" + rest[at:]
