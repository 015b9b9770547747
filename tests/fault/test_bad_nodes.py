"""Nodes that misbehave: a clear error or an aborted connection, never half an object.

One copy a key, and no node that could stand in does any better: what is told to the client is
what became of the last of them.
"""

from __future__ import annotations

import pytest

from tests.fault.bad_node import Does, Fault, refusal
from tests.fault.conftest import Fragile
from tests.integration.bodies import KIB, MIB, body, pieces
from tests.integration.waiting import until
from tests.integration.wire import Answer, Truncated, Wire, ask_chunked

LARGE = 4 * MIB
OLD = b"the old object"

GARBAGE = b"\x00\x01\xfe\xff this is no HTTP at all\r\n\r\n" * 10
TEAPOT = b"HTTP/1.1 418 Teapot\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhot"
REDIRECT = (
    b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)
PAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n"
    b"Connection: close\r\n\r\n<html>hi</html>"
)
NO_LENGTH = (
    b'HTTP/1.1 200 OK\r\nETag: "x"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
    b"Connection: close\r\n\r\nhow long is this?"
)

BEFORE_THE_ANSWER = {
    "resets": (Fault(Does.RESETS), 503, "ServiceUnavailable"),
    "closes": (Fault(Does.CLOSES), 503, "ServiceUnavailable"),
    "hangs before headers": (Fault(Does.HANGS_BEFORE_HEADERS), 504, "UpstreamTimeout"),
    "500": (Fault(Does.ANSWERS, answer=refusal(500, "InternalError")), 503, "ServiceUnavailable"),
    "503": (Fault(Does.ANSWERS, answer=refusal(503, "SlowDown")), 503, "ServiceUnavailable"),
    "403": (
        Fault(Does.ANSWERS, answer=refusal(403, "SignatureDoesNotMatch")),
        503,
        "ServiceUnavailable",
    ),
    "garbage": (Fault(Does.ANSWERS, answer=GARBAGE), 502, "UpstreamNonsense"),
    "redirect": (Fault(Does.ANSWERS, answer=REDIRECT), 502, "UpstreamNonsense"),
    "a page without an ETag": (Fault(Does.ANSWERS, answer=PAGE), 502, "UpstreamNonsense"),
}

FAULTS = pytest.mark.parametrize(
    ("fault", "status", "code"), BEFORE_THE_ANSWER.values(), ids=BEFORE_THE_ANSWER.keys()
)


def expect(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.code) == (status, code)
    if status in (503, 504):
        assert int(answer.headers["retry-after"]) >= 1


def lists_objects(line: str) -> bool:
    return line.startswith("GET /object?") and "list-type=2" in line


def put_old(fragile: Fragile, key: str, data: bytes = OLD) -> None:
    fragile.store(key, data)


def expect_others_served(fragile: Fragile) -> None:
    """The daemon goes on: another node's keys are served as ever."""
    for name in fragile.nodes:
        assert fragile.daemon.ask("GET", f"/-/ring?key=any{name}").status == 200
    assert fragile.daemon.ask("GET", "/-/health").status == 200


# -- GET --------------------------------------------------------------------------------------


@FAULTS
def test_get(fragile: Fragile, key: str, fault: Fault, status: int, code: str) -> None:
    put_old(fragile, key)
    fragile.misbehave(key, fault)
    expect(fragile.daemon.ask("GET", f"/object/{key}"), status, code)
    expect_others_served(fragile)
    fragile.behave()
    assert fragile.daemon.ask("GET", f"/object/{key}").body == OLD


@pytest.mark.parametrize("answer", [TEAPOT, NO_LENGTH], ids=["418", "no length"])
def test_get_of_other_oddities(fragile: Fragile, key: str, answer: bytes) -> None:
    put_old(fragile, key)
    fragile.misbehave(key, Fault(Does.ANSWERS, answer=answer))
    refused = fragile.daemon.ask("GET", f"/object/{key}")
    assert refused.status in (502, 503)
    assert refused.code


@pytest.mark.parametrize(
    "fault",
    [Fault(Does.RESETS), Fault(Does.HANGS_BEFORE_HEADERS), Fault(Does.ANSWERS, answer=GARBAGE)],
    ids=["resets", "hangs", "garbage"],
)
def test_head(fragile: Fragile, key: str, fault: Fault) -> None:
    put_old(fragile, key)
    fragile.misbehave(key, fault)
    assert fragile.daemon.ask("HEAD", f"/object/{key}").status in (502, 503, 504)


def test_nodes_that_say_they_lack_the_bucket(fragile: Fragile, key: str) -> None:
    """Such a node holds no copy; what it is sent goes there once it has the bucket, or not."""
    fragile.misbehave(key, Fault(Does.ANSWERS, answer=refusal(404, "NoSuchBucket")))
    expect(fragile.daemon.ask("GET", f"/object/{key}"), 404, "NoSuchKey")
    expect(put(fragile, key, "held", OLD), 503, "ServiceUnavailable")
    fragile.behave()
    put_old(fragile, key)
    assert fragile.daemon.ask("GET", f"/object/{key}").body == OLD
    # A 404 to HEAD has no body that could say which of the two is missing.
    answer = (
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"
        b"x-minio-error-code: NoSuchBucket\r\nConnection: close\r\n\r\n"
    )
    fragile.misbehave(key, Fault(Does.ANSWERS, answer=answer))
    assert fragile.daemon.ask("HEAD", f"/object/{key}").status == 404


@pytest.mark.parametrize("passed", [0, 1, LARGE // 2, LARGE - 1])
@pytest.mark.parametrize("does", [Does.HANGS_MID_BODY, Does.CLOSES_MID_BODY, Does.RESETS_MID_BODY])
def test_get_that_breaks_in_the_body(fragile: Fragile, key: str, does: Does, passed: int) -> None:
    data = body(LARGE)
    put_old(fragile, key, data)
    fragile.misbehave(key, Fault(does, count=passed), "GET")
    if passed < LARGE // 4:
        with pytest.raises(Truncated) as cut:
            fragile.daemon.ask("GET", f"/object/{key}")
        # The head told the true length, so nobody can take this for the whole.
        assert f"content-length: {LARGE}".encode() in cut.value.head
        assert data.startswith(cut.value.body)
        assert len(cut.value.body) < LARGE
    else:
        # The rest is asked of whoever has it, three times of each node.
        assert fragile.daemon.ask("GET", f"/object/{key}").body == data
    fragile.behave()
    assert fragile.daemon.ask("GET", f"/object/{key}").body == data


def test_a_range_that_breaks_in_the_body(fragile: Fragile, key: str) -> None:
    put_old(fragile, key, body(LARGE))
    fragile.misbehave(key, Fault(Does.CLOSES_MID_BODY, count=KIB), "GET")
    with pytest.raises(Truncated):
        fragile.daemon.ask("GET", f"/object/{key}", {"Range": f"bytes=0-{MIB}"})


def test_a_get_that_lost_its_connection_before_the_answer_is_tried_once_more(
    fragile: Fragile, key: str
) -> None:
    put_old(fragile, key)
    proxy = fragile.proxy_of(key)
    hits: list[str] = []

    def first_only(line: str) -> bool:
        if line.startswith("GET") and f"/object/{key}" in line:
            hits.append(line)
            return len(hits) == 1
        return False

    proxy.misbehave(Fault(Does.RESETS, first_only))
    assert fragile.daemon.ask("GET", f"/object/{key}").body == OLD
    assert len(hits) == 2


# -- PUT --------------------------------------------------------------------------------------

HOWS = pytest.mark.parametrize("how", ["held", "flowing", "chunked"])
SIZES = {"held": KIB, "flowing": LARGE, "chunked": 9 * MIB}


def put(fragile: Fragile, key: str, how: str, data: bytes) -> Answer:
    port, target = fragile.daemon.port, f"/object/{key}"
    if how == "chunked":
        return ask_chunked(port, target, pieces(data))
    return fragile.daemon.ask("PUT", target, {}, data, 30.0)


@HOWS
@FAULTS
def test_put(fragile: Fragile, key: str, fault: Fault, status: int, code: str, how: str) -> None:
    put_old(fragile, key)
    fragile.misbehave(key, fault)
    expect(put(fragile, key, how, body(SIZES[how])), status, code)
    expect_others_served(fragile)
    fragile.behave()
    assert fragile.daemon.ask("GET", f"/object/{key}").body == OLD
    assert fragile.node_of(key).uploads(key) == []
    data = body(SIZES[how], 1)
    assert put(fragile, key, how, data).status == 201
    assert fragile.daemon.ask("GET", f"/object/{key}").body == data


@HOWS
def test_put_to_a_node_that_reads_nothing(fragile: Fragile, key: str, how: str) -> None:
    put_old(fragile, key)
    # The first request of a chunked upload has no body: let it through.
    fragile.misbehave(key, Fault(Does.READS_NOTHING), "PUT")
    size = 24 * MIB if how != "held" else SIZES[how]
    expect(put(fragile, key, how, body(size)), 504, "UpstreamTimeout")
    fragile.behave()
    assert fragile.daemon.ask("GET", f"/object/{key}").body == OLD
    until(lambda: fragile.node_of(key).uploads(key) == [], "the upload is aborted")


@HOWS
@pytest.mark.parametrize(
    ("answer", "statuses"),
    [
        (refusal(500, "InternalError"), {503}),
        (refusal(403, "AccessDenied"), {503}),
        # While a body is on its way, nonsense, a lost connection and silence look much alike.
        (GARBAGE, {502, 503, 504}),
    ],
    ids=["500", "403", "garbage"],
)
def test_put_to_a_node_that_answers_before_the_body(
    fragile: Fragile, key: str, how: str, answer: bytes, statuses: set[int]
) -> None:
    put_old(fragile, key)
    fragile.misbehave(key, Fault(Does.ANSWERS_EARLY, answer=answer), "PUT")
    refused = put(fragile, key, how, body(SIZES[how]))
    assert refused.status in statuses
    assert refused.code
    fragile.behave()
    assert fragile.daemon.ask("GET", f"/object/{key}").body == OLD
    until(lambda: fragile.node_of(key).uploads(key) == [], "the upload is aborted")


def test_a_node_that_says_stored_before_it_had_the_body_isnt_believed(
    fragile: Fragile, key: str
) -> None:
    put_old(fragile, key)
    early = b'HTTP/1.1 200 OK\r\nETag: "0"\r\nContent-Length: 0\r\n\r\n'
    fragile.misbehave(key, Fault(Does.ANSWERS_EARLY, answer=early), "PUT")
    expect(put(fragile, key, "flowing", body(LARGE)), 502, "UpstreamNonsense")
    fragile.behave()
    assert fragile.daemon.ask("GET", f"/object/{key}").body == OLD


@pytest.mark.parametrize("how", ["flowing", "chunked"])
def test_a_put_whose_answer_is_lost_is_no_success(fragile: Fragile, key: str, how: str) -> None:
    """It may have been carried out: then it is there as a whole."""
    put_old(fragile, key)
    data = body(SIZES[how])
    # Of an upload in parts the Complete, which isn't repeated.
    fragile.misbehave(key, Fault(Does.LOSES_THE_ANSWER), "PUT" if how == "flowing" else "POST")
    expect(put(fragile, key, how, data), 503, "ServiceUnavailable")
    fragile.behave()
    assert fragile.daemon.ask("GET", f"/object/{key}").body in (OLD, data)


def test_a_complete_that_begins_well_and_fails(fragile: Fragile, key: str) -> None:
    put_old(fragile, key)
    text = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>no</Message></Error>"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
    fragile.misbehave_for(
        lambda line: "uploadId=" in line and "POST" in line, Fault(Does.ANSWERS, answer=answer)
    )
    expect(put(fragile, key, "chunked", body(SIZES["chunked"])), 503, "ServiceUnavailable")
    fragile.behave()
    assert fragile.daemon.ask("GET", f"/object/{key}").body == OLD
    until(lambda: fragile.node_of(key).uploads(key) == [], "the upload is aborted")


def test_a_held_body_whose_connection_broke_goes_to_another_node(
    fragile: Fragile, key: str
) -> None:
    """Not to the same one again: the first request may take effect later, over newer ones."""
    proxy, node = fragile.proxy_of(key), fragile.node_of(key)
    hits: list[str] = []

    def first_only(line: str) -> bool:
        if line.startswith(f"PUT /object/{key} "):
            hits.append(line)
            return len(hits) == 1
        return False

    proxy.misbehave(Fault(Does.RESETS_AFTER_BODY, first_only))
    assert put(fragile, key, "held", b"small").status == 201
    assert len(hits) == 1
    assert fragile.daemon.ask("GET", f"/object/{key}").body == b"small"
    until(lambda: key in node.stored_keys(), "mending brings it where it belongs")
    fragile.daemon.wait_until_settled()
    holders = [each for each in fragile.nodes.values() if key in each.stored_keys()]
    assert holders == [node]


# -- DELETE and the listing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    # To DELETE a 200 is an answer, whatever its body says.
    [fault for fault, _, _ in BEFORE_THE_ANSWER.values() if fault.answer != PAGE],
    ids=[name for name, case in BEFORE_THE_ANSWER.items() if case[0].answer != PAGE],
)
def test_delete(fragile: Fragile, key: str, fault: Fault) -> None:
    """It stands in the journal: what a node still has is dead, and removed when it lets us."""
    put_old(fragile, key)
    node = fragile.node_of(key)
    fragile.misbehave(key, fault, "DELETE")
    assert fragile.daemon.ask("DELETE", f"/object/{key}").status == 204
    assert key in node.stored_keys()
    assert fragile.daemon.ask("GET", f"/object/{key}").status == 404
    assert fragile.daemon.ask("HEAD", f"/object/{key}").status == 404
    assert fragile.daemon.ask("GET", f"/object?prefix={key}").json["objects"] == []
    fragile.behave()
    assert fragile.daemon.ask("GET", f"/object/{key}").status == 404
    until(lambda: key not in node.stored_keys(), "the copy is removed")


@FAULTS
def test_listing(fragile: Fragile, key: str, fault: Fault, status: int, code: str) -> None:
    put_old(fragile, key)
    fragile.misbehave_for(lists_objects, fault)
    expect(fragile.daemon.ask("GET", f"/object?prefix={key}"), status, code)
    fragile.behave()
    listed = fragile.daemon.ask("GET", f"/object?prefix={key}").json
    assert [each["id"] for each in listed["objects"]] == [key]


def test_a_listing_that_breaks_off(fragile: Fragile, key: str) -> None:
    put_old(fragile, key)
    name = fragile.daemon.primary(key)
    fragile.proxies[name].misbehave(Fault(Does.CLOSES_MID_BODY, lists_objects, count=100))
    expect(fragile.daemon.ask("GET", f"/object?prefix={key}"), 503, "ServiceUnavailable")


def test_a_client_that_waits_isnt_held_by_a_node_that_hangs(fragile: Fragile, key: str) -> None:
    """Other requests on the same connection come after; those on others at once."""
    put_old(fragile, key)
    other = f"other{key[:20]}"
    put_old(fragile, other)
    fragile.misbehave(key, Fault(Does.HANGS_BEFORE_HEADERS))
    with Wire(fragile.daemon.port) as wire:
        wire.send_request("GET", f"/object/{key}")
        assert fragile.daemon.ask("GET", f"/object/{other}", timeout_s=0.8).body == OLD
        assert wire.answer().status == 504
