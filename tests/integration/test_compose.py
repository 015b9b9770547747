"""The project's compose file: the gateway in a container, and nodes that come and go."""

from __future__ import annotations

import http.client
import json
import shlex
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from tests.integration.conftest import Compose
from tests.integration.operations_page import for_docker
from tests.integration.waiting import until

pytestmark = pytest.mark.timeout(600)  # the first one builds images

NODES = [f"amazin-object-storage-node-{number}" for number in (1, 2, 3)]
RESTART_S = 120.0  # SeaweedFS takes half a minute after a kill, on a quiet machine
KEYS = [f"key{number}" for number in range(40)]


class Gateway:
    """The gateway at its published port."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(
        self, target: str, verb: str = "GET", body: bytes | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request(verb, target, body)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def told(self, page: str) -> dict[str, Any]:
        """What a page of the operations door tells; nothing before it listens."""
        try:
            status, body, _ = self.ask(f"/-/{page}")
        except OSError:
            return {}
        assert status in (200, 503)
        told: dict[str, Any] = json.loads(body)
        return told

    def nodes(self) -> dict[str, dict[str, Any]]:
        return {node["name"]: node for node in self.told("nodes").get("nodes", [])}

    def state(self, name: str) -> str:
        return str(self.nodes().get(name, {}).get("state", ""))

    def primaries(self, key: str) -> set[str]:
        order = self.told(f"ring?key={key}")["order"]
        return {each["name"] for each in order if each["role"] == "primary"}

    def holders(self, key: str) -> set[str]:
        copies = self.told(f"ring?key={key}")["copies"]
        return {name for name, copy in copies.items() if copy and "etag" in copy}

    def wait_until_settled(self) -> None:
        until(lambda: self.told("repair").get("settled"), "all is settled", deadline_s=RESTART_S)


@pytest.fixture(scope="module")
def gateway(compose: Compose) -> Gateway:
    """The gateway, once it has found three nodes and stored an object on each key."""
    found = Gateway(compose.port)
    until(
        lambda: [found.state(name) for name in NODES] == ["up"] * 3,
        "three nodes up",
        deadline_s=RESTART_S,
    )
    until(lambda: found.told("ready").get("ready"), "it is ready", deadline_s=RESTART_S)
    for key in KEYS:
        assert found.ask(f"/object/{key}", "PUT", key.encode())[0] == 201
    return found


def assert_all_there(gateway: Gateway) -> None:
    for key in KEYS:
        status, body, _ = gateway.ask(f"/object/{key}")
        assert (status, body) == (200, key.encode()), key


def assert_all_in_place(gateway: Gateway) -> None:
    """Two copies of each, on its primaries."""
    gateway.wait_until_settled()
    for key in KEYS:
        assert gateway.holders(key) == gateway.primaries(key), key
        assert len(gateway.holders(key)) == 2


@pytest.fixture
def node_2(docker_engine: docker.DockerClient, gateway: Gateway) -> Iterator[Any]:
    """The second node's container, running again after the test."""
    container = docker_engine.containers.get(NODES[1])
    yield container
    docker_engine.containers.get(NODES[1]).start()
    until(lambda: gateway.state(NODES[1]) == "up", "node 2 up again", deadline_s=RESTART_S)


def test_objects_are_stored_on_all_three(gateway: Gateway) -> None:
    assert set().union(*(gateway.primaries(key) for key in KEYS)) == set(NODES)
    assert_all_there(gateway)
    assert_all_in_place(gateway)
    status, body, _ = gateway.ask("/object")
    assert status == 200
    assert [each["id"] for each in json.loads(body)["objects"]] == sorted(KEYS)


def test_the_gateway_is_not_root(docker_engine: docker.DockerClient, compose: Compose) -> None:
    [container] = docker_engine.containers.list(
        filters={"label": ["com.docker.compose.service=gateway"], "status": "running"}
    )
    assert container.exec_run(["id", "-u"]).output.strip() == b"10001"


def test_its_healthcheck_passes(docker_engine: docker.DockerClient, gateway: Gateway) -> None:
    [container] = docker_engine.containers.list(
        filters={"label": ["com.docker.compose.service=gateway"], "status": "running"}
    )

    def healthy() -> bool:
        container.reload()
        return bool(container.attrs["State"]["Health"]["Status"] == "healthy")

    until(healthy, "a healthy gateway", deadline_s=RESTART_S)


def test_the_root_pair_is_shown_in_the_gateways_container(
    compose: Compose, gateway: Gateway
) -> None:
    printed = compose.run("exec", "-T", "gateway", "aosctl", "credentials", "--json")
    # After what compose itself has to say.
    told = json.loads(printed[printed.index("{") :])
    assert told["access_key"].startswith("AOSD")
    assert told["secret_key"] not in compose.run("logs", "gateway")


def test_aosctl_finds_all_by_itself_in_the_gateways_container(
    compose: Compose, gateway: Gateway
) -> None:
    def told(*words: str) -> Any:
        written = compose.run("exec", "-T", "gateway", "aosctl", *words, "--json")
        return json.loads(written[written.index("{") :])

    assert [each["name"] for each in told("nodes")["nodes"]] == NODES
    assert told("explain", f"object/{KEYS[0]}")["version"]["size"] == len(KEYS[0])
    # With the token that lies on the nodes.
    assert told("doctor")["healthy"] is True
    assert told("node", "drain", NODES[2], "--dry-run")["keys"] == len(KEYS)


def test_a_stopped_node_is_noticed_within_a_second_and_nothing_stops(
    gateway: Gateway, node_2: Any
) -> None:
    node_2.kill()
    killed_s = time.monotonic()
    until(lambda: gateway.state(NODES[1]) == "down", "node 2 down", deadline_s=10)
    assert time.monotonic() - killed_s < 1.5  # the engine itself takes some of it
    assert_all_there(gateway)
    for key in KEYS[::2]:
        assert gateway.ask(f"/object/{key}", "DELETE")[0] == 204
    assert [each["id"] for each in json.loads(gateway.ask("/object")[1])["objects"]] == sorted(
        KEYS[1::2]
    )
    for key in KEYS[::2]:
        assert gateway.ask(f"/object/{key}", "PUT", key.encode())[0] == 201
    assert_all_there(gateway)
    node_2.start()
    until(lambda: gateway.state(NODES[1]) == "up", "node 2 up", deadline_s=RESTART_S)
    assert_all_there(gateway)
    assert_all_in_place(gateway)


def test_a_recreated_node_is_the_same_by_its_name(
    docker_engine: docker.DockerClient, compose: Compose, gateway: Gateway
) -> None:
    """Another id and another address, the same name and volume."""
    before = docker_engine.containers.get(NODES[2])
    old_address = before.attrs["NetworkSettings"]["Networks"][compose.network]["IPAddress"]
    before.remove(force=True)
    until(lambda: gateway.state(NODES[2]) == "down", "node 3 down", deadline_s=10)
    # Somebody else has its address now.
    squatter = docker_engine.containers.create(
        before.image.id,
        ["server", "/tmp"],
        name="aosdtest-squatter",
        network=compose.network,
        environment={"MINIO_ROOT_USER": "squatter", "MINIO_ROOT_PASSWORD": "squatter=potato"},
    )
    try:
        squatter.start()
        compose.run("up", "-d", "--no-build", "node-3")
        until(lambda: gateway.state(NODES[2]) == "up", "node 3 up", deadline_s=RESTART_S)
        after = docker_engine.containers.get(NODES[2])
        assert after.id != before.id
        address = after.attrs["NetworkSettings"]["Networks"][compose.network]["IPAddress"]
        assert address != old_address
        assert_all_there(gateway)
    finally:
        squatter.remove(force=True)


def test_a_disk_is_replaced_as_the_page_says(
    docker_engine: docker.DockerClient, compose: Compose, gateway: Gateway
) -> None:
    """What docs/operations.md has for compose, line by line."""
    was = docker_engine.containers.get(NODES[1]).id
    for line in for_docker():
        program, what, *words = shlex.split(line)
        assert program == "docker", line
        if what == "compose":
            options = ["-T"] if words[0] == "exec" else []
            compose.run(words[0], *options, *words[1:])
        else:
            assert (what, words[0]) == ("volume", "rm"), line
            docker_engine.volumes.get(words[1].replace("aosd_", f"{compose.project}_")).remove()
        assert_all_there(gateway)
    assert docker_engine.containers.get(NODES[1]).id != was
    until(lambda: gateway.state(NODES[1]) == "up", "the new one is up", deadline_s=RESTART_S)
    assert_all_in_place(gateway)
    assert NODES[1] in set().union(*(gateway.primaries(key) for key in KEYS))


def test_a_fourth_node_joins(
    docker_engine: docker.DockerClient, compose: Compose, node_image: str, gateway: Gateway
) -> None:
    container = docker_engine.containers.run(
        node_image,
        ["server", "/data"],
        name="aosdtest-fourth",
        detach=True,
        network=compose.network,
        labels={"aosd.node": "", "aosd.name": "fourth"},
        environment={"MINIO_ROOT_USER": "fourth", "MINIO_ROOT_PASSWORD": "fourth=potato"},
        volumes={"aosdtest-fourth": {"bind": "/data"}},
    )
    try:
        until(lambda: gateway.state("fourth") != "", "the fourth node noticed", deadline_s=2)
        until(lambda: gateway.state("fourth") == "up", "the fourth node up", deadline_s=RESTART_S)
        assert_all_there(gateway)
        until(
            lambda: gateway.told("nodes")["changing"] is False,
            "its share is copied",
            deadline_s=RESTART_S,
        )
        assert_all_there(gateway)
        assert_all_in_place(gateway)
        moved = [key for key in KEYS if "fourth" in gateway.primaries(key)]
        assert moved
        assert gateway.ask(f"/object/{moved[0]}", "PUT", b"new")[0] == 201
        assert gateway.ask(f"/object/{moved[0]}")[1] == b"new"
        assert gateway.ask(f"/object/{moved[0]}", "DELETE")[0] == 204
        assert gateway.ask(f"/object/{moved[0]}")[0] == 404
        assert gateway.holders(moved[0]) == set()
    finally:
        container.remove(force=True)
        docker_engine.volumes.get("aosdtest-fourth").remove()
