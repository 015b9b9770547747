"""Wildcards: what they match, and that nobody's pattern takes for ever."""

from __future__ import annotations

import random
import re

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.wildcards import matches


class WildcardTests(SynchronousTestCase):
    def test_what_matches(self) -> None:
        for pattern, text, wanted in (
            ("", "", True),
            ("*", "", True),
            ("?", "", False),
            ("a*", "a", True),
            ("a*c", "abcbc", True),
            ("a*c", "abcb", False),
            ("a?c", "a*c", True),
            ("*.b", "a.b", True),
            ("*.b", "axb", False),
            ("a", "aa", False),
            ("a/*", "a/\n", True),
        ):
            self.assertIs(matches(pattern, text), wanted, (pattern, text))

    def test_as_an_expression_has_it(self) -> None:
        dice = random.Random(7)
        for _ in range(3000):
            pattern = "".join(dice.choices("ab*?", k=dice.randrange(7)))
            text = "".join(dice.choices("ab", k=dice.randrange(9)))
            expression = "".join({"*": ".*", "?": "."}.get(each, each) for each in pattern)
            wanted = re.fullmatch(expression, text) is not None
            self.assertIs(matches(pattern, text), wanted, (pattern, text))

    def test_a_text_that_nearly_fits_many_stars_ends(self) -> None:
        self.assertFalse(matches("*a" * 300 + "*b", "a" * 1024))
