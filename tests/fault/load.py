"""Clients that work on many keys at once, and know what each of them may read.

A key has one writer, so what lies under it is certain; only a write that failed, or is on its
way, leaves two possibilities. Every body that is read is compared with what may be there then.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from types import TracebackType

from tests.integration.bodies import KIB, MIB, body, pieces
from tests.integration.waiting import until
from tests.integration.wire import Answer, Truncated, Wire

ABSENT = "nothing"
"""Stands for the digest of what isn't there."""

NO_ANSWER = 0
"""The status of a request whose connection broke, or whose answer never came."""

_TOKEN_BYTES = 16
_ANSWER_S = 60.0
_AFTER_A_FAILURE_S = 0.2  # less than any Retry-After


@dataclass(frozen=True)
class Mix:
    """How often a worker does what, as weights; and how long bodies are, in bytes.

    `chunked_bytes` is over one part, so that it goes to the nodes as a multipart upload.
    """

    put: int = 36
    put_long: int = 4
    put_chunked: int = 2
    get: int = 40
    delete: int = 8
    listing: int = 10
    small_bytes: int = 32 * KIB
    long_bytes: int = 3 * MIB
    chunked_bytes: int = 9 * MIB


@dataclass(frozen=True)
class Done:
    """A request that ended; `digest` is what a write wrote."""

    verb: str
    key: str
    status: int
    began_s: float
    ended_s: float
    digest: str = ""
    detail: str = ""

    @property
    def failed(self) -> bool:
        return self.status == NO_ANSWER or self.status >= 400

    def __str__(self) -> str:
        took_s = self.ended_s - self.began_s
        what = f"{self.verb} {self.key} {self.digest}: {self.status} after {took_s:.2f} s"
        return f"{self.began_s:.2f} {what} {self.detail}"


class Key:
    """One key, and which digests a read of it may find now."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.retired = False
        """A write of it was never answered: until it is known to be over, another one of the
        same key would run beside it."""
        self._lock = threading.Lock()
        self._may_be = frozenset({ABSENT})
        self._reads: list[set[str]] = []

    @property
    def may_be(self) -> frozenset[str]:
        """One digest; more where a write failed since the last that didn't."""
        return self._may_be

    @contextmanager
    def read(self) -> Iterator[set[str]]:
        """All that may be found from now until the context ends."""
        with self._lock:
            found = set(self._may_be)
            self._reads.append(found)
        try:
            yield found
        finally:
            with self._lock:
                # By identity: other reads' sets may be equal.
                self._reads = [each for each in self._reads if each is not found]

    def write_begins(self, digest: str) -> None:
        with self._lock:
            self._may_be |= {digest}
            for read in self._reads:
                read.add(digest)

    def write_succeeded(self, digest: str) -> None:
        with self._lock:
            self._may_be = frozenset({digest})


@dataclass
class Tally:
    """What happened, in the order in which it ended."""

    requests: list[Done] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Reads that found what can't have been there."""
    stale_listings: int = 0
    """Listings that left out, or showed, what others knew better: eventual, as promised."""

    @property
    def failures(self) -> list[Done]:
        """What a client would call an error."""
        return [each for each in self.requests if each.failed]

    @property
    def acknowledged(self) -> int:
        """Writes that succeeded."""
        return sum(each.digest != "" and not each.failed for each in self.requests)

    def by_status(self) -> Mapping[tuple[str, int], int]:
        return Counter((each.verb, each.status) for each in self.requests)

    def since(self, began_s: float) -> list[Done]:
        """Requests that ended after a moment of time.monotonic()."""
        return [each for each in self.requests if each.ended_s >= began_s]

    def history(self, key: str) -> str:
        """All that was done with a key, for who looks for the reason."""
        return "\n".join(str(each) for each in self.requests if each.key == key)


class Load:
    """Workers that ask the plain door at `port()`, which may change; a context manager.

    They end with the context, after `most` requests, or `most_s` seconds. Keys are
    `prefix` and a number. Not more is held in memory than one body a worker.
    """

    def __init__(
        self,
        port: Callable[[], int],
        prefix: str = "load",
        *,
        workers: int = 4,
        keys: int = 60,
        mix: Mix | None = None,
        seed: int = 0,
        most: int = 100_000,
        most_s: float = 900.0,
        pause_s: float = 0.004,
    ) -> None:
        self.tally = Tally()
        self.prefix = prefix
        self.keys = {name: Key(name) for name in (f"{prefix}{n:04d}" for n in range(keys))}
        self._port = port
        self._mix = mix or Mix()
        self._most = most
        self._ends_s = time.monotonic() + most_s
        # Between two requests of a worker: two cores are the nodes' and the daemon's, too.
        self._pause_s = pause_s
        self._over = threading.Event()
        self._lock = threading.Lock()
        longest = max(self._mix.small_bytes, self._mix.long_bytes, self._mix.chunked_bytes)
        self._material = memoryview(body(longest + MIB, seed))
        names = list(self.keys)
        self._threads = [
            threading.Thread(
                target=self._work,
                args=(random.Random(f"{prefix} {seed} {n}"), names[n::workers]),
                daemon=True,
            )
            for n in range(workers)
        ]
        self._broken: list[BaseException] = []

    # -- life -------------------------------------------------------------------------------------

    def __enter__(self) -> Load:
        for each in self._threads:
            each.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Let what is on its way end; then the workers are over."""
        self._over.set()
        for each in self._threads:
            each.join(2 * _ANSWER_S)
            assert not each.is_alive(), "a worker hangs"
        if self._broken:
            raise self._broken[0]

    def wait_for(self, count: int, deadline_s: float = 60.0) -> None:
        """Until `count` more requests have ended."""
        wanted = len(self.tally.requests) + count

        def enough() -> bool:
            assert not self._broken, self._broken
            return len(self.tally.requests) >= wanted

        until(enough, f"{count} more requests", deadline_s)

    # -- judgement --------------------------------------------------------------------------------

    def expect_nothing_wrong(self) -> None:
        """No read found what can't have been there."""
        assert not self.tally.wrong, "\n".join(self.tally.wrong[:10])

    def expect_no_failures(self) -> None:
        """Zero client errors."""
        failures = self.tally.failures
        told = "\n".join(str(each) for each in failures[:20])
        assert not failures, f"{len(failures)} of {len(self.tally.requests)} failed:\n{told}"

    def read_back(self) -> None:
        """Every key has what was acknowledged last, and the listing tells exactly these."""
        self.expect_nothing_wrong()
        problems = []
        there: set[str] = set()
        with Wire(self._port(), _ANSWER_S) as wire:
            for key in self.keys.values():
                wire.send_request("GET", f"/object/{key.name}")
                answer = wire.answer()
                found = digest_of(answer)
                if found not in key.may_be:
                    lost = "lost" if found == ABSENT else "wrong"
                    problems.append(
                        f"{key.name} is {lost}: {found}, may be {sorted(key.may_be)}\n"
                        f"{self.tally.history(key.name)}"
                    )
                if found != ABSENT:
                    there.add(key.name)
            listed = set(listed_keys(wire, self.prefix))
        assert not problems, f"{len(problems)} keys:\n" + "\n".join(problems[:5])
        assert listed == there, f"listed only: {listed - there}, not listed: {there - listed}"

    # -- what workers do --------------------------------------------------------------------------

    def _work(self, chance: random.Random, own: Sequence[str]) -> None:
        mix = self._mix
        actions: list[tuple[int, Callable[[Wire], bool]]] = [
            (mix.put, lambda wire: self._put(wire, chance, own, mix.small_bytes, False)),
            (mix.put_long, lambda wire: self._put(wire, chance, own, mix.long_bytes, False)),
            (mix.put_chunked, lambda wire: self._put(wire, chance, own, mix.chunked_bytes, True)),
            (mix.get, lambda wire: self._get(wire, chance)),
            (mix.delete, lambda wire: self._delete(wire, chance, own)),
            (mix.listing, self._list),
        ]
        weights = [weight for weight, _ in actions]
        wire: Wire | None = None
        try:
            while not self._is_over():
                (_, act) = chance.choices(actions, weights)[0]
                if wire is None:
                    wire = self._connected()
                if wire is not None and not act(wire):
                    # What is left on the connection after a failure isn't known.
                    wire.close()
                    wire = None
                    self._over.wait(_AFTER_A_FAILURE_S)
                self._over.wait(self._pause_s)
        except BaseException as error:
            self._broken.append(error)
        finally:
            if wire is not None:
                wire.close()

    def _is_over(self) -> bool:
        return (
            self._over.is_set()
            or len(self.tally.requests) >= self._most
            or time.monotonic() >= self._ends_s
        )

    def _connected(self) -> Wire | None:
        began_s = time.monotonic()
        try:
            return Wire(self._port(), _ANSWER_S)
        except OSError as error:
            self._ended(Done("CONNECT", "", NO_ANSWER, began_s, time.monotonic(), "", str(error)))
            self._over.wait(_AFTER_A_FAILURE_S)
            return None

    def _put(
        self, wire: Wire, chance: random.Random, own: Sequence[str], about: int, chunked: bool
    ) -> bool:
        key = self._own_key(chance, own)
        if key is None:
            return True
        size = about if chunked else chance.randint(about // 2, about)
        first = chance.randrange(MIB)
        data = chance.randbytes(_TOKEN_BYTES) + self._material[first : first + size]
        digest = md5(data, usedforsecurity=False).hexdigest()
        target = f"/object/{key.name}"

        def ask() -> Answer:
            if chunked:
                wire.send_chunks("PUT", target, pieces(data))
            else:
                wire.send_request("PUT", target, {}, data)
            return wire.answer("PUT")

        return self._write("PUT chunked" if chunked else "PUT", key, digest, ask, 201)

    def _delete(self, wire: Wire, chance: random.Random, own: Sequence[str]) -> bool:
        key = self._own_key(chance, own)
        if key is None:
            return True

        def ask() -> Answer:
            wire.send_request("DELETE", f"/object/{key.name}")
            return wire.answer("DELETE")

        return self._write("DELETE", key, ABSENT, ask, 204)

    def _own_key(self, chance: random.Random, own: Sequence[str]) -> Key | None:
        key = self.keys[chance.choice(own)]
        return None if key.retired else key

    def _write(
        self, verb: str, key: Key, digest: str, ask: Callable[[], Answer], expected: int
    ) -> bool:
        key.write_begins(digest)
        began_s = time.monotonic()
        answer, detail = _answer_or_why(ask)
        # Before it is told of: who reads it from the tally may already rely on it.
        if answer is None:
            key.retired = True
            self._ended(Done(verb, key.name, NO_ANSWER, began_s, time.monotonic(), digest, detail))
            return False
        ended_s = time.monotonic()
        if answer.status == expected:
            key.write_succeeded(digest)
            detail = answer.headers.get("x-amz-request-id", "")
        else:
            detail = answer.body.decode(errors="replace")
        self._ended(Done(verb, key.name, answer.status, began_s, ended_s, digest, detail))
        return answer.status == expected

    def _get(self, wire: Wire, chance: random.Random) -> bool:
        key = self.keys[chance.choice(list(self.keys))]

        def ask() -> Answer:
            wire.send_request("GET", f"/object/{key.name}")
            return wire.answer("GET")

        began_s = time.monotonic()
        with key.read() as may_be:
            answer, detail = _answer_or_why(ask)
            ended_s = time.monotonic()
        if answer is None:
            self._ended(Done("GET", key.name, NO_ANSWER, began_s, ended_s, "", detail))
            return False
        status = answer.status
        if status in (200, 404):
            found = digest_of(answer)
            if found not in may_be:
                self.tally.wrong.append(
                    f"{began_s:.3f} to {ended_s:.3f}: GET {key.name} found {found} "
                    f"({answer.headers.get('x-amz-request-id')}), may be {sorted(may_be)}\n"
                    f"{self.tally.history(key.name)}"
                )
            # That nothing is there is no error.
            self._ended(Done("GET", key.name, 200, began_s, ended_s))
            return True
        detail = answer.body.decode(errors="replace")
        self._ended(Done("GET", key.name, status, began_s, ended_s, "", detail))
        return False

    def _list(self, wire: Wire) -> bool:
        began_s = time.monotonic()
        before = {name: key.may_be for name, key in self.keys.items()}
        listed: list[str] = []

        def ask() -> Answer:
            wire.send_request("GET", f"/object?prefix={self.prefix}")
            return wire.answer("GET")

        answer, detail = _answer_or_why(ask)
        ended_s = time.monotonic()
        if answer is None or answer.status != 200:
            status = answer.status if answer is not None else NO_ANSWER
            detail = answer.body.decode(errors="replace") if answer is not None else detail
            self._ended(Done("LIST", "", status, began_s, ended_s, "", detail))
            return False
        listed = [each["id"] for each in answer.json["objects"]]
        if listed != sorted(set(listed)):
            self.tally.wrong.append(f"a listing isn't in order, or has a key twice: {listed}")
        certain = {
            name: ABSENT not in may_be
            for name, may_be in before.items()
            if self.keys[name].may_be == may_be and len(may_be) == 1
        }
        if any((name in listed) != there for name, there in certain.items()):
            self.tally.stale_listings += 1
        self._ended(Done("LIST", "", 200, began_s, ended_s))
        return True

    def _ended(self, done: Done) -> None:
        with self._lock:
            self.tally.requests.append(done)


def digest_of(answer: Answer) -> str:
    """The digest of what was read, or ABSENT; for another answer its status."""
    if answer.status == 404:
        return ABSENT
    if answer.status != 200:
        return f"status {answer.status} {answer.body[:300]!r}"
    return md5(answer.body, usedforsecurity=False).hexdigest()


def listed_keys(wire: Wire, prefix: str) -> Iterator[str]:
    """All ids with a prefix, page by page."""
    after = ""
    while True:
        wire.send_request("GET", f"/object?prefix={prefix}&after={after}")
        answer = wire.answer()
        assert answer.status == 200, answer.body
        yield from (each["id"] for each in answer.json["objects"])
        if answer.json["next"] is None:
            return
        after = answer.json["next"]


def _answer_or_why(ask: Callable[[], Answer]) -> tuple[Answer | None, str]:
    try:
        return ask(), ""
    except (OSError, Truncated) as error:
        return None, f"{type(error).__name__}: {error}"
