"""Whatever providers say, and in whatever order: no member is ever lost."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from aosd.model.membership import resolve
from aosd.model.node import Address, Credentials, Member, Sighting
from aosd.model.ring import Ring

KEYS = Credentials("access", "secret")

sightings = st.builds(
    Sighting,
    name=st.sampled_from(["n1", "n2", "n3", "", "no/name"]),
    address=st.sampled_from(
        [None, Address("http", "10.0.0.1", 9000), Address("http", "10.0.0.2", 9000)]
    ),
    credentials=st.just(KEYS),
    weight=st.sampled_from([0.0, 0.1, 1.0, 100.0, float("nan")]),
    zone=st.sampled_from([None, "rack-1"]),
    running=st.booleans(),
    problem=st.sampled_from([None, None, "no credentials"]),
    seen_as=st.sampled_from(["one", "two"]),
)
rounds = st.lists(
    st.dictionaries(st.sampled_from(["docker", "static", "dns"]), st.lists(sightings, max_size=4)),
    max_size=6,
)


@given(rounds)
def test_no_member_is_ever_lost(history: Sequence[dict[str, list[Sighting]]]) -> None:
    members: dict[str, Member] = {}
    for seen in history:
        found = resolve(members, seen)
        everyone = [each for some in seen.values() for each in some]
        assert found.members.keys() >= members.keys()
        assert found.members.keys() >= found.sightings.keys() | found.disputed
        assert not found.disputed & found.sightings.keys()
        # Whatever became a member can be put into a ring.
        Ring(found.members.values())
        for name in found.members.keys() - members.keys():
            assert any(each.name == name and each.problem is None for each in everyone)
        for name in found.disputed:
            assert found.members[name] == members[name]
        for name, sighting in found.sightings.items():
            assert sighting in everyone and sighting.name == name
        for each in everyone:
            if each.problem is not None:
                assert each.name in found.troubles or each.seen_as in found.troubles
        assert resolve(members, dict(reversed(seen.items()))) == found
        # Nothing new seen, nothing changes.
        assert resolve(found.members, seen).members == found.members
        members = dict(found.members)
