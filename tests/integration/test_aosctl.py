"""`aosctl credentials` beside a daemon that runs, with real nodes."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from minio import Minio

from aosd.model.objects import SYSTEM_BUCKET
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import RealNode, running_nodes, write_nodes_file
from tests.integration.processes import clean_environment

PROGRAM = "from aosd.aosctl.main import main; main()"


def aosctl(
    folder: Path, *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """As the console script runs it."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        check=False,
        cwd=folder,
        env={**clean_environment(), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def credentials(folder: Path, *flags: str) -> dict[str, str]:
    done = aosctl(folder, "credentials", "--json", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, str] = json.loads(done.stdout)
    return told


def refused(
    folder: Path, *flags: str, environment: Mapping[str, str] | None = None, code: int = 1
) -> str:
    """The one line that says why not."""
    done = aosctl(folder, "credentials", *flags, environment=environment)
    assert (done.returncode, done.stdout) == (code, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("aosctl: ")
    return line


@pytest.fixture(params=[1, 3])
def embedded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Daemon, str]]:
    """A daemon with nodes of its own; and the flag that says so."""
    flag = f"--nodes=embedded:{request.param}"
    daemon = Daemon(tmp_path / "daemon", [flag, "--replicas=2"])
    try:
        daemon.wait_until_it_lives()
        daemon.wait_until_ready()
        yield daemon, flag
        daemon.stop()
    finally:
        daemon.kill()


def secrets_of(daemon: Daemon) -> list[str]:
    """All that the cluster keeps secret, as it lies on its first node."""
    folder = daemon.folder / "aosd-data" / "embedded-1"
    access_key, secret_key = (folder / "credentials").read_text().split()
    port = json.loads((folder / "ports.json").read_text())["s3"]
    node = Minio(
        f"127.0.0.1:{port}",
        access_key=access_key,
        secret_key=secret_key,
        secure=False,
        region="us-east-1",
    )
    answer = node.get_object(bucket_name=SYSTEM_BUCKET, object_name="keys/cluster")
    value = json.loads(answer.read())["value"]
    return [secret_key, value["secret_key"], value["seal"], value["token"]]


def test_the_pair_of_embedded_nodes(embedded: tuple[Daemon, str]) -> None:
    daemon, flag = embedded
    done = aosctl(daemon.folder, "credentials", flag)
    assert (done.returncode, done.stderr) == (0, "")
    found = re.fullmatch(
        r"access key: (AOSD[A-Z0-9]{16})\nsecret key: ([A-Za-z0-9]{40})\n", done.stdout
    )
    assert found is not None
    told = credentials(daemon.folder, flag)
    assert told == {"access_key": found[1], "secret_key": found[2]}
    secrets = secrets_of(daemon)
    assert told["secret_key"] in secrets
    # From elsewhere, the data folder has to be named.
    data = f"--data={daemon.folder / 'aosd-data'}"
    assert credentials(daemon.folder.parent, flag, data) == told
    for path in ("/-/nodes", "/-/ring?key=k", "/-/repair", "/-/metrics", "/-/ready"):
        answer = daemon.ask("GET", path).body.decode()
        assert not any(secret in answer for secret in secrets), path
    daemon.terminate()
    daemon.expect_clean_exit()
    assert not any(secret in daemon.log for secret in secrets)
    assert "no connection" in refused(daemon.folder, flag)


def test_the_pair_stays(tmp_path: Path) -> None:
    told = []
    for _ in range(2):
        daemon = Daemon(tmp_path / "daemon", ["--nodes=embedded:1"])
        try:
            daemon.wait_until_it_lives()
            daemon.wait_until_ready()
            told.append(credentials(daemon.folder, "--nodes=embedded:1"))
            daemon.stop()
        finally:
            daemon.kill()
    assert told[0] == told[1]


def test_for_a_shell(tmp_path: Path) -> None:
    pair = {"AOSD_ACCESS_KEY": "root", "AOSD_SECRET_KEY": "it's $secret"}
    done = aosctl(tmp_path, "credentials", "--env", environment=pair)
    assert done.returncode == 0
    script = done.stdout + 'printf "%s\\n" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY"'
    shell = subprocess.run(
        ["sh", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert shell.stdout == "root\nit's $secret\n"


@pytest.fixture
def two_nodes(tmp_path: Path) -> Iterator[list[RealNode]]:
    """Blank ones that may be killed."""
    with running_nodes(tmp_path / "nodes", ("n1", "n2")) as running:
        yield running


def test_the_newest_of_all_nodes_counts(tmp_path: Path, two_nodes: list[RealNode]) -> None:
    nodes, nodes_file = two_nodes, tmp_path / "nodes.toml"
    write_nodes_file(nodes_file, nodes)
    flag = f"--nodes=static:{nodes_file}"
    with running_daemon(tmp_path / "daemon", nodes_file, up=[each.name for each in nodes]):
        told = credentials(tmp_path, flag)
    # Without a daemon, too: the nodes are asked.
    assert credentials(tmp_path, flag) == told
    newer = {"access_key": "newer", "secret_key": "newer-secret"}
    record = json.dumps({"stamp": "ffffffffffff-0000-00000000", "value": newer}).encode()
    last = nodes[-1].client()
    last.put_object(
        bucket_name=SYSTEM_BUCKET,
        object_name="keys/cluster",
        data=io.BytesIO(record),
        length=len(record),
    )
    assert credentials(tmp_path, flag) == newer
    nodes[-1].kill()
    assert credentials(tmp_path, flag) == told


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    assert "can't be reached" in refused(
        tmp_path, environment={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    )
    assert "no such provider" in refused(tmp_path, "--nodes=tea:3", code=2)
    assert "No such file" in refused(tmp_path, "--nodes=embedded:3")
    assert list(tmp_path.iterdir()) == []
    assert "given together" in refused(tmp_path, environment={"AOSD_ACCESS_KEY": "abc"}, code=2)
    done = aosctl(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: aosctl" in done.stderr
    done = aosctl(tmp_path, "--help")
    assert done.returncode == 0
    assert "credentials" in done.stdout


def test_a_broken_identities_file_ends_the_start(tmp_path: Path) -> None:
    path = tmp_path / "identities.toml"
    path.write_text('[[identities]]\naccess_key = "one"\nsecret_key = "hush"\nrole = "admin"\n')
    daemon = Daemon(tmp_path / "daemon", ["--nodes=embedded:1", f"--identities-file={path}"])
    try:
        assert daemon.wait(30) == 1
        [line] = daemon.log.splitlines()
        assert "number 1: secret_key must be" in line
        assert "hush" not in line
    finally:
        daemon.kill()


def test_help_is_there_at_once(tmp_path: Path) -> None:
    """Nothing that takes its time is loaded; nor by a command that is told where the daemon is."""
    program = """
import sys
from aosd.aosctl.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    heavy = ("twisted.internet", "pydantic", "urllib3", "rich")
    print("loaded:", *(each for each in heavy if each in sys.modules))
"""
    for words, loaded in (
        (("--help",), "loaded:"),
        (("node", "--help"), "loaded: rich"),
        (("nodes", "--url=http://127.0.0.1:1"), "loaded: urllib3 rich"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            check=True,
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines()[-1] == loaded


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_words(tmp_path: Path) -> None:
    """With what `completion` prints, evaluated as the page says it."""
    program = tmp_path / "aosctl"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{PROGRAM}' \"$@\"\n")
    program.chmod(0o755)
    script = """
eval "$(aosctl completion bash)"
try() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  $(complete -p aosctl | grep -o -- '-F [^ ]*' | cut -c 4-) aosctl
  echo "${COMPREPLY[@]}"
}
try aosctl no
try aosctl node und
try aosctl leave --ga
try aosctl node drain n
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        check=False,
        cwd=tmp_path,
        env=clean_environment(
            PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", AOSD_URL="http://127.0.0.1:1"
        ),
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    # Names of nodes are asked for, and no daemon is there.
    assert done.stdout.splitlines() == ["nodes node", "undo undrain", "--gather", ""]
