"""Ids of the plain door."""

from __future__ import annotations

import string

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.names import is_object_id


class ObjectIdTests(SynchronousTestCase):
    def test_takes_letters_and_digits_up_to_32(self) -> None:
        for text in ("a", "Z", "0", "a" * 32, string.ascii_letters[:32], string.digits):
            self.assertTrue(is_object_id(text), text)

    def test_refuses_everything_else(self) -> None:
        for text in ("", "a" * 33, "a-b", "a_b", "a.b", "..", "a/b", "a b", " a", "a\n", "\0"):
            self.assertFalse(is_object_id(text), text)
        # Letters and digits, but not of ASCII.
        for text in ("ä", "\u0663", "\uff21", "a%41"):
            self.assertFalse(is_object_id(text), text)
