"""Nodes that can't be what they are said to be: none, two of one name, strangers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import UP
from tests.fault.bad_node import Does, Fault, in_front_of, refusal
from tests.fault.conftest import DEADLINES
from tests.integration.daemon import Daemon
from tests.integration.nodes import RealNode, write_nodes_file
from tests.integration.waiting import until
from tests.integration.wire import ask_chunked

Start = Callable[..., Daemon]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a daemon over static files; it is stopped, and has to have ended well."""
    with ExitStack() as stack:

        def start(*files: Path, flags: tuple[str, ...] = DEADLINES) -> Daemon:
            folder = tmp_path / f"daemon{len(list(tmp_path.iterdir()))}"
            daemon = Daemon(folder, [*(f"--nodes=static:{file}" for file in files), *flags])
            stack.callback(daemon.kill)
            stack.callback(daemon.stop)
            daemon.wait_until_it_lives()
            return daemon

        yield start


def expect_nothing_served(daemon: Daemon) -> None:
    """Each request gets a 503 in the door's form, and the process lives."""
    for verb, target, body in (
        ("GET", "/object/abc", None),
        ("PUT", "/object/abc", b"x"),
        ("DELETE", "/object/abc", None),
        ("GET", "/object", None),
    ):
        answer = daemon.ask(verb, target, {}, body)
        assert (answer.status, answer.code) == (503, "ServiceUnavailable")
        assert int(answer.headers["retry-after"]) >= 1
    assert daemon.ask("HEAD", "/object/abc").status == 503
    assert ask_chunked(daemon.port, "/object/abc", [b"x"]).status == 503
    ready = daemon.ask("GET", "/-/ready")
    assert ready.status == 503
    assert ready.json["ready"] is False
    assert ready.json["reason"]
    assert daemon.ask("GET", "/-/health").status == 200


def test_no_nodes(start: Start, fresh_nodes: list[RealNode], tmp_path: Path) -> None:
    file = tmp_path / "nodes.toml"
    file.write_text("")
    daemon = start(file)
    expect_nothing_served(daemon)
    assert daemon.states() == {}
    # A bad request is still a bad request.
    assert daemon.ask("GET", "/object/a.b").status == 400
    write_nodes_file(file, fresh_nodes)
    daemon.wait_until_up(*UP)
    assert daemon.ask("GET", "/-/ready").status == 200
    assert daemon.ask("PUT", "/object/abc", {}, b"x").status == 201


def test_a_file_that_isnt_there_yet(
    start: Start, fresh_nodes: list[RealNode], tmp_path: Path
) -> None:
    file = tmp_path / "nodes.toml"
    daemon = start(file)
    expect_nothing_served(daemon)
    (provider,) = daemon.nodes()["providers"]
    assert str(file) in provider["trouble"]
    assert daemon.metric("aosd_discovery_failures_total", provider=f"static:{file}") >= 1
    write_nodes_file(file, fresh_nodes)
    daemon.wait_until_up(*UP)
    assert daemon.nodes()["providers"][0]["trouble"] == ""


def test_a_broken_edit_keeps_the_last_good_one(
    start: Start, fresh_nodes: list[RealNode], tmp_path: Path
) -> None:
    file = write_nodes_file(tmp_path / "nodes.toml", fresh_nodes)
    daemon = start(file)
    daemon.wait_until_up(*UP)
    good = file.read_text()
    for broken in (
        "[[node]\n",
        good.replace("http://", "gopher://"),
        good + good,
        "[[nodes]]\n",
    ):
        file.write_text(broken)
        trouble = until(lambda: daemon.nodes()["providers"][0]["trouble"], "the trouble is told")
        assert str(file) in trouble
        assert "secret=of" not in trouble
        assert daemon.states() == UP
        assert daemon.ask("PUT", "/object/edited", {}, b"x").status == 201
        file.write_text(good)
        until(lambda: not daemon.nodes()["providers"][0]["trouble"], "it is well again")


def test_a_node_that_leaves_the_file_stays_a_member(
    start: Start, fresh_nodes: list[RealNode], tmp_path: Path
) -> None:
    file = write_nodes_file(tmp_path / "nodes.toml", fresh_nodes)
    daemon = start(file)
    daemon.wait_until_up(*UP)
    ring = daemon.nodes()["ring"]
    key = daemon.key_on("n1", "left")
    assert daemon.ask("PUT", f"/object/{key}", {}, b"x").status == 201
    write_nodes_file(file, fresh_nodes[1:])
    daemon.wait_for_states({**UP, "n1": "down"})
    assert daemon.nodes()["ring"] == ring
    assert daemon.ask("GET", f"/object/{key}").body == b"x"
    assert daemon.ask("PUT", f"/object/{key}", {}, b"y").status == 201
    write_nodes_file(file, fresh_nodes)
    daemon.wait_until_up(*UP)
    assert daemon.ask("GET", f"/object/{key}").body == b"y"


def test_two_nodes_with_one_name_in_one_file(
    start: Start, fresh_nodes: list[RealNode], tmp_path: Path
) -> None:
    file = write_nodes_file(tmp_path / "nodes.toml", fresh_nodes)
    file.write_text(file.read_text().replace('"n2"', '"n1"'))
    daemon = start(file)
    expect_nothing_served(daemon)
    assert "'n1'" in daemon.nodes()["providers"][0]["trouble"]


def test_two_nodes_with_one_name_from_the_start(
    start: Start, fresh_nodes: list[RealNode], tmp_path: Path
) -> None:
    first = write_nodes_file(tmp_path / "first.toml", fresh_nodes)
    second = write_nodes_file(tmp_path / "second.toml", fresh_nodes[:1], [fresh_nodes[1].port])
    daemon = start(first, second)
    daemon.wait_until_ready()
    until(lambda: {"n2": "up", "n3": "up"}.items() <= daemon.states().items(), "others are up")
    (problem,) = until(lambda: daemon.nodes()["unusable"], "it is told of")
    assert problem["where"] == "n1"
    assert "two" in problem["problem"]
    assert str(first) in problem["problem"]
    assert str(second) in problem["problem"]
    key = daemon.key_on("n2", "twice")
    assert daemon.ask("PUT", f"/object/{key}", {}, b"x").status == 201


def test_a_second_node_of_a_name_moves_nothing(
    start: Start, fresh_nodes: list[RealNode], tmp_path: Path
) -> None:
    first = write_nodes_file(tmp_path / "first.toml", fresh_nodes)
    second = write_nodes_file(tmp_path / "second.toml", fresh_nodes[:1])
    daemon = start(first, second)
    daemon.wait_until_up(*UP)
    before = daemon.nodes()
    key = daemon.key_on("n1", "second")
    assert daemon.ask("PUT", f"/object/{key}", {}, b"x").status == 201
    write_nodes_file(second, fresh_nodes[:1], [fresh_nodes[1].port])
    until(lambda: daemon.nodes()["unusable"], "the second one is told of")
    after = daemon.nodes()
    assert after["ring"] == before["ring"]
    for nodes in (before["nodes"], after["nodes"]):
        for node in nodes:
            del node["clock_ahead_s"]  # measured anew with each answer
    assert after["nodes"] == before["nodes"]
    assert daemon.ask("GET", f"/object/{key}").body == b"x"
    write_nodes_file(second, fresh_nodes[:1])
    until(lambda: not daemon.nodes()["unusable"], "it is told of no more")
    assert daemon.ask("GET", f"/object/{key}").body == b"x"


def test_wrong_credentials(start: Start, fresh_nodes: list[RealNode], tmp_path: Path) -> None:
    file = write_nodes_file(tmp_path / "nodes.toml", fresh_nodes)
    good = file.read_text()
    file.write_text(good.replace("secret=of-n1", "wrong"))
    daemon = start(file)
    daemon.wait_until_ready()
    daemon.wait_for_states({**UP, "n1": "down"})

    def reason() -> str:
        return str(daemon.nodes()["nodes"][0]["reason"])

    until(lambda: "SignatureDoesNotMatch" in reason(), "the reason is told")
    assert "wrong" not in reason()
    key = daemon.key_on("n1", "wrong")
    assert daemon.ask("PUT", f"/object/{key}", {}, b"x").status == 201
    file.write_text(good)
    daemon.wait_until_up(*UP)
    assert daemon.ask("GET", f"/object/{key}").body == b"x"
    until(lambda: key in fresh_nodes[0].stored_keys(), "it has its copy")


def test_credentials_that_go_wrong_on_the_way(
    start: Start, fresh_nodes: list[RealNode], tmp_path: Path
) -> None:
    """A node that refuses all of a sudden isn't asked any more, and is when it's mended."""
    with in_front_of([node.port for node in fresh_nodes]) as proxies:
        file = write_nodes_file(
            tmp_path / "nodes.toml", fresh_nodes, [each.port for each in proxies]
        )
        daemon = start(file)
        daemon.wait_until_up(*UP)
        key = daemon.key_on("n1", "sudden")
        assert daemon.ask("PUT", f"/object/{key}", {}, b"x").status == 201
        proxies[0].misbehave(Fault(Does.ANSWERS, answer=refusal(403, "InvalidAccessKeyId")))
        # Suspect, and down when the next probe is refused as well.
        until(lambda: daemon.states()["n1"] in ("suspect", "down"), "it isn't asked any more")
        until(lambda: "InvalidAccessKeyId" in daemon.nodes()["nodes"][0]["reason"], "it is told")
        assert daemon.ask("GET", f"/object/{key}").body == b"x"
        proxies[0].behave()
        daemon.wait_until_up(*UP)
        assert daemon.ask("GET", f"/object/{key}").body == b"x"


def test_nodes_that_have_changed_places(
    start: Start, fresh_nodes: list[RealNode], tmp_path: Path
) -> None:
    """A node with another's data is told by its marker, and never asked for objects."""
    file = write_nodes_file(tmp_path / "nodes.toml", fresh_nodes)
    daemon = start(file)
    daemon.wait_until_up(*UP)
    keys = (f"places{number}" for number in range(1000))
    key = next(each for each in keys if set(daemon.order(each)[:2]) == {"n1", "n2"})
    assert daemon.ask("PUT", f"/object/{key}", {}, b"x").status == 201
    # On a busy machine another one may have stood in.
    until(lambda: key not in fresh_nodes[2].stored_keys(), "it is where it belongs")
    good = file.read_text()
    swapped = good.replace(fresh_nodes[0].url, "http://other").replace(
        fresh_nodes[1].url, fresh_nodes[0].url
    )
    swapped = swapped.replace("http://other", fresh_nodes[1].url)
    # Each with the other's credentials, so that nothing but the marker tells.
    swapped = swapped.replace("of-n1", "of-x").replace("of-n2", "of-n1").replace("of-x", "of-n2")
    file.write_text(swapped)
    daemon.wait_for_states({**UP, "n1": "down", "n2": "down"})
    until(lambda: "n2" in daemon.nodes()["nodes"][0]["reason"], "the reason is told")
    assert daemon.ask("GET", f"/object/{key}").status == 503
    file.write_text(good)
    daemon.wait_until_up(*UP)
    assert daemon.ask("GET", f"/object/{key}").body == b"x"
    # The next daemon goes without n1, and one node alone wouldn't take its writes.
    daemon.wait_until_settled()


def test_what_is_no_s3_server(
    start: Start, daemon: Daemon, fresh_nodes: list[RealNode], tmp_path: Path
) -> None:
    """Another daemon's plain door, say."""
    ports = [daemon.port, fresh_nodes[1].port, fresh_nodes[2].port]
    fooled = start(write_nodes_file(tmp_path / "nodes.toml", fresh_nodes, ports))
    fooled.wait_until_ready()
    fooled.wait_for_states({**UP, "n1": "down"})
    until(lambda: fooled.nodes()["nodes"][0]["reason"] != "not reached yet", "a reason is told")
    key = fooled.key_on("n1", "stranger")
    # With one of three away it takes both of the others, and a busy machine may keep one waiting.
    until(lambda: fooled.ask("PUT", f"/object/{key}", {}, b"x").status == 201, "it is stored")
    assert fooled.ask("GET", f"/object/{key}").body == b"x"


def test_a_bucket_that_is_deleted_on_the_node(start: Start, tmp_path: Path) -> None:
    """A bucket that is known is made wherever it is missing, when something is to go there."""
    lonely = RealNode("v1", tmp_path / "v1")
    try:
        lonely.start()
        lonely.wait_until_it_answers()
        daemon = start(write_nodes_file(tmp_path / "nodes.toml", [lonely]))
        daemon.wait_until_up("v1")
        lonely.client().remove_bucket(bucket_name="object")
        for verb in ("GET", "HEAD"):
            assert daemon.ask(verb, "/object/abc").status == 404
        assert daemon.ask("GET", "/object").json["objects"] == []
        assert daemon.ask("PUT", "/object/abc", {}, b"x").status == 201
        assert lonely.stored_keys() == {"abc"}
        assert daemon.ask("GET", "/object/abc").body == b"x"
    finally:
        lonely.end()
