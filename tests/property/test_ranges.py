"""Ranges, against the bytes that they mean."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aosd.model.errors import RangeNotSatisfiable
from aosd.model.ranges import ByteRange, parse_range

numbers = st.integers(0, 60)
sizes = st.integers(0, 50)


def named(first: int | None, last: int | None, size: int) -> list[int]:
    """The positions that `first-last` names, one by one."""
    if first is None:
        assert last is not None
        return list(range(size))[max(0, size - last) :] if last else []
    return [each for each in range(size) if each >= first and (last is None or each <= last)]


@given(st.none() | numbers, st.none() | numbers, sizes)
def test_a_range_is_the_bytes_it_names(first: int | None, last: int | None, size: int) -> None:
    value = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    wanted = parse_range(value)
    if (first is None and last is None) or (
        first is not None and last is not None and last < first
    ):
        assert wanted is None
        return
    assert wanted is not None
    assert parse_range(wanted.header.decode()) == wanted
    expected = named(first, last, size)
    try:
        span = wanted.resolve(size)
    except RangeNotSatisfiable as error:
        assert expected == [] and error.size_bytes == size
    else:
        assert list(range(span.first, span.first + span.length)) == expected != []


@given(st.text(max_size=20))
def test_any_header_is_understood_or_ignored(text: str) -> None:
    for value in (text, f"bytes={text}"):
        wanted = parse_range(value)
        assert wanted is None or isinstance(wanted, ByteRange)
