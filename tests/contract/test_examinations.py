"""What is found wrong with real S3 servers, and that nothing is left behind on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO

import pytest

from aosd.model.check import Check
from aosd.model.marker import MARKER_KEY, Marker
from aosd.model.node import Address, Credentials
from aosd.model.objects import SYSTEM_BUCKET
from aosd.nodes.examine import CHECKS, examine
from tests.fault.bad_node import BadNode, Does, Fault, in_front_of, refusal
from tests.integration.nodes import BUCKET, KINDS, RealNode
from tests.integration.processes import free_port

OURS = Marker("c1", "n1", "i1")


@pytest.fixture(scope="module", params=KINDS)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealNode]:
    node = RealNode("n1", tmp_path_factory.mktemp(request.param), kind=request.param)
    try:
        node.start()
        node.wait_until_it_answers()
        yield node
    finally:
        node.end()


@pytest.fixture
def node(running: RealNode) -> Iterator[RealNode]:
    """One that has its buckets, and holds nothing; nobody left a probe behind."""
    client = running.client()
    if not client.bucket_exists(bucket_name=SYSTEM_BUCKET):
        client.make_bucket(bucket_name=SYSTEM_BUCKET)
    yield running
    assert not [key for key in running.stored_keys(SYSTEM_BUCKET) if key != MARKER_KEY]
    for bucket in (SYSTEM_BUCKET, BUCKET):
        for key in running.stored_keys(bucket):
            client.remove_object(bucket_name=bucket, object_name=key)


@pytest.fixture
def proxy(node: RealNode) -> Iterator[BadNode]:
    with in_front_of([node.port]) as (proxy,):
        yield proxy


def mark(node: RealNode, data: bytes = OURS.to_bytes()) -> None:
    node.client().put_object(
        bucket_name=SYSTEM_BUCKET, object_name=MARKER_KEY, data=BytesIO(data), length=len(data)
    )


def examined(
    node: RealNode, *, port: int = 0, secret: str = "", ahead_s: float = 0.0, **known: object
) -> dict[str, Check]:
    """The checks by what they are of; by default of a member of the cluster c1."""
    credentials = node.credentials
    if secret:
        credentials = Credentials(credentials.access_key, secret)
    defaults = {"cluster": "c1", "incarnation": "i1", "member": True}
    checks = examine(
        "n1",
        Address("http", "127.0.0.1", port or node.port),
        credentials,
        now=lambda: time.time() + ahead_s,
        **{**defaults, **known},  # type: ignore[arg-type]
    )
    assert tuple(check.what for check in checks) == CHECKS
    for check in checks:
        # What is wrong has something to be done about it, and no secret is told.
        assert check.found
        assert check.ok is not False or check.do
        assert credentials.secret_key not in f"{check.found} {check.do}"
    return {check.what: check for check in checks}


def oks(checks: dict[str, Check]) -> dict[str, bool | None]:
    return {what: check.ok for what, check in checks.items()}


def test_a_member_that_is_well(node: RealNode) -> None:
    mark(node)
    found = examined(node)
    told = node.kind == "minio"
    assert oks(found) == {**dict.fromkeys(CHECKS, True), "space": True if told else None}
    assert [check.do for check in found.values() if check.what != "space" and check.do] == []
    assert ("are free" in found["space"].found) is told
    assert found["marker"].found == "ours"


def test_a_blank_one(node: RealNode) -> None:
    found = examined(node, member=False)
    assert (found["marker"].ok, found["probe"].ok) == (True, True)
    assert "no cluster yet" in found["marker"].found
    assert node.stored_keys(SYSTEM_BUCKET) == set()


def test_one_that_holds_objects_is_left_as_it_is(node: RealNode) -> None:
    node.put("k", b"x")
    found = examined(node, member=False)
    assert "objects that this cluster didn't write" in found["probe"].found
    assert "adopt n1" in found["probe"].do
    assert node.stored_keys() == {"k"}


def test_one_that_is_stopped(node: RealNode) -> None:
    found = examined(node, port=free_port())
    assert oks(found) == {**dict.fromkeys(CHECKS), "reachable": False}
    assert found["reachable"].found.endswith("no connection: Connection refused")


def test_one_that_stands_still(node: RealNode, proxy: BadNode) -> None:
    proxy.misbehave(Fault(Does.HANGS_BEFORE_HEADERS))
    found = examined(node, port=proxy.port)
    assert oks(found) == {**dict.fromkeys(CHECKS), "reachable": False}
    assert "didn't answer within" in found["reachable"].found


def test_one_that_is_not_ready(node: RealNode, proxy: BadNode) -> None:
    proxy.misbehave(Fault(Does.ANSWERS, answer=refusal(503, "XMinioServerNotInitialized")))
    found = examined(node, port=proxy.port)
    assert found["reachable"].ok is False
    assert "XMinioServerNotInitialized" in found["reachable"].found


def test_wrong_credentials(node: RealNode) -> None:
    mark(node)
    found = examined(node, secret="another-one")
    assert (found["reachable"].ok, found["clock"].ok) == (True, True)
    assert found["credentials"].ok is False
    assert "secret key is another one" in found["credentials"].found
    assert [found[what].ok for what in ("marker", "probe", "space")] == [None, None, None]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InvalidAccessKeyId", "doesn't know the access key"),
        ("AccessDenied", "may not read"),
        ("SomethingElse", "SomethingElse"),
    ],
)
def test_each_way_to_be_refused(node: RealNode, proxy: BadNode, code: str, words: str) -> None:
    proxy.misbehave(Fault(Does.ANSWERS, answer=refusal(403, code)))
    found = examined(node, port=proxy.port)
    assert (found["reachable"].ok, found["credentials"].ok) == (True, False)
    assert words in found["credentials"].found


@pytest.mark.parametrize(
    ("ahead_s", "ok", "warned"),
    [(0, True, False), (3, True, True), (-3, True, True), (30, False, True), (-30, False, True)],
)
def test_clocks(node: RealNode, ahead_s: float, ok: bool, warned: bool) -> None:
    mark(node)
    clock = examined(node, ahead_s=ahead_s)["clock"]
    assert (clock.ok, bool(clock.do)) == (ok, warned)
    if warned:
        assert f"{-ahead_s:+.0f} s from ours" in clock.found


def test_a_clock_that_is_too_far_off_for_signatures(node: RealNode, proxy: BadNode) -> None:
    proxy.misbehave(Fault(Does.ANSWERS, answer=refusal(403, "RequestTimeTooSkewed")))
    found = examined(node, port=proxy.port)
    assert found["credentials"].ok is None


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        (Marker("c2", "n1", "i1").to_bytes(), "another cluster, c2"),
        (Marker("c1", "n2", "i1").to_bytes(), "the data of node n2"),
        (b"no marker", "can't be read"),
    ],
)
@pytest.mark.parametrize("member", [True, False])
def test_a_node_of_others(node: RealNode, marker: bytes, words: str, member: bool) -> None:
    """Nothing is written to it."""
    mark(node, marker)
    found = examined(node, member=member)
    assert found["marker"].ok is False
    assert words in found["marker"].found
    assert found["probe"].ok is None


def test_another_disk(node: RealNode) -> None:
    mark(node, Marker("c1", "n1", "i2").to_bytes())
    found = examined(node)
    assert found["marker"].ok is False
    assert "another disk" in found["marker"].found
    assert found["probe"].ok is True


def test_a_disk_that_was_emptied(node: RealNode) -> None:
    found = examined(node)
    assert found["marker"].ok is False
    assert "its marker is gone" in found["marker"].found


def test_where_no_cluster_is_known(node: RealNode) -> None:
    mark(node)
    found = examined(node, member=False, cluster="", incarnation="")
    assert found["marker"].found == "it belongs to the cluster c1"
    assert (found["marker"].ok, found["probe"].ok) == (True, True)


@pytest.mark.parametrize("code", ["XMinioStorageFull", "InsufficientStorage"])
def test_one_that_is_full(node: RealNode, proxy: BadNode, code: str) -> None:
    mark(node)
    writes = Fault(
        Does.ANSWERS, lambda line: line.startswith("PUT") and "probe/" in line, refusal(507, code)
    )
    proxy.misbehave(writes)
    found = examined(node, port=proxy.port)
    assert (found["probe"].ok, found["space"].ok) == (False, False)
    assert "lack of space" in found["probe"].found


def test_one_that_gives_back_other_bytes(node: RealNode, proxy: BadNode) -> None:
    mark(node)
    other = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "x"\r\n\r\nother'
    proxy.misbehave(
        Fault(Does.ANSWERS, lambda line: line.startswith("GET") and "probe/" in line, other)
    )
    found = examined(node, port=proxy.port)
    assert found["probe"].ok is False
    assert "other bytes" in found["probe"].found


def test_one_whose_versioning_was_turned_on(node: RealNode, proxy: BadNode) -> None:
    mark(node)
    on = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(on) + on
    proxy.misbehave(Fault(Does.ANSWERS, lambda line: "versioning" in line, answer))
    found = examined(node, port=proxy.port)
    assert found["probe"].ok is False
    assert "versioning is on" in found["probe"].found
