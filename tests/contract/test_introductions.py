"""The first contact with real S3 servers: what is found out, and what is left as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.internet.threads import deferToThread

from aosd.model.errors import NodeError, NodeNonsense, NodeRefused, NodeUnavailable
from aosd.model.marker import Introduction, Marker
from aosd.model.node import Address, Credentials
from aosd.nodes.asking import Answer, Asking
from aosd.nodes.capabilities import probe_capabilities
from aosd.nodes.provision import equip, introduce, write_marker
from tests.contract.servers import Server
from tests.contract.test_s3_node import BadServer, answer

OURS = Marker("c1", "embedded-1", "i1").to_bytes()
KNOWN = {
    "minio": Introduction(None, hides_beneath=True),
    "seaweedfs": Introduction(None, checks_sha256=False, sorted_listing=False),
}
VERSIONING = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


def deed(*requests: tuple[Any, ...], **more: Any) -> Callable[..., list[Answer]]:
    """A function that sends these requests."""

    def do(name: str, address: Address, credentials: Credentials) -> list[Answer]:
        with Asking(name, address, credentials) as asking:
            return [asking.ask(*request, **more) for request in requests]

    return do


def contents(name: str, address: Address, credentials: Credentials) -> dict[str, list[str]]:
    """Every key of every bucket."""
    with Asking(name, address, credentials) as asking:
        root = asking.answers.xml(asking.ask("GET").data)
        names = [each.findtext("Name") or "" for each in root.iterfind("Buckets/Bucket")]
        found = {}
        for bucket in names:
            data = asking.ask("GET", bucket, query={"list-type": "2"}).data
            found[bucket] = [entry.key for entry in asking.answers.page(data).entries]
            uploads = asking.answers.xml(asking.ask("GET", bucket, query={"uploads": ""}).data)
            assert uploads.find("Upload") is None, bucket
        return found


@pytest_twisted.async_yield_fixture
async def server(running: Server) -> AsyncIterator[Server]:
    """A server that is blank."""
    credentials = running.credentials
    for bucket, keys in (await running.call(contents)).items():
        objects = [("DELETE", bucket, key) for key in keys]
        await running.call(deed(*objects, ("DELETE", bucket)))
    assert await running.call(contents) == {}
    yield running
    running.credentials = credentials


async def equipped(server: Server, marker: bytes) -> Any:
    """The marker that stands.

    MinIO may break the connection of who came second, as it refuses before it has read all; a
    gateway that can't equip a node asks again.
    """
    try:
        return await server.call(equip, marker)
    except NodeUnavailable:
        return await server.call(equip, marker)


@pytest_twisted.ensureDeferred
async def test_a_node_from_blank_to_full(server: Server) -> None:
    known = KNOWN[server.kind]
    assert await server.call(introduce, probe=False) == Introduction(None)
    assert await server.call(contents) == {}
    for _ in range(2):
        assert await server.call(introduce, probe=True) == known
        assert await server.call(contents) == {"aos-system": []}
    # Two gateways at once: both hear the same.
    others = [Marker(f"c{each}", "embedded-1", f"i{each}").to_bytes() for each in range(2)]
    equipping = [ensureDeferred(equipped(server, each)) for each in others]
    stands = [marker for _, marker in await DeferredList(equipping, consumeErrors=True)]
    assert stands[0] == stands[1] and stands[0] in others
    assert await server.call(equip, OURS) == stands[0]
    assert await server.call(contents) == {"aos-system": ["node.json"], "object": []}
    await server.call(deed(("PUT", "object", "a"), body=b"data"))
    found = await server.call(introduce, probe=True)
    assert found == replace(known, marker=stands[0], objects=True)
    assert await server.call(contents) == {"aos-system": ["node.json"], "object": ["a"]}


@pytest_twisted.ensureDeferred
async def test_a_marker_that_came_first_stays(server: Server) -> None:
    def write(*how: Any) -> None:
        with Asking(*how) as asking:
            write_marker(asking, b"of another gateway, meanwhile")

    await server.call(equip, OURS)
    await server.call(write)
    assert (await server.call(introduce, probe=False)).marker == OURS


@pytest_twisted.ensureDeferred
async def test_a_marker_that_is_given_up_goes_with_its_memory(server: Server) -> None:
    other = Marker("c2", "embedded-1", "i2").to_bytes()
    await server.call(equip, OURS)
    await server.call(deed(("PUT", "aos-system", "members/n 1"), ("PUT", "object", "a"), body=b"x"))
    # Not while there are objects, nor when it is another one.
    assert await server.call(equip, other, OURS) == OURS
    await server.call(deed(("DELETE", "object", "a")))
    assert await server.call(equip, other, other) == OURS
    assert await server.call(equip, other, OURS) == other
    assert await server.call(contents) == {"aos-system": ["node.json"], "object": []}


@pytest_twisted.ensureDeferred
async def test_records_come_with_a_new_marker(server: Server) -> None:
    records = {"members/n 1": b"{}", "runs/last": b"{}"}
    await server.call(equip, OURS, None, records)
    wanted = {"aos-system": ["members/n 1", "node.json", "runs/last"], "object": []}
    assert await server.call(contents) == wanted
    # One that has a marker is left as it is.
    await server.call(equip, OURS, None, {"members/other": b"{}"})
    assert await server.call(contents) == wanted


@pytest_twisted.ensureDeferred
async def test_buckets_that_there_are_are_made(server: Server) -> None:
    records = {
        f"buckets/{name}": b'{"stamp": "", "value": {"state": "%s"}}' % state
        for name, state in (("some.photos", b"live"), ("gone", b"deleted"), ("object", b"live"))
    }
    await server.call(equip, OURS, None, records)
    there = await server.call(contents)
    assert sorted(there) == ["aos-system", "object", "some.photos"]
    assert there["aos-system"] == sorted([*records, "node.json"])


@pytest_twisted.ensureDeferred
async def test_what_others_own_is_left_alone(server: Server) -> None:
    await server.call(deed(("PUT", "theirs"), ("PUT", "theirs", "a"), body=b""))
    assert await server.call(introduce, probe=True) == Introduction(None, objects=True)
    assert await server.call(contents) == {"theirs": ["a"]}
    await server.call(deed(("DELETE", "theirs", "a")))
    other = Marker("c1", "another", "i1").to_bytes()
    await server.call(equip, other)
    assert await server.call(introduce, probe=True) == Introduction(other)
    await server.call(deed(("PUT", "aos-system", "node.json"), body=b"no marker"))
    assert await server.call(introduce, probe=True) == Introduction(b"no marker")


@pytest_twisted.ensureDeferred
async def test_with_consent_it_is_probed_and_left_as_it_was(server: Server) -> None:
    await server.call(deed(("PUT", "theirs"), ("PUT", "theirs", "a"), body=b""))
    known = replace(KNOWN[server.kind], objects=True)
    assert await server.call(introduce, probe=True, consented=True) == known
    assert await server.call(contents) == {"aos-system": [], "theirs": ["a"]}
    # What comes before a marker may be there already.
    records = {"members/embedded-1": b"{}", "probe/1/a": b""}
    for key, body in records.items():
        await server.call(deed(("PUT", "aos-system", key), body=body))
    assert (await server.call(introduce, probe=True, consented=True)).problem == ""
    await server.call(equip, OURS)
    found = await server.call(introduce, probe=True, consented=True)
    assert found == replace(known, marker=OURS)
    assert (await server.call(contents))["theirs"] == ["a"]


@pytest_twisted.ensureDeferred
async def test_buckets_stand_in_the_way_of_consent(server: Server) -> None:
    async def problem() -> str:
        before = await server.call(contents)
        found = await server.call(introduce, probe=True, consented=True)
        assert await server.call(contents) == before, "nothing is written"
        return str(found.problem)

    await server.call(deed(("PUT", "theirs"), ("PUT", "theirs", "a"), body=b""))
    await server.call(deed(("PUT", "kept"), query={}))
    await server.call(deed(("PUT", "kept"), query={"versioning": ""}, body=VERSIONING))
    assert await problem() == "versioning is on in its bucket kept"
    suspended = VERSIONING.replace(b"Enabled", b"Suspended")
    await server.call(deed(("PUT", "kept"), query={"versioning": ""}, body=suspended))
    assert (await problem()).startswith("versioning was on in its bucket kept")
    await server.call(deed(("DELETE", "kept")))
    headers = {"x-amz-bucket-object-lock-enabled": "true"}
    await server.call(deed(("PUT", "locked"), amz_headers=headers))
    assert "is on in its bucket locked" in await problem()
    await server.call(deed(("DELETE", "locked")))
    await server.call(deed(("PUT", "sthree-x")))
    assert await problem() == "its bucket sthree-x has a name that aosd can't serve"
    await server.call(deed(("DELETE", "sthree-x")))
    await server.call(deed(("PUT", "aos-system"), ("PUT", "aos-system", "mine"), body=b""))
    assert (await problem()).endswith("which aosd would keep its memory in, has mine")


@pytest_twisted.ensureDeferred
async def test_versions_are_a_problem(server: Server) -> None:
    await server.call(equip, OURS)
    await server.call(deed(("PUT", "object"), query={"versioning": ""}, body=VERSIONING))
    found = await server.call(introduce, probe=True)
    assert found.problem == "versioning is on in its bucket object"
    assert found.marker == OURS


@pytest_twisted.ensureDeferred
async def test_locks_are_a_problem(server: Server) -> None:
    headers = {"x-amz-bucket-object-lock-enabled": "true"}
    locked = deed(("PUT", "object"), amz_headers=headers)
    await server.call(locked)
    assert "is on in its bucket object" in (await server.call(introduce, probe=True)).problem


class Encrypting(Asking):
    """Makes of the node one whose ETags aren't MD5: of plain objects, or of parts' objects."""

    plain = True

    def ask(self, verb: str, bucket: str = "", key: str = "", **more: Any) -> Answer:
        found = super().ask(verb, bucket, key, **more)
        if self.plain and verb == "PUT" and key and not more.get("query"):
            return replace(found, etag="0" * 32)
        if not self.plain and b"<CompleteMultipartUploadResult" in found.data:
            return replace(found, data=b"<CompleteMultipartUploadResult/>")
        return found


@pytest_twisted.ensureDeferred
async def test_other_etags_are_a_problem(server: Server) -> None:
    await server.call(deed(("PUT", "aos-system")))
    for plain, words in ((True, "encryption"), (False, "multipart")):

        def probe(*how: Any, plain: bool = plain) -> Introduction:
            with Encrypting(*how) as asking:
                asking.plain = plain
                return probe_capabilities(asking, Introduction(None))

        assert words in (await server.call(probe)).problem
        assert await server.call(contents) == {"aos-system": []}


@pytest_twisted.ensureDeferred
async def test_wrong_credentials(server: Server) -> None:
    assert server.credentials is not None
    server.credentials = Credentials(server.credentials.access_key, "wrong-secret")
    for do in (lambda *how: introduce(*how, probe=True), lambda *how: equip(*how, OURS)):
        with pytest.raises(NodeRefused) as raised:
            await server.call(do)
        assert raised.value.status == 403
        assert "wrong-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", NodeError),
        (b"", NodeUnavailable),
        (answer("200 OK", body=b"<html><body>Hello</body></html>"), NodeNonsense),
        (answer("200 OK", body=b"Hello"), NodeNonsense),
        (answer("302 Found", "Location: http://127.0.0.1:1/"), NodeNonsense),
        (answer("503 No", body=b"Hello"), NodeRefused),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_s3_server(told: bytes, kind: type[NodeError]) -> None:
    from twisted.internet import reactor

    bad = BadServer()
    bad.answers = [told] * 9
    port = reactor.listenTCP(0, bad, interface="127.0.0.1")  # type: ignore[attr-defined]
    address = Address("http", "127.0.0.1", port.getHost().port)
    credentials = Credentials("access", "secret")
    with pytest.raises(kind):
        await deferToThread(introduce, "n1", address, credentials, probe=True)
    await port.stopListening()
    with pytest.raises(NodeUnavailable):
        await deferToThread(introduce, "n1", address, credentials, probe=True)
