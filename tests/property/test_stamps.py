"""Stamps of several gateways, whose clocks go forth and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aosd.model.stamp import MOST_AHEAD_S, StampClock, is_stamp, stamp_time_s

GATEWAYS = 3
NOW_S = 1_700_000_000.0

steps = st.lists(
    st.one_of(
        # What happens, to which gateway, and by how much or from whom.
        st.tuples(st.just("passes"), st.integers(0, GATEWAYS - 1), st.floats(-900, 900)),
        st.tuples(st.just("writes"), st.integers(0, GATEWAYS - 1), st.just(0)),
        st.tuples(st.just("hears"), st.integers(0, GATEWAYS - 1), st.integers(0, GATEWAYS - 1)),
    ),
    max_size=60,
)


@given(steps)
def test_stamps_grow_and_sort_as_text(script: list[tuple[str, int, float]]) -> None:
    now_s = [NOW_S] * GATEWAYS

    def clock(number: int) -> StampClock:
        return StampClock(lambda: now_s[number], f"{number:08x}")

    clocks = [clock(number) for number in range(GATEWAYS)]
    last = [each.next() for each in clocks]
    given_out = list(last)
    for what, who, how in script:
        if what == "passes":
            now_s[who] += how
        elif what == "writes":
            stamp = clocks[who].next()
            assert is_stamp(stamp) and stamp > last[who]
            assert stamp_time_s(stamp) >= int(now_s[who])
            given_out.append(stamp)
            last[who] = stamp
        elif clocks[who].observe(last[int(how)]):
            # What it writes from now on is newer than what it heard of.
            stamp = clocks[who].next()
            assert stamp > max(last[int(how)], last[who])
            given_out.append(stamp)
            last[who] = stamp
        else:
            assert stamp_time_s(last[int(how)]) >= int(now_s[who]) + MOST_AHEAD_S
    assert len(set(given_out)) == len(given_out)

    def parts(stamp: str) -> tuple[int, int, str]:
        time, count, gateway = stamp.split("-")
        return int(time, 16), int(count, 16), gateway

    assert sorted(given_out) == sorted(given_out, key=parts)
    assert {len(stamp) for stamp in given_out} == {26}
