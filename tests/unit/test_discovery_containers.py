"""From what a Docker engine says of containers to sightings."""

from __future__ import annotations

import copy
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aosd.discovery.containers import (
    Vantage,
    is_news,
    is_node,
    is_own,
    own_ids,
    sight,
    unreadable,
    vantage_in,
    vantage_outside,
)
from aosd.model.node import Address, Credentials

ID = "f2b27220bc97f7c87d7ff0ea9b38ed06e91db4b86d3b63ac2dfd79590889def2"
BRIDGE = "1f421e0c9ca3a728965c7e21cab47b350e93cc1a1f68e9ef15be972536fe724a"
STORE = "9d40e5c11ae0e4a17f1c6f0a1b0fb9a1b5f6f0a6a37e2d0cf3e9a76d0d52a001"

# As `GET /containers/{id}/json` of engine 20.10 gave it, less what isn't read.
RECORDED: dict[str, Any] = {
    "Id": ID,
    "Name": "/amazin-object-storage-node-1",
    "State": {
        "Status": "running",
        "Running": True,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": 22938,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2026-11-23T05:31:43.385913101Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    },
    "Image": "sha256:aa6417054ee6",
    "HostConfig": {"NetworkMode": "default"},
    "Config": {
        "Hostname": "f2b27220bc97",
        "Env": [
            "MINIO_ROOT_USER=ring",
            "MINIO_ROOT_PASSWORD=tree=potato",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ],
        "Image": "minio",
        "Labels": {},
    },
    "NetworkSettings": {
        "Ports": {
            "9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32769"}],
            "9001/tcp": [
                {"HostIp": "::", "HostPort": "32768"},
                {"HostIp": "0.0.0.0", "HostPort": "32768"},
            ],
        },
        "IPAddress": "172.17.0.7",
        "Networks": {
            "bridge": {
                "NetworkID": BRIDGE,
                "Gateway": "172.17.0.1",
                "IPAddress": "172.17.0.7",
                "GlobalIPv6Address": "",
            }
        },
    },
}
# The same one after `docker kill`.
EXITED_NETWORKS = {
    "bridge": {"NetworkID": BRIDGE, "Gateway": "", "IPAddress": "", "GlobalIPv6Address": ""}
}
HOST = Vantage()
COMPOSE = {
    "com.docker.compose.project": "shop",
    "com.docker.compose.service": "node",
    "com.docker.compose.container-number": "2",
}


def inspected(
    labels: dict[str, str] | None = None,
    environment: list[str] | None = None,
    networks: dict[str, Any] | None = None,
    ports: dict[str, Any] | None = None,
    **state: Any,
) -> dict[str, Any]:
    made = copy.deepcopy(RECORDED)
    if labels is not None:
        made["Config"]["Labels"] = labels
    if environment is not None:
        made["Config"]["Env"] = environment
    if networks is not None:
        made["NetworkSettings"]["Networks"] = networks
    if ports is not None:
        made["NetworkSettings"]["Ports"] = ports
    made["State"].update(state)
    return made


class ChoiceTests(SynchronousTestCase):
    def test_by_name_or_by_label(self) -> None:
        self.assertTrue(is_node({"Names": ["/x-amazin-object-storage-node-7"], "Labels": None}))
        self.assertTrue(is_node({"Names": ["/x"], "Labels": {"aosd.node": ""}}))
        self.assertFalse(is_node({"Names": ["/x"], "Labels": {"aosd.nodes": ""}}))
        self.assertFalse(is_node({"Names": None, "Labels": None}))

    def test_events(self) -> None:
        def event(kind: str, **attributes: str) -> dict[str, Any]:
            return {"Type": kind, "Action": "start", "Actor": {"Attributes": attributes}}

        self.assertTrue(is_news(event("container", name="amazin-object-storage-node-1")))
        self.assertTrue(is_news(event("container", name="x", **{"aosd.node": ""})))
        self.assertTrue(
            is_news(event("container", name="x", oldName="/amazin-object-storage-node"))
        )
        self.assertTrue(is_news(event("network", container="f2b2")))
        self.assertFalse(is_news(event("container", name="x")))
        self.assertFalse(is_news({"Type": "container"}))


class SightTests(SynchronousTestCase):
    def problem(self, container: dict[str, Any], vantage: Vantage = HOST) -> str:
        sighting = sight(container, vantage)
        self.assertIsNone(sighting.address)
        self.assertIsNotNone(sighting.problem)
        self.assertNotIn("potato", str(sighting))
        return sighting.problem or ""

    def address(self, container: dict[str, Any], vantage: Vantage = HOST) -> Address | None:
        sighting = sight(container, vantage)
        self.assertIsNone(sighting.problem)
        return sighting.address

    def test_a_recorded_one(self) -> None:
        sighting = sight(inspected(), HOST)
        self.assertEqual(sighting.name, "amazin-object-storage-node-1")
        self.assertEqual(sighting.address, Address("http", "127.0.0.1", 32769))
        self.assertEqual(sighting.credentials, Credentials("ring", "tree=potato"))
        self.assertEqual((sighting.weight, sighting.zone), (1.0, None))
        self.assertTrue(sighting.running)
        self.assertIn("f2b27220bc97", sighting.seen_as)

    # -- names ----------------------------------------------------------------------------------

    def test_the_name_comes_from_label_compose_or_container_in_this_order(self) -> None:
        named = {**COMPOSE, "aosd.name": "n1"}
        self.assertEqual(sight(inspected(named), HOST).name, "n1")
        self.assertEqual(sight(inspected(COMPOSE), HOST).name, "shop-node-2")
        one_off = {**COMPOSE, "com.docker.compose.oneoff": "True"}
        for labels in ({}, {"com.docker.compose.project": "shop"}, one_off):
            name = sight(inspected(labels), HOST).name
            self.assertEqual(name, "amazin-object-storage-node-1")

    # -- labels ---------------------------------------------------------------------------------

    def test_weight_zone_and_port(self) -> None:
        labels = {"aosd.weight": "2.5", "aosd.zone": "rack 1", "aosd.port": "9001"}
        sighting = sight(inspected(labels), HOST)
        self.assertEqual((sighting.weight, sighting.zone), (2.5, "rack 1"))
        self.assertEqual(sighting.address, Address("http", "127.0.0.1", 32768))

    def test_bad_labels_are_problems(self) -> None:
        for label, values in {
            "aosd.weight": ("", "heavy", "0", "100.1", "nan", "inf"),
            "aosd.zone": ("", " a", "a\nb"),
            "aosd.port": ("", "0", "65536", "-1", "9000/tcp", "٣"),
        }.items():
            for value in values:
                self.assertIn(label, self.problem(inspected({label: value})))

    # -- credentials ----------------------------------------------------------------------------

    def test_the_older_pair_and_the_newer_first(self) -> None:
        older = ["MINIO_ACCESS_KEY=old", "MINIO_SECRET_KEY=a=b=="]
        self.assertEqual(
            sight(inspected(environment=older), HOST).credentials, Credentials("old", "a=b==")
        )
        both = [*older, "MINIO_ROOT_USER=new", "MINIO_ROOT_PASSWORD=c"]
        self.assertEqual(
            sight(inspected(environment=both), HOST).credentials, Credentials("new", "c")
        )

    def test_without_a_pair_it_is_a_problem(self) -> None:
        for environment in (
            [],
            ["MINIO_ROOT_USER=ring"],
            ["MINIO_ROOT_USER=ring", "MINIO_ROOT_PASSWORD="],
            ["MINIO_ROOT_USER=ring", "MINIO_SECRET_KEY=potato"],
            ["MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"],
        ):
            said = self.problem(inspected(environment=environment))
            self.assertIn("MINIO_ROOT_PASSWORD", said)

    # -- states ---------------------------------------------------------------------------------

    def test_what_doesnt_answer_is_a_member_that_is_down(self) -> None:
        for state in (
            {"Status": "exited", "Running": False, "ExitCode": 137},
            {"Status": "created", "Running": False},
            {"Status": "dead", "Running": False, "Dead": True},
            {"Status": "paused", "Running": True, "Paused": True},
            {"Status": "restarting", "Running": True, "Restarting": True},
        ):
            sighting = sight(inspected(networks=EXITED_NETWORKS, ports={}, **state), HOST)
            self.assertFalse(sighting.running)
            self.assertIsNone(sighting.address)
            self.assertIsNone(sighting.problem)
            self.assertIsNotNone(sighting.credentials)

    # -- addresses, gateway in a container ------------------------------------------------------

    def test_the_address_on_a_shared_network(self) -> None:
        networks = {
            "a-bridge": {"NetworkID": BRIDGE, "IPAddress": "172.17.0.7"},
            "b-store": {"NetworkID": STORE, "IPAddress": "172.20.0.3"},
        }
        self.assertEqual(
            self.address(inspected(networks=networks), Vantage({STORE: "b-store"})),
            Address("http", "172.20.0.3", 9000),
        )

    def test_an_ipv6_network(self) -> None:
        networks = {"store": {"NetworkID": STORE, "IPAddress": "", "GlobalIPv6Address": "fd00::3"}}
        self.assertEqual(
            self.address(inspected(networks=networks), Vantage({STORE: "store"})),
            Address("http", "fd00::3", 9000),
        )

    def test_no_shared_network_is_a_problem_that_names_both_sides(self) -> None:
        said = self.problem(inspected(), Vantage({STORE: "shop_store"}))
        self.assertIn("bridge", said)
        self.assertIn("shop_store", said)

    def test_having_no_network_isnt_shared(self) -> None:
        none = {"none": {"NetworkID": "0", "IPAddress": ""}}
        self.assertIn("none", self.problem(inspected(networks=none), Vantage({"0": "none"})))

    # -- addresses, gateway on the host ---------------------------------------------------------

    def test_published_ports(self) -> None:
        for bindings, expected in (
            ([("0.0.0.0", "9100"), ("::", "9100")], ("127.0.0.1", 9100)),
            ([("::", "9100"), ("0.0.0.0", "9101")], ("127.0.0.1", 9101)),
            ([("192.0.2.7", "9100")], ("192.0.2.7", 9100)),
            ([("::", "9100")], ("::1", 9100)),
            ([("", "9100")], ("127.0.0.1", 9100)),
        ):
            ports = {"9000/tcp": [{"HostIp": ip, "HostPort": port} for ip, port in bindings]}
            self.assertEqual(self.address(inspected(ports=ports)), Address("http", *expected))

    def test_unpublished_ones_by_their_own_address(self) -> None:
        for ports in ({}, {"9000/tcp": None}, {"9001/tcp": [{"HostIp": "", "HostPort": "1"}]}):
            self.assertEqual(
                self.address(inspected(ports=ports)), Address("http", "172.17.0.7", 9000)
            )

    def test_on_the_hosts_network(self) -> None:
        host = {"host": {"NetworkID": "h", "IPAddress": ""}}
        self.assertEqual(
            self.address(inspected(networks=host, ports={})), Address("http", "127.0.0.1", 9000)
        )

    def test_unreachable_ones_are_a_problem(self) -> None:
        none = {"none": {"NetworkID": "0", "IPAddress": ""}}
        self.assertIn("none", self.problem(inspected(networks=none, ports={})))

    def test_an_engine_elsewhere(self) -> None:
        there = vantage_outside("tcp://docker.example:2375")
        everywhere = {"9000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "9100"}]}
        self.assertEqual(
            self.address(inspected(ports=everywhere), there),
            Address("http", "docker.example", 9100),
        )
        # Its loopback and its bridges aren't ours.
        self.assertIn("published", self.problem(inspected(), there))
        self.assertIn("published", self.problem(inspected(ports={}), there))

    # -- nonsense -------------------------------------------------------------------------------

    def test_nonsense_is_a_problem_of_that_container_alone(self) -> None:
        for part in ("Config", "State", "NetworkSettings", "Name"):
            broken = inspected()
            broken[part] = None if part != "Name" else 7
            sighting = sight(broken, HOST)
            if part != "Name":
                self.assertIn("nothing usable", sighting.problem or "")
        self.assertIn("nothing usable", sight({}, HOST).problem or "")

    def test_one_that_cant_be_inspected(self) -> None:
        listed = {"Id": ID, "Names": ["/n-1"], "Labels": COMPOSE, "State": "running"}
        sighting = unreadable(listed, "layer does not exist")
        self.assertEqual((sighting.name, sighting.running), ("shop-node-2", True))
        self.assertIn("layer does not exist", sighting.problem or "")


class VantageTests(SynchronousTestCase):
    IN_CONTAINER = (
        "1196 1179 0:161 / /sys ro - sysfs sysfs ro\n"
        f"1200 1179 254:0 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw - ext4\n"
        f"1201 1179 254:0 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4\n"
    )
    # A host's own mounts name its containers, none of which it is.
    ON_HOST = (
        f"312 30 0:60 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw\n"
        f"313 30 254:0 /var/lib/docker/containers/{ID}/hostname /mnt/watched/hostname rw - ext4\n"
    )

    def test_own_container(self) -> None:
        self.assertEqual(own_ids(self.IN_CONTAINER, "0::/\n", "gateway"), [ID])
        self.assertEqual(own_ids("", f"2:cpu:/docker/{ID}\n1:pids:/docker/{ID}\n", "gw"), [ID])
        self.assertEqual(own_ids("", "0::/\n", "f2b27220bc97"), ["f2b27220bc97"])

    def test_on_a_host(self) -> None:
        self.assertEqual(own_ids(self.ON_HOST, "0::/init.scope\n", "server-1"), [])

    def test_what_was_found_must_be_it(self) -> None:
        own = inspected()
        self.assertTrue(is_own(own, ID, "renamed"))
        self.assertTrue(is_own(own, "f2b27220bc97", "f2b27220bc97"))
        self.assertFalse(is_own(own, "f2b27220bc97", "server-1"))
        self.assertFalse(is_own(inspected(Running=False), ID, "f2b27220bc97"))

    def test_in_a_container(self) -> None:
        self.assertEqual(vantage_in(inspected(), HOST), Vantage({BRIDGE: "bridge"}))
        on_host = inspected()
        on_host["HostConfig"]["NetworkMode"] = "host"
        self.assertEqual(vantage_in(on_host, HOST), HOST)

    def test_outside(self) -> None:
        for url in (None, "", "unix:///run/docker.sock", "tcp://127.0.0.1:2375", "ssh://localhost"):
            self.assertEqual(vantage_outside(url), HOST)
        self.assertEqual(vantage_outside("ssh://me@far.example"), Vantage(None, "far.example"))
