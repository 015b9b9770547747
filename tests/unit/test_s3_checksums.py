"""Checksums of bodies: what they are, joined from parts, and watched as bodies flow."""

from __future__ import annotations

import zlib
from base64 import b64encode

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from aosd.model.errors import BadRequest, ClientGone, DigestMismatch
from aosd.streams.checked import Checked
from aosd.streams.checksums import ALGORITHMS
from aosd.testing.bodies import BytesSource

# The check values of the catalogue of parametrised CRC algorithms, and of FIPS 180-4.
KNOWN = {
    "CRC32": "cbf43926",
    "CRC32C": "e3069283",
    "CRC64NVME": "ae8b14860a799888",
    "SHA1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "SHA256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}


class Sink:
    def __init__(self) -> None:
        self.data = b""
        self.ended = False
        self.failure: Failure | None = None

    def body_data(self, data: bytes) -> None:
        self.data += data

    def body_ended(self) -> None:
        self.ended = True

    def body_failed(self, reason: Failure) -> None:
        self.failure = reason


class AlgorithmTests(SynchronousTestCase):
    def test_known_values(self) -> None:
        self.assertEqual(set(KNOWN), set(ALGORITHMS))
        for name, algorithm in ALGORITHMS.items():
            self.assertEqual(algorithm.of(b"123456789").hex(), KNOWN[name], name)
            self.assertEqual(len(algorithm.of(b"")), algorithm.size_bytes)

    def test_bytes_may_come_in_any_pieces(self) -> None:
        for algorithm in ALGORITHMS.values():
            running = algorithm.begin()
            for piece in (b"12", b"", b"3456", b"789"):
                running.update(piece)
            self.assertEqual(running.digest(), algorithm.of(b"123456789"))

    def test_a_whole_from_its_parts(self) -> None:
        data = bytes(range(256)) * 40
        parts = (data[:5000], data[5000:5001], data[5001:])
        for name in ("CRC32", "CRC32C", "CRC64NVME"):
            algorithm = ALGORITHMS[name]
            joined = algorithm.full([(algorithm.of(each), len(each)) for each in parts])
            self.assertEqual(joined, algorithm.of(data), name)
        self.assertEqual([ALGORITHMS[name].joined for name in ("SHA1", "SHA256")], [None, None])

    def test_a_composite_is_the_checksum_of_checksums(self) -> None:
        crc = ALGORITHMS["CRC32"]
        parts = [crc.of(b"a"), crc.of(b"b")]
        expected = zlib.crc32(parts[0] + parts[1]).to_bytes(4, "big")
        self.assertEqual(crc.composite(parts), expected)


class CheckedTests(SynchronousTestCase):
    algorithm = ALGORITHMS["CRC32C"]

    def test_the_right_body_passes(self) -> None:
        for told in (True, False):
            source = BytesSource(b"hello" * 100, told=told, piece_bytes=7)
            right = self.algorithm.of(b"hello" * 100)
            checked, sink = Checked(source, self.algorithm, lambda right=right: right), Sink()
            self.assertEqual(checked.length, source.length)
            checked.start(sink)
            self.assertEqual((sink.data, sink.ended, sink.failure), (b"hello" * 100, True, None))
            self.assertEqual(checked.checksum, right)

    def test_another_body_fails_in_place_of_its_end(self) -> None:
        checked, sink = Checked(BytesSource(b"hellp"), self.algorithm, lambda: b"xxxx"), Sink()
        checked.start(sink)
        self.assertEqual((sink.data, sink.ended), (b"hellp", False))
        assert sink.failure is not None
        error = sink.failure.value
        assert isinstance(error, DigestMismatch)
        self.assertEqual(error.code, "BadDigest")
        self.assertNotIn(b64encode(b"xxxx").decode(), str(error))

    def test_nothing_claimed_is_computed_all_the_same(self) -> None:
        checked, sink = Checked(BytesSource(b""), self.algorithm, lambda: None), Sink()
        checked.start(sink)
        self.assertTrue(sink.ended)
        self.assertEqual(checked.checksum, bytes(4))

    def test_what_was_claimed_is_asked_when_all_came(self) -> None:
        asked: list[int] = []
        source = BytesSource(b"abcdef", piece_bytes=2)

        def claimed() -> bytes:
            asked.append(source.sent_bytes)
            raise BadRequest("no trailer", "MalformedTrailerError")

        sink = Sink()
        Checked(source, self.algorithm, claimed).start(sink)
        self.assertEqual(asked, [6])
        assert sink.failure is not None
        self.assertEqual(sink.failure.value.code, "MalformedTrailerError")

    def test_a_body_that_breaks_off_says_why(self) -> None:
        source = BytesSource(b"abcdef", fails_at=3, fails=ClientGone("gone"))
        checked, sink = Checked(source, self.algorithm, lambda: b"xxxx"), Sink()
        checked.start(sink)
        assert sink.failure is not None
        self.assertIsInstance(sink.failure.value, ClientGone)
        self.assertIsNone(checked.checksum)

    def test_pausing_and_discarding_reach_the_client(self) -> None:
        source = BytesSource(b"abcdef", piece_bytes=1)
        checked = Checked(source, self.algorithm, lambda: None)

        class Slow(Sink):
            def body_data(self, data: bytes) -> None:
                super().body_data(data)
                checked.pause()

        sink = Slow()
        checked.start(sink)
        self.assertEqual(sink.data, b"a")
        checked.resume()
        self.assertEqual(sink.data, b"ab")
        checked.discard()
        self.assertTrue(source.discarded)
