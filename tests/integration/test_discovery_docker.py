"""The docker provider on a real engine."""

from __future__ import annotations

import gc
import io
import json
import secrets
import shutil
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, cast

import docker
import pytest
import pytest_twisted
from docker.errors import DockerException
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from aosd.discovery import DiscoveryContext
from aosd.discovery.docker import DockerDiscovery, Engine, EngineEvents, connect
from aosd.model.node import Sighting
from aosd.streams.deadlines import within

pytestmark = pytest.mark.timeout(600)  # the first one builds images

ROOT = Path(__file__).resolve().parents[2]
SOCKET = "/var/run/docker.sock"
NOTICED_S = 1.0
PROMPT_S = 5.0  # an engine that hangs takes twice as long
SLOW_S = 30.0
reactor = cast(Any, installed_reactor)
KEYS = {"MINIO_ROOT_USER": "ring", "MINIO_ROOT_PASSWORD": "tree=potato"}


@pytest.fixture(scope="module")
def image(docker_engine: docker.DockerClient) -> Iterator[str]:
    """An image from scratch around a static program that stays."""
    weed = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    assert weed is not None
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        tar.add(Path(weed).resolve(), "weed")
        folder = tarfile.TarInfo("tmp")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        lines = (
            b'FROM scratch\nCOPY weed /weed\nCOPY tmp /tmp\nENTRYPOINT ["/weed"]\n'
            b'CMD ["master", "-mdir=/tmp", "-ip=127.0.0.1", "-telemetry=false"]\n'
        )
        file = tarfile.TarInfo("Dockerfile")
        file.size = len(lines)
        tar.addfile(file, io.BytesIO(lines))
    context.seek(0)
    tag = f"aosd-discovery-test:{secrets.token_hex(4)}"
    docker_engine.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
    yield tag
    docker_engine.images.remove(tag, force=True)


class Containers:
    """Containers of one test, all gone after it."""

    def __init__(self, engine: docker.DockerClient, image: str) -> None:
        self.engine = engine
        self.image = image
        self.mark = secrets.token_hex(4)
        self._made: list[Any] = []
        self._networks: list[Any] = []

    def name(self, number: int) -> str:
        return f"amazin-object-storage-node-{self.mark}-{number}"

    async def create(self, number: int = 1, **options: Any) -> Any:
        options.setdefault("environment", KEYS)
        options.setdefault("name", self.name(number))
        options.setdefault("image", self.image)
        made = await deferToThread(self.engine.containers.create, **options)
        self._made.append(made)
        return made

    async def run(self, number: int = 1, **options: Any) -> Any:
        made = await self.create(number, **options)
        await deferToThread(made.start)
        return made

    def network(self) -> Any:
        made = self.engine.networks.create(f"aosd-test-{self.mark}-{len(self._networks)}")
        self._networks.append(made)
        return made

    def remove(self) -> None:
        for each in self._made:
            try:
                each.remove(force=True, v=True)
            except docker.errors.NotFound:
                continue
        for each in self._networks:
            each.remove()


@pytest.fixture
def containers(docker_engine: docker.DockerClient, image: str) -> Iterator[Containers]:
    made = Containers(docker_engine, image)
    yield made
    made.remove()


class Watching:
    """A provider under test, and waiting for what it says of this test's containers."""

    def __init__(self, mark: str, interval_s: float = 3600.0) -> None:
        # Ticks are out of the way: what is noticed was an event.
        self._mark = mark
        self._threads = ThreadPool(0, 2)
        self._threads.start()
        context = DiscoveryContext(reactor, self._threads, Path("unused"), None, interval_s)
        self.discovery = DockerDiscovery(context, Engine(connect), EngineEvents(connect))
        self.seen: dict[str, list[Sighting]] = {}
        self.reports = 0
        self.troubles: list[str] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    async def __aenter__(self) -> Watching:
        await self.discovery.start(self._report, self._trouble)
        return self

    async def __aexit__(self, *_: object) -> None:
        began_s = reactor.seconds()
        await self.discovery.stop()
        assert reactor.seconds() - began_s < PROMPT_S, "stopping took long"
        self._threads.stop()

    def one(self, name: str) -> Sighting:
        (found,) = self.seen[name]
        return found

    async def until(self, wanted: Callable[[], bool]) -> float:
        """How long it took, in seconds."""
        began_s = reactor.seconds()
        if wanted():
            return 0.0
        come: Deferred[None] = Deferred()
        self._waiting.append((wanted, come))
        await within(reactor, SLOW_S, come, lambda: AssertionError((self.seen, self.troubles)))
        return float(reactor.seconds() - began_s)

    def _report(self, sightings: Sequence[Sighting]) -> None:
        self.reports += 1
        self.seen = {}
        for each in sightings:
            if self._mark in each.name or self._mark in each.seen_as:
                self.seen.setdefault(each.name, []).append(each)
        self._check()

    def _trouble(self, trouble: str) -> None:
        self.troubles.append(trouble)
        self._check()

    def _check(self) -> None:
        for each in list(self._waiting):
            if each[0]():
                self._waiting.remove(each)
                each[1].callback(None)


@pytest_twisted.ensureDeferred
async def test_started_stopped_and_made_anew(containers: Containers) -> None:
    name = containers.name(1)
    async with Watching(containers.mark) as watching:
        first = await containers.run()
        await watching.until(lambda: name in watching.seen and watching.one(name).running)
        before = watching.one(name)
        assert before.problem is None
        assert before.address is not None and before.address.port == 9000
        assert before.credentials is not None
        assert before.credentials.secret_key == "tree=potato"

        took_s = []
        for stop, start in (("kill", "start"), ("pause", "unpause"), ("kill", "start")):
            await deferToThread(getattr(first, stop))
            took_s.append(await watching.until(lambda: not watching.one(name).running))
            assert watching.one(name).address is None
            assert watching.one(name).problem is None
            await deferToThread(getattr(first, start))
            took_s.append(await watching.until(lambda: watching.one(name).running))
        # Not each of them: the engine itself may be busy with something else.
        assert median(took_s) < NOTICED_S, took_s

        await deferToThread(first.remove, force=True)
        await watching.until(lambda: name not in watching.seen)
        # Another takes its address, so that the new one gets a new one.
        await containers.run(2)
        second = await containers.run(1)
        await watching.until(lambda: name in watching.seen and watching.one(name).running)
        after = watching.one(name)
        assert after.address not in (None, before.address)
        assert after.seen_as != before.seen_as
        assert second.id[:12] in after.seen_as
        assert watching.troubles == []


@pytest_twisted.ensureDeferred
async def test_bad_ones_spoil_nothing_but_themselves(containers: Containers) -> None:
    await containers.run(1)
    await containers.run(2, environment={})
    await containers.create(3)
    await containers.run(4, network_mode="none")
    await containers.run(5, labels={"aosd.weight": "heavy"})
    twins = {"aosd.node": "", "aosd.name": f"twin-{containers.mark}"}
    for number in (6, 7):
        await containers.run(number, labels=twins)
    async with Watching(containers.mark) as watching:
        problems = {
            number: watching.one(containers.name(number)).problem for number in (1, 2, 3, 4, 5)
        }
        assert (problems[1], problems[3]) == (None, None)
        assert "MINIO_ROOT_PASSWORD" in str(problems[2])
        assert "none" in str(problems[4])
        assert "aosd.weight" in str(problems[5])
        assert not watching.one(containers.name(3)).running
        assert [each.running for each in watching.seen[f"twin-{containers.mark}"]] == [True, True]
        assert watching.troubles == []


@pytest_twisted.ensureDeferred
async def test_an_image_that_was_removed(containers: Containers) -> None:
    other = f"aosd-discovery-test:{containers.mark}"
    engine = containers.engine
    # An image of its own: a label makes the id another one.
    base = f"FROM {containers.image}\nLABEL mark={containers.mark}\n".encode()
    await deferToThread(engine.images.build, fileobj=io.BytesIO(base), tag=other, rm=True)
    made = await containers.create(1, image=other)
    await containers.run(2)
    await deferToThread(engine.images.remove, other, force=True)
    with pytest.raises(DockerException):
        engine.containers.get(made.id).image  # noqa: B018 - what must not spoil the round
    async with Watching(containers.mark) as watching:
        assert watching.one(containers.name(1)).problem is None
        assert watching.one(containers.name(2)).running
        assert watching.troubles == []


@pytest_twisted.ensureDeferred
async def test_published_ports(containers: Containers) -> None:
    await containers.run(1, ports={"9000/tcp": ("127.0.0.1", None)})
    await containers.run(
        2, ports={"9000/tcp": None, "9333/tcp": None}, labels={"aosd.port": "9333"}
    )
    async with Watching(containers.mark) as watching:
        for number, inner in ((1, "9000/tcp"), (2, "9333/tcp")):
            made = containers.engine.api.inspect_container(containers.name(number))
            published = made["NetworkSettings"]["Ports"][inner][0]["HostPort"]
            address = watching.one(containers.name(number)).address
            assert address is not None
            assert (address.host, address.port) == ("127.0.0.1", int(published))


SIGHTINGS = """
import json
from aosd.discovery.docker import Engine, connect
found = Engine(connect).look()
print(json.dumps({each.name: [each.address and each.address.url, each.problem] for each in found}))
"""


@pytest_twisted.ensureDeferred
async def test_seen_from_a_container(containers: Containers) -> None:
    """The gateway in a container: this machine's Python, mounted into an empty image."""
    shared, other = containers.network(), containers.network()
    await containers.run(1, network=shared.name)
    await containers.run(2, network=other.name)
    folders = {
        ROOT,
        Path(sys.prefix),
        Path(sys.base_prefix),
        *map(Path, ("/usr", "/lib", "/lib64")),
    }
    mounts = {str(each): {"bind": str(each), "mode": "ro"} for each in folders if each.exists()}
    mounts[SOCKET] = {"bind": SOCKET, "mode": "rw"}

    async def look(**options: Any) -> dict[str, Any]:
        gateway = await containers.run(
            3,
            name=f"gateway-{containers.mark}-{secrets.token_hex(2)}",
            entrypoint=[sys.executable, "-c", SIGHTINGS],
            command=[],
            volumes=mounts,
            environment={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            **options,
        )
        await deferToThread(gateway.wait, timeout=SLOW_S)
        output = gateway.logs(stderr=False)
        assert output, gateway.logs()
        seen: dict[str, Any] = json.loads(output)
        return {key: value for key, value in seen.items() if containers.mark in key}

    def ip(number: int, network: Any) -> str:
        made = containers.engine.api.inspect_container(containers.name(number))
        return str(made["NetworkSettings"]["Networks"][network.name]["IPAddress"])

    # Whatever it is called: by default after its id, which is not to be relied on.
    for options in ({}, {"hostname": "gateway"}):
        seen = await look(network=shared.name, **options)
        assert seen[containers.name(1)] == [f"http://{ip(1, shared)}:9000", None]
        address, problem = seen[containers.name(2)]
        assert address is None
        assert other.name in problem
        assert shared.name in problem
    # On the host's network it stands where the host stands.
    seen = await look(network_mode="host")
    assert seen[containers.name(2)] == [f"http://{ip(2, other)}:9000", None]


class Relay:
    """A socket in front of the engine's that can go away and come back, as an engine does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._port: Any = None
        self._open: set[Protocol] = set()
        self.began_to_hang: Deferred[None] = Deferred()
        self.swallowed: bytes | None = None
        """Requests that contain this are never answered."""

    def up(self) -> None:
        factory = Factory()
        factory.protocol = lambda: _Front(self)
        factory.noisy = False
        self._port = reactor.listenUNIX(str(self._path), factory)

    def has_swallowed(self) -> None:
        if not self.began_to_hang.called:
            self.began_to_hang.callback(None)

    async def down(self) -> None:
        await self._port.stopListening()
        for each in list(self._open):
            cast(Any, each.transport).abortConnection()


class _Front(Protocol):
    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._back: Any = None
        self._before: list[bytes] = []

    def connectionMade(self) -> None:
        self._relay._open.add(self)
        back = Factory()
        back.protocol = lambda: _Back(self)
        back.noisy = False
        UNIXClientEndpoint(reactor, SOCKET).connect(back).addErrback(lambda _: None)

    def connected_back(self, transport: Any) -> None:
        self._back = transport
        for data in self._before:
            transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        swallowed = self._relay.swallowed
        if swallowed is not None and swallowed in data:
            self._relay.has_swallowed()
        elif self._back is None:
            self._before.append(data)
        else:
            self._back.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._relay._open.discard(self)
        if self._back is not None:
            self._back.loseConnection()


class _Back(Protocol):
    def __init__(self, front: _Front) -> None:
        self._front = front

    def connectionMade(self) -> None:
        self._front.connected_back(self.transport)

    def dataReceived(self, data: bytes) -> None:
        cast(Any, self._front.transport).write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        cast(Any, self._front.transport).loseConnection()


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    path = Path(f"/tmp/aosd-test-{secrets.token_hex(4)}.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    made = Relay(path)
    yield made
    path.unlink(missing_ok=True)


@pytest_twisted.ensureDeferred
async def test_an_engine_that_goes_and_comes_back(containers: Containers, relay: Relay) -> None:
    name = containers.name(1)
    await containers.run(1)
    relay.up()
    async with Watching(containers.mark) as watching:
        assert watching.one(name).running
        for _ in range(2):
            await relay.down()
            await watching.until(lambda: watching.troubles[-1:] not in ([], [""]))
            assert "can't be reached" in watching.troubles[-1]
            # No news: least of all that there is nothing.
            assert watching.one(name).running
            relay.up()
            await watching.until(lambda: watching.troubles[-1] == "")
            assert watching.one(name).running
        # And its events are followed again.
        await containers.run(2)
        await watching.until(lambda: containers.name(2) in watching.seen)
    await relay.down()


@pytest_twisted.ensureDeferred
async def test_an_engine_that_isnt_there_at_the_start(containers: Containers, relay: Relay) -> None:
    await containers.run(1)
    async with Watching(containers.mark) as watching:
        assert len(watching.troubles) == 1
        assert watching.reports == 0
        relay.up()
        await watching.until(lambda: containers.name(1) in watching.seen)
    await relay.down()


@pytest.mark.parametrize("swallowed", [b"GET ", b"/events"])
@pytest_twisted.ensureDeferred
async def test_an_engine_that_hangs_holds_no_thread_for_ever(
    docker_engine: docker.DockerClient, relay: Relay, swallowed: bytes
) -> None:
    relay.swallowed = swallowed
    relay.up()
    watching = Watching("nobody")
    first = watching.discovery.start(watching._report, watching._trouble)
    await within(reactor, SLOW_S, relay.began_to_hang, TimeoutError)
    await within(reactor, SLOW_S, watching.discovery.stop(), TimeoutError)
    await first
    watching._threads.stop()
    await relay.down()


@pytest_twisted.ensureDeferred
async def test_an_engine_that_hangs_is_trouble(
    docker_engine: docker.DockerClient, relay: Relay
) -> None:
    relay.swallowed = b"/containers/json"
    relay.up()
    watching = Watching("nobody")
    first = watching.discovery.start(watching._report, watching._trouble)
    await within(reactor, SLOW_S, first, TimeoutError)
    assert "timed out" in watching.troubles[0]
    assert watching.reports == 0
    await within(reactor, SLOW_S, watching.discovery.stop(), TimeoutError)
    watching._threads.stop()
    await relay.down()


@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_it(containers: Containers) -> None:
    def connections() -> int:
        links = []
        for each in Path("/proc/self/fd").iterdir():
            try:
                links.append(str(each.readlink()))
            except FileNotFoundError:
                continue
        return sum(link.startswith("socket:") for link in links)

    gc.collect()  # other tests' connections aren't to be closed meanwhile
    before = connections()
    async with Watching(containers.mark):
        assert connections() > before
    assert connections() <= before
