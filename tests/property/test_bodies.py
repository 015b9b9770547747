"""Bodies in motion: any chunk boundaries, pauses in any order, nothing lost or early."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer
from zope.interface import implementer

from aosd.streams.digests import Digests
from aosd.streams.fanout import Branch, Fanout
from aosd.streams.reader import BodyReader
from aosd.testing.bodies import BytesBody, BytesSource, CollectingConsumer
from aosd.testing.memory_node import MemoryNode

lengths = st.integers(0, 60)
pieces = st.integers(1, 25)


def some_bytes(count: int) -> bytes:
    return bytes(range(count))


@given(lengths, pieces, st.lists(st.integers(1, 30), max_size=20))
def test_a_reader_gives_what_came_in_any_portions(
    length: int, piece_bytes: int, portions: list[int]
) -> None:
    data = some_bytes(length)
    source = BytesSource(data, piece_bytes=piece_bytes)
    reader = BodyReader(source, Digests({"Content-MD5": hashlib.md5(data).digest()}))
    read, asked_bytes = b"", 0
    for count in portions:
        asked_bytes += count
        found: list[list[bytes]] = []
        Deferred.fromCoroutine(reader.read(count)).addCallback(found.append)
        ((*portion,),) = found
        assert all(portion)
        read += b"".join(portion)
        # As much as was asked for, unless the body ends there; and a packet ahead at most.
        assert read == data[:asked_bytes]
        assert source.sent_bytes - len(read) < piece_bytes


@implementer(IConsumer)
class Node:
    """Takes a branch; pauses it at the writes that `pauses` names."""

    def __init__(self, branch: Branch, pauses: set[int]) -> None:
        self.branch = branch
        self.data = b""
        self.writes = 0
        self.pauses = pauses
        self.finished: list[object] = []
        branch.startProducing(self).addBoth(self.finished.append)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        assert not self.finished and not self.branch.paused
        self.data += data
        self.writes += 1
        if self.writes in self.pauses:
            self.branch.pauseProducing()


@given(
    st.integers(1, 60),
    pieces,
    st.lists(st.sets(st.integers(1, 60)), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), max_size=20),
)
def test_a_fanout_waits_for_the_slowest_and_holds_the_last_bytes(
    length: int, piece_bytes: int, pauses: list[set[int]], resumes: list[int]
) -> None:
    data = some_bytes(length)
    source = BytesSource(data, piece_bytes=piece_bytes)
    fanout = Fanout(source, len(pauses), Digests({}))
    in_hand: list[object] = []
    fanout.last_in_hand.addCallback(in_hand.append)
    assert not source.started
    nodes = [Node(branch, when) for branch, when in zip(fanout.branches, pauses, strict=True)]
    for who in resumes:
        nodes[who % len(nodes)].branch.resumeProducing()
        assert len({node.data for node in nodes}) == 1
    while not in_hand:
        paused = [node for node in nodes if node.branch.paused]
        assert paused, "nobody holds it up, and it stands still"
        for node in paused:
            node.branch.resumeProducing()
    last = data[(length - 1) // piece_bytes * piece_bytes :]
    for node in nodes:
        assert node.data + last == data
        assert not node.finished
    fanout.release()
    for node in nodes:
        assert node.data == data
        assert node.finished == [None]


@given(lengths, pieces, pieces, st.none() | st.integers(1, 30))
def test_a_node_in_memory_gives_back_what_it_took(
    length: int, sent_bytes: int, given_bytes: int, pause_after_bytes: int | None
) -> None:
    data = some_bytes(length)
    node = MemoryNode("n1", piece_bytes=given_bytes)
    etags: list[str] = []
    node.put("object", "a", BytesBody(data, piece_bytes=sent_bytes), ()).addCallback(etags.append)
    assert etags == [f'"{hashlib.md5(data).hexdigest()}"']
    consumer = CollectingConsumer(pause_after_bytes)
    done: list[object] = []
    node.get("object", "a").addCallback(lambda reading: reading.deliver(consumer)).addCallback(
        done.append
    )
    while not done:
        assert consumer.paused, "nobody holds it up, and it stands still"
        consumer.resume()
    assert consumer.data == data
    assert consumer.ended and consumer.late_bytes == 0
