"""The owner that all buckets and objects have: there is one account."""

from __future__ import annotations

from aosd.doors.s3.xml_out import Markup, element, elements

OWNER_ID = "a05d" * 16


def owner(name: str = "Owner") -> Markup:
    """The element that says so."""
    return element(name, elements(ID=OWNER_ID, DisplayName="aosd"))
