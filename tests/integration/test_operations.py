"""The operations door: what it tells of a running daemon."""

from __future__ import annotations

import pytest

from tests.conftest import NAMES
from tests.integration.bodies import KIB
from tests.integration.daemon import Daemon
from tests.integration.nodes import RealNode
from tests.integration.waiting import until
from tests.integration.wire import Wire, head

FAMILIES = {
    "aosd_requests_total": ("door", "verb", "status"),
    "aosd_request_seconds_bucket": ("door", "verb", "le"),
    "aosd_request_seconds_count": ("door", "verb"),
    "aosd_received_bytes_total": ("door",),
    "aosd_sent_bytes_total": ("door",),
    "aosd_lane_requests_total": ("lane",),
    "aosd_requests_in_flight": ("door",),
    "aosd_body_memory_bytes": (),
    "aosd_node_requests_total": ("node", "verb"),
    "aosd_spliced_bytes_total": ("node",),
    "aosd_node_request_seconds_bucket": ("node", "verb", "le"),
    "aosd_node_breaker_open": ("node",),
    "aosd_node_up": ("node",),
    "aosd_ring_members": (),
    "aosd_marks": (),
    "aosd_sweep_keys_total": (),
    "aosd_copies_missing_total": (),
    "aosd_copies_made_total": (),
    "aosd_copies_removed_total": (),
    "aosd_repair_bytes_total": (),
    "aosd_oldest_gap_seconds": (),
    "aosd_repair_paused": (),
    "aosd_ring_change_keys": (),
    "aosd_ring_change_seconds_left": (),
    "aosd_last_sweep_timestamp_seconds": (),
    "aosd_discovery_reports_total": ("provider",),
    "process_resident_memory_bytes": (),
}


def test_health_and_ready(daemon: Daemon) -> None:
    assert daemon.ask("GET", "/-/health").json == {"status": "alive"}
    assert daemon.ask("GET", "/-/ready").json == {"ready": True, "reason": ""}
    assert daemon.ask("HEAD", "/-/ready").status == 200


def test_nodes(daemon: Daemon, nodes: list[RealNode]) -> None:
    told = daemon.nodes()
    assert [each["name"] for each in told["nodes"]] == list(NAMES)
    for each, node in zip(told["nodes"], nodes, strict=True):
        assert each["state"] == "up"
        assert each["reason"] == ""
        assert each["url"] == node.url
        assert each["zone"] == node.name
        assert each["weight"] == 1.0
        assert each["incarnation"]
        assert "nodes.toml" in each["seen_as"]
        assert each["member"] is True
    assert len({each["incarnation"] for each in told["nodes"]}) == 3
    assert told["cluster"]
    assert told["changing"] is False
    assert (told["next_may_go"], told["wait_for"]) == (True, [])
    assert told["unusable"] == []
    (provider,) = told["providers"]
    assert provider["name"].startswith("static:")
    assert (provider["reported"], provider["sightings"], provider["trouble"]) == (True, 3, "")
    text = daemon.ask("GET", "/-/nodes").body.decode()
    for node in nodes:
        assert node.credentials.secret_key not in text


def test_the_ring_explains_where_a_key_lies(
    daemon: Daemon, nodes: list[RealNode], key: str
) -> None:
    ring = daemon.ask("GET", "/-/ring").json
    assert [each["name"] for each in ring["members"]] == list(NAMES)
    assert ring["replicas"] == 2
    assert (ring["changing"], ring["saturated"]) == (False, [])
    assert ring["ring"] == daemon.nodes()["ring"]

    placement = daemon.ask("GET", f"/-/ring?key={key}").json
    assert placement["ring"] == ring["ring"]
    assert (placement["bucket"], placement["key"]) == ("object", key)
    assert 0 <= placement["partition"] < 65536
    order = [each["name"] for each in placement["order"]]
    assert sorted(order) == list(NAMES)
    assert order == sorted(order, key=placement["scores"].__getitem__)
    assert [each["role"] for each in placement["order"]] == ["primary", "primary", "handoff"]
    assert {each["state"] for each in placement["order"]} == {"up"}

    assert (placement["settled"], placement["why"]) == (True, "")
    assert placement["former"] is None
    assert placement["copies"] == dict.fromkeys(NAMES)

    stored = daemon.ask("PUT", f"/object/{key}", {}, b"xyz").json
    assert {node.name for node in nodes if key in node.stored_keys()} == set(order[:2])
    copies = daemon.ask("GET", f"/-/ring?key={key}").json["copies"]
    assert copies[order[2]] is None
    assert copies[order[0]] == copies[order[1]]
    assert (copies[order[0]]["etag"], copies[order[0]]["size"]) == (stored["etag"], 3)

    daemon.ask("DELETE", f"/object/{key}")
    gone = daemon.ask("GET", f"/-/ring?key={key}").json
    assert gone["copies"] == dict.fromkeys(NAMES)
    assert gone["deleted"] > copies[order[0]]["stamp"]
    elsewhere = daemon.ask("GET", f"/-/ring?key={key}&bucket=other").json
    assert elsewhere["bucket"] == "other"


def test_what_repair_tells(daemon: Daemon) -> None:
    told = daemon.repair()
    assert set(told) == {
        "settled",
        "unsettled",
        "marks",
        "journal",
        "alone",
        "sweep",
        "last_sweep",
        "paused",
    }
    assert (told["settled"], told["unsettled"], told["marks"]) == (True, [], 0)
    before = told["journal"]
    assert daemon.ask("DELETE", "/object/neverthere").status == 204
    assert daemon.repair()["journal"] >= max(before, 1)


def test_a_key_that_is_none(daemon: Daemon) -> None:
    refused = daemon.ask("GET", f"/-/ring?key={'x' * 1025}")
    assert (refused.status, refused.code) == (400, "KeyTooLongError")
    assert daemon.ask("GET", "/-/ring?key=%ff%00/../x").status == 200


def test_all_families_are_there(daemon: Daemon, key: str) -> None:
    daemon.ask("PUT", f"/object/{key}", {}, b"x")
    answer = daemon.ask("GET", "/-/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    for family, labels in FAMILIES.items():
        samples = [line for line in lines if line.startswith((f"{family}{{", f"{family} "))]
        assert samples, family
        for label in labels:
            assert all(f'{label}="' in sample for sample in samples), (family, label)
    for family in ("aosd_node_errors", "aosd_discovery_failures"):
        assert f"# TYPE {family}_total counter" in lines or f"# TYPE {family} counter" in lines


@pytest.mark.parametrize(
    ("verb", "target", "body", "status"),
    [
        ("PUT", "/object/metrics", b"x" * KIB, "201"),
        ("GET", "/object/metrics", None, "200"),
        ("HEAD", "/object/metrics", None, "200"),
        ("GET", "/object/nothinghere", None, "404"),
        ("GET", "/object/a.b", None, "400"),
        ("GET", "/object?limit=1", None, "200"),
        ("DELETE", "/object/metrics", None, "204"),
    ],
)
def test_requests_are_counted(
    daemon: Daemon, verb: str, target: str, body: bytes | None, status: str
) -> None:
    if verb != "PUT":
        daemon.ask("PUT", "/object/metrics", {}, b"x" * KIB)
    labels = {"door": "plain", "verb": verb}
    requests = daemon.metric("aosd_requests_total", **labels, status=status)
    timed = daemon.metric("aosd_request_seconds_count", **labels)
    received = daemon.metric("aosd_received_bytes_total", door="plain")
    sent = daemon.metric("aosd_sent_bytes_total", door="plain")
    answer = daemon.ask(verb, target, {}, body)
    assert answer.status == int(status)
    until(
        lambda: daemon.metric("aosd_requests_total", **labels, status=status) == requests + 1,
        "the request is counted",
    )
    assert daemon.metric("aosd_request_seconds_count", **labels) == timed + 1
    grown = daemon.metric("aosd_received_bytes_total", door="plain") - received
    assert grown == len(body or b"")
    assert daemon.metric("aosd_sent_bytes_total", door="plain") - sent == len(answer.body)


def test_nodes_requests_are_counted(daemon: Daemon, key: str) -> None:
    def counted() -> dict[str, tuple[float, float]]:
        return {
            name: (
                daemon.metric("aosd_node_requests_total", node=name, verb="DELETE"),
                daemon.metric("aosd_node_request_seconds_count", node=name, verb="DELETE"),
            )
            for name in NAMES
        }

    daemon.ask("PUT", f"/object/{key}", {}, b"x")
    before = counted()
    # It goes to every node that could hold the key; nothing else deletes now.
    daemon.ask("DELETE", f"/object/{key}")
    assert counted() == {name: (sent + 1, timed + 1) for name, (sent, timed) in before.items()}
    for name in NAMES:
        assert daemon.metric("aosd_node_up", node=name) == 1
        assert daemon.metric("aosd_node_breaker_open", node=name) == 0
    assert daemon.metric("aosd_ring_members") == 3


def test_what_is_in_flight_is_told(daemon: Daemon, key: str) -> None:
    assert daemon.metric("aosd_requests_in_flight", door="plain") == 0
    with Wire(daemon.port) as wire:
        wire.send(head("PUT", f"/object/{key}", {}, 10) + b"01234")
        until(lambda: daemon.metric("aosd_requests_in_flight", door="plain") == 1, "one in flight")
        assert daemon.metric("aosd_body_memory_bytes") == 10
        wire.send(b"56789")
        assert wire.answer().status == 201
    until(lambda: daemon.metric("aosd_requests_in_flight", door="plain") == 0, "none in flight")
    assert daemon.metric("aosd_body_memory_bytes") == 0


def test_strange_verbs_make_no_labels(daemon: Daemon) -> None:
    daemon.ask("X" * 50, "/object")
    text = daemon.ask("GET", "/-/metrics").body.decode()
    assert "XXXX" not in text
    assert daemon.metric("aosd_requests_total", verb="other", status="405") >= 1
