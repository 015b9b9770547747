"""Seals."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.seal import LONGEST_SEALED, Seal

KEY = bytes(range(32))
GOLDEN = "h8RFTZm91BJfE9Fa8_k2nslphtjbOw"


class SealTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.seal = Seal(KEY)

    def refused(self, text: str, purpose: str = "") -> None:
        self.assertRaises(ValueError, self.seal.open, text, purpose)

    def test_there_and_back(self) -> None:
        for data in (b"", b"x", b"{}", bytes(range(256)), "ключ/ü".encode()):
            text = self.seal.seal(data)
            self.assertRegex(text, r"\A[A-Za-z0-9_-]+\Z")
            self.assertEqual(self.seal.open(text), data)
            self.assertEqual(Seal(KEY).open(text), data)

    def test_it_is_short_and_tells_nothing(self) -> None:
        text = self.seal.seal(b"bucket/key " * 10)
        self.assertEqual(len(text), -(-(110 + 16) * 4 // 3))
        self.assertNotIn(repr(KEY)[2:12], repr(self.seal) + repr(vars(self.seal)))

    def test_a_golden_value(self) -> None:
        """Upload ids of a version before stay good."""
        self.assertEqual(self.seal.seal(b"upload", "uploads"), GOLDEN)

    def test_no_other_key_opens_it(self) -> None:
        text = self.seal.seal(b"data")
        self.assertRaises(ValueError, Seal(bytes(32)).open, text)

    def test_no_other_purpose_does(self) -> None:
        text = self.seal.seal(b"data", "uploads")
        self.assertEqual(self.seal.open(text, "uploads"), b"data")
        self.refused(text)
        self.refused(text, "pages")

    def test_each_changed_character_is_noticed(self) -> None:
        text = self.seal.seal(b"some data")
        for at, was in enumerate(text):
            for other in "Aa0-_":
                if other != was:
                    self.refused(text[:at] + other + text[at + 1 :])

    def test_nonsense(self) -> None:
        text = self.seal.seal(b"d")
        for nonsense in ("", "A", "AA", "%%", "ä", text + "=", text + "\n", " " + text, text[:-1]):
            self.refused(nonsense)

    def test_lengths_are_bounded(self) -> None:
        most = LONGEST_SEALED // 4 * 3 - 16
        text = self.seal.seal(bytes(most))
        self.assertEqual(len(text), LONGEST_SEALED)
        self.assertEqual(self.seal.open(text), bytes(most))
        self.assertRaises(ValueError, self.seal.seal, bytes(most + 1))
        self.refused("A" * (LONGEST_SEALED + 4))

    def test_keys_have_their_length(self) -> None:
        for length in (0, 16, 31, 33, 64):
            self.assertRaises(ValueError, Seal, bytes(length))
