"""Conditional requests, judged as RFC 9110, section 13, has it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.model.conditions import (
    UNCONDITIONAL,
    Conditions,
    Verdict,
    check_read,
    check_write,
    if_range_holds,
    valid_for_write,
)
from aosd.model.errors import BadRequest

ETAG = '"9a0364b9e99bb480dd25e1f0284c8555"'
MODIFIED_S = 784111777
MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
# The three forms that RFC 9110, section 5.6.7, asks a recipient to take.
FORMS = (MODIFIED, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994")
MALFORMED = (
    "",
    "yesterday",
    "784111777",
    "Sun, 06 Nov 1994",
    "Sun, 32 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 99999 08:49:37 GMT",
    "\0",
)


class ReadTests(SynchronousTestCase):
    def read(self, **values: str) -> Verdict:
        return check_read(Conditions(**values), ETAG, MODIFIED_S)

    def test_no_conditions(self) -> None:
        self.assertFalse(UNCONDITIONAL)
        self.assertTrue(Conditions(if_match=""))
        self.assertTrue(Conditions(if_unmodified_since=MODIFIED))
        self.assertIs(check_read(UNCONDITIONAL, ETAG, MODIFIED_S), Verdict.PROCEED)

    def test_if_match(self) -> None:
        for value in (ETAG, "*", f'"other", {ETAG}', f'"a,b",{ETAG}', ETAG.strip('"')):
            self.assertIs(self.read(if_match=value), Verdict.PROCEED, value)
        for value in ('"other"', f"W/{ETAG}", "", '"other", "*"', ETAG[:-2] + '"', '", "'):
            self.assertIs(self.read(if_match=value), Verdict.FAILED, value)

    def test_if_none_match(self) -> None:
        for value in (ETAG, "*", f"W/{ETAG}", f'"other" , W/{ETAG}', ETAG.strip('"')):
            self.assertIs(self.read(if_none_match=value), Verdict.NOT_MODIFIED, value)
        for value in ('"other"', 'W/"other", "*"', "", '"'):
            self.assertIs(self.read(if_none_match=value), Verdict.PROCEED, value)

    def test_a_weak_etag_never_matches_strongly(self) -> None:
        weak = f"W/{ETAG}"
        match = Conditions(if_match=weak)
        self.assertIs(check_read(match, weak, MODIFIED_S), Verdict.FAILED)
        none_match = Conditions(if_none_match=ETAG)
        self.assertIs(check_read(none_match, weak, MODIFIED_S), Verdict.NOT_MODIFIED)

    def test_if_modified_since(self) -> None:
        self.assertIs(self.read(if_modified_since=EARLIER), Verdict.PROCEED)
        for value in (*FORMS, LATER):
            self.assertIs(self.read(if_modified_since=value), Verdict.NOT_MODIFIED, value)

    def test_if_unmodified_since(self) -> None:
        self.assertIs(self.read(if_unmodified_since=EARLIER), Verdict.FAILED)
        for value in (*FORMS, LATER):
            self.assertIs(self.read(if_unmodified_since=value), Verdict.PROCEED, value)

    def test_malformed_dates_are_ignored(self) -> None:
        for value in MALFORMED:
            self.assertIs(self.read(if_modified_since=value), Verdict.PROCEED, value)
            self.assertIs(self.read(if_unmodified_since=value), Verdict.PROCEED, value)

    def test_etags_come_before_dates(self) -> None:
        self.assertIs(self.read(if_match=ETAG, if_unmodified_since=EARLIER), Verdict.PROCEED)
        self.assertIs(self.read(if_none_match='"other"', if_modified_since=LATER), Verdict.PROCEED)
        self.assertIs(
            self.read(if_none_match=ETAG, if_modified_since=EARLIER), Verdict.NOT_MODIFIED
        )

    def test_what_must_match_comes_before_what_must_not(self) -> None:
        self.assertIs(self.read(if_match='"other"', if_none_match=ETAG), Verdict.FAILED)
        self.assertIs(self.read(if_match=ETAG, if_none_match=ETAG), Verdict.NOT_MODIFIED)
        self.assertIs(self.read(if_unmodified_since=EARLIER, if_none_match=ETAG), Verdict.FAILED)
        self.assertIs(
            self.read(if_unmodified_since=LATER, if_modified_since=LATER), Verdict.NOT_MODIFIED
        )


class WriteTests(SynchronousTestCase):
    def write(self, etag: str | None, **values: str) -> Verdict:
        return check_write(Conditions(**values), etag)

    def test_only_where_nothing_is(self) -> None:
        self.assertIs(self.write(None, if_none_match="*"), Verdict.PROCEED)
        self.assertIs(self.write(ETAG, if_none_match="*"), Verdict.FAILED)

    def test_only_over_a_certain_version(self) -> None:
        for value in (ETAG, "*", f'"other", {ETAG}', ETAG.strip('"')):
            self.assertIs(self.write(ETAG, if_match=value), Verdict.PROCEED, value)
            self.assertIs(self.write(None, if_match=value), Verdict.FAILED, value)
        for value in ('"other"', f"W/{ETAG}", ""):
            self.assertIs(self.write(ETAG, if_match=value), Verdict.FAILED, value)

    def test_both_at_once_can_never_hold(self) -> None:
        for etag in (ETAG, None):
            self.assertIs(self.write(etag, if_match=ETAG, if_none_match="*"), Verdict.FAILED)

    def test_dates_dont_count(self) -> None:
        self.assertIs(self.write(ETAG, if_unmodified_since=EARLIER), Verdict.PROCEED)
        self.assertIs(self.write(ETAG, if_modified_since=LATER), Verdict.PROCEED)

    def test_s3_knows_only_the_star(self) -> None:
        valid_for_write(UNCONDITIONAL)
        valid_for_write(Conditions(if_none_match=" * ", if_match=ETAG))
        for value in (ETAG, "", '"*"'):
            error = self.assertRaises(BadRequest, valid_for_write, Conditions(if_none_match=value))
            self.assertEqual(error.code, "NotImplemented")


class IfRangeTests(SynchronousTestCase):
    def test_an_etag_has_to_be_the_same_one_strongly(self) -> None:
        self.assertTrue(if_range_holds(f" {ETAG} ", ETAG, MODIFIED_S))
        for value in ('"other"', f"W/{ETAG}", "*", ""):
            self.assertFalse(if_range_holds(value, ETAG, MODIFIED_S), value)

    def test_a_date_has_to_be_the_very_one(self) -> None:
        for value in FORMS:
            self.assertTrue(if_range_holds(value, ETAG, MODIFIED_S), value)
        for value in (EARLIER, LATER, *MALFORMED):
            self.assertFalse(if_range_holds(value, ETAG, MODIFIED_S), value)
