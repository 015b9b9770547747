"""Both clients say the same to a node, and understand the same."""

from __future__ import annotations

import string
from email.utils import formatdate, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aosd.model.node import Address, Credentials
from aosd.nodes.express.signing import UNSIGNED, QuickSigner, quick_target
from aosd.nodes.heads import http_date_s
from aosd.nodes.signing import Signer, target

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
plain = st.text(string.ascii_letters + string.digits + "-._~/", max_size=20)
# What clients may have kept with an object, much of it white space of some kind.
values = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(" \t\u00a0\u0085\u2003\u2028"),
    max_size=20,
)
amz_headers = st.dictionaries(
    st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=12).map(
        "x-amz-{}".format
    ),
    values,
    max_size=5,
).map(lambda found: {k: v for k, v in found.items() if k not in _ITS_OWN})
addresses = st.builds(
    Address,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["127.0.0.1", "node-1.example", "::1"]),
    st.sampled_from([80, 443, 9000]),
)
# Within half a microsecond of the next second one of them rounds up.
moments = st.builds(
    float.__add__, st.integers(1, 4_000_000_000).map(float), st.sampled_from([0.0, 0.25, 0.999])
)
_ITS_OWN = ("x-amz-date", "x-amz-content-sha256")


@given(
    addresses,
    st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST"]),
    texts.filter(bool) | plain.filter(bool),
    texts | plain,
    st.dictionaries(st.sampled_from(["uploadId", "partNumber", "uploads", "a-b", "a"]), texts),
    amz_headers,
    st.sampled_from(["UNSIGNED-PAYLOAD", "0" * 64]),
    st.lists(moments, min_size=1, max_size=4),
)
def test_signatures_are_alike(
    address: Address,
    verb: str,
    bucket: str,
    key: str,
    query: dict[str, str],
    amz: dict[str, str],
    payload: str,
    times: list[float],
) -> None:
    now = [0.0]
    credentials = Credentials("access", "secret/+é")
    signer = Signer(address, credentials, lambda: now[0])
    quick = QuickSigner(address, credentials, lambda: now[0])
    path, text = target(bucket, key, query)
    # The same moment twice: what was kept of the last request must not show.
    for now[0] in [*times, times[-1]]:
        wanted = {
            name.lower(): value.encode()
            for name, value in signer.sign(verb, path, text, amz, payload).items()
        }
        lines = quick.sign(
            verb.encode(),
            path.encode(),
            text.encode(),
            [(name.encode(), value.encode()) for name, value in amz.items()],
            UNSIGNED if payload == "UNSIGNED-PAYLOAD" else payload.encode(),
        )
        assert lines.endswith(b"\r\n")
        sent = [line.partition(b": ") for line in lines.removesuffix(b"\r\n").split(b"\r\n")]
        assert {name.decode().lower(): value for name, _, value in sent} == wanted


@given(texts.filter(bool) | plain.filter(bool), texts | plain)
def test_targets_are_alike(bucket: str, key: str) -> None:
    assert quick_target(bucket, key).decode() == target(bucket, key, {})[0]


@given(st.integers(0, 4_000_000_000))
def test_dates_are_read(moment: int) -> None:
    assert http_date_s(formatdate(moment, usegmt=True).encode()) == moment


@given(
    st.text(string.digits + " :,+-GMTJanFebSu\x00é", max_size=32)
    | st.sampled_from(
        [
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 +0100",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, -6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1_94 08:49:37 GMT",
            "",
        ]
    )
)
def test_other_dates_are_read_as_by_email(text: str) -> None:
    value = text.encode("latin-1")
    try:
        wanted = int(parsedate_to_datetime(text).timestamp())
    except ValueError:
        with pytest.raises(ValueError):
            http_date_s(value)
    else:
        assert http_date_s(value) == wanted
