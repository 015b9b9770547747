"""Starting the daemon: flags, environment, file, and what is said when they are wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from aosd.settings import flag_of, from_flags, variable_of
from tests.conftest import NAMES
from tests.integration.daemon import TWISTD, Daemon
from tests.integration.nodes import RealNode, write_nodes_file
from tests.integration.processes import clean_environment, free_port, is_alive, listens
from tests.integration.waiting import until
from tests.integration.wire import Wire, ask

OURS = "127.0.0.1"


def endpoint(port: int) -> str:
    return f"tcp:{port}:interface={OURS}"


def run(
    folder: Path, *flags: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`twistd -n aosd` that ends by itself."""
    return subprocess.run(
        [sys.executable, str(TWISTD), "-n", "--pidfile=", "aosd", *flags],
        check=False,
        cwd=folder,
        env={**clean_environment(TMPDIR=str(folder)), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )


def expect_one_line(done: subprocess.CompletedProcess[str], *words: str) -> str:
    """It failed, and said why in one line that has all of these words."""
    assert done.returncode != 0
    said = (done.stdout + done.stderr).strip()
    assert len(said.splitlines()) == 1, said
    for word in words:
        assert word in said
    return said


# -- the command line -------------------------------------------------------------------------


def test_help_names_every_setting(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    for name in from_flags():
        assert f"{flag_of(name)}=" in done.stdout
        assert variable_of(name) in done.stdout


def test_twistd_lists_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(TWISTD), "--help"],
        check=True,
        cwd=tmp_path,
        env=clean_environment(TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "\n    aosd " in done.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--frobnicate"], ["--frobnicate", "--help"]),
        (["stray"], ["'stray'"]),
        (["--http=tcp:99999"], ["--http", "'tcp:99999'", "tcp:3000"]),
        (["--log-format=xml"], ["--log-format", "'xml'", "text or json"]),
        (["--nodes=carrier-pigeon"], ["carrier-pigeon", "static"]),
        (["--nodes=embedded:many"], ["embedded", "many"]),
        (["--probe-interval-s=soon"], ["--probe-interval-s", "'soon'", "seconds"]),
        (["--config=/nowhere/aosd.toml"], ["--config", "/nowhere/aosd.toml", "TOML"]),
        (["--part-bytes-max=5242880"], ["--part-bytes-max", "at least part_bytes"]),
        (["--node-access-key=a"], ["node_access_key"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_flag(tmp_path: Path, flags: list[str], words: Sequence[str]) -> None:
    expect_one_line(run(tmp_path, *flags), *words)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AOSD_HTTP", "nonsense", ["'nonsense'", "tcp:3000"]),
        ("AOSD_NODES", "docker !", ["'!'", "docker"]),
    ],
)
def test_a_wrong_value_in_the_environment(
    tmp_path: Path, name: str, value: str, words: Sequence[str]
) -> None:
    expect_one_line(run(tmp_path, environment={name: value}), name, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('http = "tcp:3000"', ["http"]),
        ("conect_timeout_s = 1", ["conect_timeout_s", "connect_timeout_s may be meant"]),
        ("http = [", ["TOML"]),
    ],
)
def test_a_wrong_file(tmp_path: Path, text: str, words: Sequence[str]) -> None:
    file = tmp_path / "aosd.toml"
    file.write_text(text)
    expect_one_line(run(tmp_path, f"--config={file}"), str(file), *words)


def test_a_wrong_secret_isnt_shown(tmp_path: Path) -> None:
    said = expect_one_line(run(tmp_path, environment={"AOSD_NODE_SECRET_KEY": "tree=potato"}))
    assert "AOSD_NODE_SECRET_KEY" in said
    assert "potato" not in said


def test_a_port_that_is_taken(tmp_path: Path, other_file: Path) -> None:
    with socket.create_server((OURS, 0)) as taken:
        port = taken.getsockname()[1]
        for flag in ("--http", "--operations"):
            flags = [f"--nodes=static:{other_file}", f"{flag}={endpoint(port)}"]
            if flag == "--operations":
                flags.append(f"--http={endpoint(free_port())}")
            done = run(tmp_path, *flags)
            assert done.returncode != 0
            assert "Traceback" not in done.stdout + done.stderr
            said = (done.stdout + done.stderr).splitlines()
            assert sum(f"can't listen on {endpoint(port)}" in line for line in said) == 1


# -- what it then does ------------------------------------------------------------------------


@pytest.fixture
def started(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(
    started: ExitStack, folder: Path, *flags: str, environment: Mapping[str, str] | None = None
) -> Daemon:
    """A daemon that listens where its settings say."""
    daemon = Daemon(folder, flags, environment, listens=False)
    started.callback(daemon.kill)
    return daemon


def test_a_flag_beats_the_environment_which_beats_the_file(
    started: ExitStack, tmp_path: Path, other_file: Path
) -> None:
    by_flag, by_variable, by_file = free_port(), free_port(), free_port()
    file = tmp_path / "aosd.toml"
    file.write_text(f'http = ["{endpoint(by_file)}"]\nnodes = ["static:{other_file}"]\n')
    in_file = ["--config", str(file)]
    variable = {"AOSD_HTTP": endpoint(by_variable)}
    cases = [
        (in_file, {}, by_file),
        ([], {"AOSD_CONFIG": str(file)}, by_file),
        (in_file, {"AOSD_HTTP": ""}, by_file),
        (in_file, variable, by_variable),
        ([*in_file, "--http", endpoint(by_flag)], variable, by_flag),
    ]
    for number, (flags, environment, port) in enumerate(cases):
        daemon = start(started, tmp_path / str(number), *flags, environment=environment)
        daemon.port = port
        daemon.wait_until_ready()
        assert [each for each in (by_flag, by_variable, by_file) if listens(each)] == [port]
        daemon.stop()


def test_several_endpoints(started: ExitStack, tmp_path: Path, other_file: Path) -> None:
    ports = free_port(), free_port()
    flags = [f"--http={endpoint(port)}" for port in ports]
    daemon = start(started, tmp_path / "daemon", f"--nodes=static:{other_file}", *flags)
    daemon.port = ports[0]
    daemon.wait_until_up(*NAMES)
    assert ask(ports[0], "PUT", "/object/endpoints", {}, b"x").status == 201
    assert ask(ports[1], "GET", "/object/endpoints").body == b"x"
    daemon.stop()
    # The same by the environment, one of them a socket in the file system.
    sock = tmp_path / "aosd.sock"
    daemon = start(
        started,
        tmp_path / "again",
        f"--nodes=static:{other_file}",
        environment={"AOSD_HTTP": f"{endpoint(ports[1])} unix:{sock}"},
    )
    daemon.port = ports[1]
    daemon.wait_until_ready()
    done = subprocess.run(
        ["curl", "-sSf", "--unix-socket", str(sock), "http://x/-/health"],
        check=True,
        capture_output=True,
        timeout=10,
    )
    assert json.loads(done.stdout) == {"status": "alive"}
    daemon.stop()
    assert not sock.exists()


def test_operations_on_an_endpoint_of_its_own(
    started: ExitStack, tmp_path: Path, other_file: Path
) -> None:
    public, private = free_port(), free_port()
    flags = [f"--http={endpoint(public)}", f"--operations={endpoint(private)}"]
    daemon = start(started, tmp_path, f"--nodes=static:{other_file}", *flags)
    daemon.port = private
    daemon.wait_until_up(*NAMES)
    for page in ("health", "ready", "nodes", "ring", "repair", "metrics"):
        assert ask(private, "GET", f"/-/{page}").status == 200
        # What no other door takes is the S3 door's, and isn't signed.
        assert ask(public, "GET", f"/-/{page}").code == "AccessDenied"
    assert ask(public, "PUT", "/object/operations", {}, b"x").status == 201
    assert ask(private, "GET", "/object/operations").code == "NotFound"
    daemon.stop()


def test_the_plain_door_can_be_closed(started: ExitStack, tmp_path: Path, other_file: Path) -> None:
    port = free_port()
    flags = [f"--nodes=static:{other_file}", f"--http={endpoint(port)}"]
    daemon = start(started, tmp_path, *flags, environment={"AOSD_PLAIN_DOOR": "off"})
    daemon.port = port
    daemon.wait_until_ready()
    # The bucket is there, but for those who sign.
    assert daemon.ask("GET", "/object").code == "AccessDenied"
    assert daemon.ask("PUT", "/object/a", {}, b"x").code == "AccessDenied"
    daemon.stop()


def test_an_unknown_variable_is_warned_of(
    started: ExitStack, tmp_path: Path, other_file: Path
) -> None:
    port = free_port()
    daemon = start(
        started,
        tmp_path,
        f"--nodes=static:{other_file}",
        f"--http={endpoint(port)}",
        environment={"AOSD_LOG_FORMATT": "json", "AOSD_NODE_IMAGE": "for compose"},
    )
    daemon.port = port
    daemon.wait_until_ready()
    daemon.stop()
    warnings = [line for line in daemon.log.splitlines() if "#warn" in line]
    assert any("AOSD_LOG_FORMATT" in line for line in warnings)
    assert "AOSD_NODE_IMAGE" not in daemon.log


@pytest.mark.parametrize(
    ("interface", "warned"), [("interface=127.0.0.1", False), ("interface=0.0.0.0", True)]
)
def test_an_open_plain_door_on_more_than_loopback_is_warned_of(
    started: ExitStack, tmp_path: Path, other_file: Path, interface: str, warned: bool
) -> None:
    port = free_port()
    flags = [f"--nodes=static:{other_file}", f"--http=tcp:{port}:{interface}"]
    daemon = start(started, tmp_path, *flags)
    daemon.port = port
    daemon.wait_until_ready()
    daemon.stop()
    assert ("AOSD_PLAIN_DOOR" in daemon.log) == warned


def test_as_a_daemon_with_pidfile_and_log(tmp_path: Path, other_file: Path) -> None:
    port, pidfile, log = free_port(), tmp_path / "aosd.pid", tmp_path / "aosd.log"
    command = [sys.executable, str(TWISTD), f"--pidfile={pidfile}", f"--logfile={log}", "aosd"]
    command += [f"--nodes=static:{other_file}", f"--http={endpoint(port)}"]
    temp = tmp_path / "temp"
    temp.mkdir()
    environment = clean_environment(TMPDIR=str(temp))
    subprocess.run(
        command, check=True, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, timeout=30
    )
    pid = int(until(lambda: pidfile.exists() and pidfile.read_text(), "the pidfile is written"))
    try:
        until(lambda: listens(port) and ask(port, "GET", "/-/ready").status == 200, "ready")
        assert ask(port, "PUT", "/object/daemonised", {}, b"x").status == 201
        assert ask(port, "GET", "/object/daemonised").body == b"x"
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not is_alive(pid), "the process is gone")
    assert not pidfile.exists()
    assert "PUT /object/daemonised 201" in log.read_text()
    assert "Server Shut Down." in log.read_text()
    assert list(temp.iterdir()) == []


# -- the log ------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_the_log(
    started: ExitStack, tmp_path: Path, other_nodes: list[RealNode], log_format: str
) -> None:
    """Each event a line, each request with its id, and never a credential."""
    port = free_port()
    nodes_file = write_nodes_file(tmp_path / "nodes.toml", other_nodes)
    # One node refuses what the file says for it: refusals aren't to quote it.
    nodes_file.write_text(nodes_file.read_text().replace("secret=of-n3", "wrong=secret"))
    daemon = start(
        started,
        tmp_path / "daemon",
        f"--nodes=static:{nodes_file}",
        f"--http={endpoint(port)}",
        f"--log-format={log_format}",
        environment={"AOSD_NODE_ACCESS_KEY": "from-dns", "AOSD_NODE_SECRET_KEY": "dns=secret"},
    )
    daemon.port = port
    daemon.wait_until_it_lives()
    daemon.wait_until_ready()
    daemon.wait_for_states({"n1": "up", "n2": "up", "n3": "down"})
    ids = {}
    for name in NAMES:
        key = daemon.key_on(name, "log")
        ids[key] = daemon.ask("PUT", f"/object/{key}", {}, b"x").headers["x-amz-request-id"]
    signed = "/object/x?X-Amz-Credential=client-key&X-Amz-Signature=of-the-query"
    daemon.ask("GET", signed)
    daemon.ask("GET", "/object/x", {"Authorization": "AWS4-HMAC-SHA256 Signature=of-the-head"})
    daemon.ask("GET", "/object/%0a%0dforged")
    with Wire(port) as wire:
        wire.send_request("GET", "/object/\x7f\x1b[31m")
        wire.read_to_the_end() if wire.read_head() else None
    # A broken edit is told of, without its content.
    nodes_file.write_text('[[node]]\nsecret_key = "broken=secret"\nname = 5\n')
    until(lambda: daemon.nodes()["providers"][0]["trouble"], "the broken edit is noticed")
    daemon.stop()

    for secret in (
        "secret=of",
        "wrong=secret",
        "dns=secret",
        "broken=secret",
        "of-the-query",
        "of-the-head",
    ):
        assert secret not in daemon.log
    assert "AWS4-HMAC-SHA256" not in daemon.log
    assert "\x1b" not in daemon.log
    if log_format == "text":
        for key, request_id in ids.items():
            assert any(request_id in line and key in line for line in daemon.log.splitlines())
        return
    events = [json.loads(line) for line in daemon.log.splitlines()]
    for event in events:
        assert {"time", "level", "from", "message"} <= set(event)
    requests = {event["request"]: event for event in events if "request" in event}
    for key, request_id in ids.items():
        event = requests[request_id]
        assert (event["verb"], event["path"]) == ("PUT", f"/object/{key}")
        assert (event["status"], event["received"]) == (201, 1)
        assert event["took_ms"] >= 0
    assert {event.get("node") for event in events} >= {"n1", "n2", "n3"}
