"""The two S3 servers that can be started as embedded nodes: how, and with what settings."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aosd.model.errors import ConfigurationError
from aosd.model.node import Credentials

HOST = "127.0.0.1"
_LOWEST_PORT = 10_000
_HIGHEST_PORT = 65_535
_ENOUGH_PORTS = 5_000
_given: set[int] = set()  # to servers of this process, lately
_LOCAL_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_PORTS_FILE = "ports.json"
_PARTS = ("master", "volume", "filer", "s3")  # of SeaweedFS

IsFree = Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class Server:
    """Which of the two it is: `kind` as the data folder remembers it, and its program."""

    kind: str
    program: str


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started, in its folder as the current one.

    `environment` is what to add to ours. `port` is the S3 port; the server is ready
    when every URL of `health` answers 200. `leftovers` are files outside its folder that
    it doesn't remove when it is killed.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    health: tuple[str, ...] = ()
    leftovers: tuple[Path, ...] = ()


def choose_server(kind: str | None, path: str | None = None, scripts: str | None = None) -> Server:
    """The server to run: `kind` when the data was made by it, otherwise minio before weed.

    `path` None means PATH; `scripts` None the folder where pip puts programs, which needn't
    be on PATH. Raises ConfigurationError when it isn't there.
    """
    minio = shutil.which("minio", path=path)
    scripts = sysconfig.get_path("scripts") if scripts is None else scripts
    weed = shutil.which("weed", path=scripts) or shutil.which("weed", path=path)
    if minio and kind in (None, "minio"):
        return Server("minio", minio)
    if weed and kind in (None, "seaweedfs"):
        return Server("seaweedfs", weed)
    if kind == "minio":
        raise ConfigurationError("this data was made by MinIO, and no minio is on PATH")
    if kind not in (None, "seaweedfs"):
        raise ConfigurationError(f"this data was made by {kind!r}, which aosd doesn't know")
    why = "this data was made by SeaweedFS" if kind else "no minio is on PATH"
    raise ConfigurationError(f"{why}; pip install 'aosd[embedded]' brings SeaweedFS")


def launch(
    server: Server, folder: Path, credentials: Credentials, is_free: IsFree | None = None
) -> Launch:
    """How to start one node in `folder`, on free ports of 127.0.0.1.

    Makes what it needs there. The ports are those of the last time, if they are free.
    """
    (folder / "data").mkdir(exist_ok=True)
    prepare = _minio if server.kind == "minio" else _seaweedfs
    return prepare(server.program, folder, credentials, is_free or is_free_here)


def _minio(program: str, folder: Path, credentials: Credentials, is_free: IsFree) -> Launch:
    ports = _ports(folder, ("s3", "console"), is_free)
    s3 = f"{HOST}:{ports['s3']}"
    return Launch(
        (
            program,
            "server",
            "data",
            f"--address={s3}",
            f"--console-address={HOST}:{ports['console']}",
        ),
        {
            "MINIO_ROOT_USER": credentials.access_key,
            "MINIO_ROOT_PASSWORD": credentials.secret_key,
            "MINIO_BROWSER": "off",
            # It neither asks for newer versions nor calls home.
            "MINIO_UPDATE": "off",
            "MINIO_CALLHOME_ENABLE": "off",
        },
        ports["s3"],
        (f"http://{s3}/minio/health/ready",),
    )


def _seaweedfs(program: str, folder: Path, credentials: Credentials, is_free: IsFree) -> Launch:
    ports = _ports(folder, (*_PARTS, *(f"{part}.grpc" for part in _PARTS)), is_free)
    _write_private(folder / "identities.json", json.dumps(_identities(credentials)))
    (folder / "master").mkdir(exist_ok=True)
    listening = [f"-{part}.port={ports[part]}" for part in _PARTS]
    # Left to itself it takes the others' plus 10,000, which may not exist.
    listening += [f"-{part}.port.grpc={ports[f'{part}.grpc']}" for part in _PARTS]
    return Launch(
        (
            program,
            "-logtostderr=true",  # otherwise into files of the system's temporary folder
            "server",
            "-dir=data",
            "-master.dir=master",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            "-filer",
            "-s3",
            *listening,
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.config=identities.json",
            "-s3.iam=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-s3.autoCreateBucket=false",
            "-master.telemetry=false",
            # The ports may change, and what the master forgets it learns from the volumes.
            "-master.resumeState=false",
            # Small volumes and no end to them: each bucket takes some, and none is allocated
            # beforehand. The disk is the limit, less 1 %.
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=10000",
            "-volume.preStopSeconds=0",
            # Relative to the node's folder: a socket's path can't be long.
            "-filer.localSocket=filer.sock",
            "-s3.localSocket=s3.sock",
        ),
        # Or each bucket takes seven volumes at once.
        {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
        ports["s3"],
        (
            f"http://{HOST}:{ports['master']}/cluster/healthz",
            *(f"http://{HOST}:{ports[part]}/healthz" for part in _PARTS[1:]),
        ),
        # Their place can't be chosen.
        tuple(
            Path("/tmp", f"seaweedfs-{part}-grpc-{ports[f'{part}.grpc']}.sock")  # noqa: S108
            for part in _PARTS
        ),
    )


def _identities(credentials: Credentials) -> object:
    pair = {"accessKey": credentials.access_key, "secretKey": credentials.secret_key}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "aosd", "credentials": [pair], "actions": actions}]}


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


# -- ports ----------------------------------------------------------------------------------


def _ports(folder: Path, names: Sequence[str], is_free: IsFree) -> Mapping[str, int]:
    """A port for each name, remembered in the folder.

    So a node keeps its address from one start to the next, and finds the sockets again that
    it left behind when it was killed.
    """
    path = folder / _PORTS_FILE
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if set(known) == set(names) and all(is_free(int(port)) for port in known.values()):
            return {name: int(known[name]) for name in names}
    except (OSError, ValueError, TypeError, AttributeError):
        pass  # never written, or by hand
    ports = dict(zip(names, free_ports(len(names), is_free), strict=True))
    path.write_text(json.dumps(ports), encoding="utf-8")
    return ports


def remembered_port(folder: Path) -> int | None:
    """The S3 port that a node of this folder had when it was started last; None for never."""
    try:
        port = json.loads((folder / _PORTS_FILE).read_text(encoding="utf-8"))["s3"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return port if isinstance(port, int) else None


def free_ports(count: int, is_free: IsFree | None = None) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on; somebody may be quicker than we.

    Below those that the system gives to outgoing connections, where there are any: a server
    that takes seconds to open its ports would find one of them taken now and then. For the
    same reason no port is given twice: several servers may be about to start.
    """
    is_free = is_free or is_free_here
    end = _first_local_port()
    if end < _LOWEST_PORT + _ENOUGH_PORTS:
        end = _HIGHEST_PORT + 1
    candidates = range(_LOWEST_PORT, end)
    chance = secrets.SystemRandom()
    found: set[int] = set()
    while len(found) < count:
        port = chance.choice(candidates)
        if len(_given) > len(candidates) // 2:
            _given.clear()
        if port not in _given and is_free(port):
            found.add(port)
            _given.add(port)
    return list(found)


def is_free_here(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1."""
    with socket.socket() as trying:
        # As servers do, so that connections which ended lately are no hindrance.
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trying.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def _first_local_port() -> int:
    try:
        return int(_LOCAL_PORT_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 0
