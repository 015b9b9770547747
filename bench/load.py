"""Load on one address: many small requests by wrk, one large body by curl."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from bench.processes import BenchError, program
from tests.integration.processes import Process

CONNECTIONS = 32
KEYS = 256
SMALL_BYTES = 1024
MIB = 1024 * 1024

_SCRIPT = Path(__file__).with_name("wrk.lua")
_PACE = Path(__file__).with_name("pace.lua")
_CURL_MAX_S = 120
_ANSWER_MAX_S = 25
_STORED = (200, 201)
# A busy machine may stand still for as long: nothing is measured then, and nothing wrong.
_SHORT_S = 1.0
_SHORT_TRIES = 3


@dataclass(frozen=True)
class Sample:
    """One measurement: `rate` in requests/s or MiB/s.

    `cpu` is the processor time of the process under measurement: µs a request, or seconds a
    GiB; None when there is no such process (a node asked directly). Latencies in ms;
    `late_p99_ms` is how late a generator of constant rate itself was.
    """

    rate: float
    cpu: float | None
    p50_ms: float | None = None
    p99_ms: float | None = None
    late_p99_ms: float | None = None


@dataclass(frozen=True)
class Payload:
    """A long body in a file, and its name for people."""

    file: Path
    size_bytes: int
    name: str

    @staticmethod
    def make(directory: Path, size_bytes: int) -> Payload:
        """Write `big`, `size_bytes` long (whole MiB), and `small`, 1 KiB, to a new directory."""
        directory.mkdir(parents=True)
        (directory / "small").write_bytes(b"x" * SMALL_BYTES)
        block = os.urandom(MIB)
        with (directory / "big").open("wb") as file:
            for _ in range(size_bytes // MIB):
                file.write(block)
        whole_gib = size_bytes % (1024 * MIB) == 0
        name = f"{size_bytes >> 30} GiB" if whole_gib else f"{size_bytes // MIB} MiB"
        return Payload(directory / "big", size_bytes, name)


def fill(url_prefix: str, keys: int = KEYS) -> None:
    """PUT the objects that `small` asks for, one after the other."""
    address = urlsplit(url_prefix)
    connection = HTTPConnection(address.netloc, timeout=30)
    try:
        for number in range(1, keys + 1):
            connection.request("PUT", f"{address.path}{number}", b"x" * SMALL_BYTES)
            answer = connection.getresponse()
            answer.read()
            if answer.status not in _STORED:
                raise BenchError(f"PUT {url_prefix}{number}: {answer.status} {answer.reason}")
    finally:
        connection.close()


def small(
    method: str, url_prefix: str, seconds: float, process: Process | None, keys: int = KEYS
) -> Sample:
    """GET or PUT 1 KiB objects named `url_prefix` and a number for some seconds."""
    address = urlsplit(url_prefix)
    command = [program("wrk", "wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
    # A slow answer is a latency, not an error.
    command += [
        "--timeout",
        f"{_ANSWER_MAX_S}s",
        "-s",
        str(_SCRIPT),
        f"http://{address.netloc}",
        "--",
    ]
    command += [method, address.path, str(keys), str(SMALL_BYTES)]
    for _ in range(_SHORT_TRIES):
        before = process.cpu_s if process else 0.0
        output = _run(command, seconds + 2 * _ANSWER_MAX_S)
        told = json.loads(output.strip().splitlines()[-1])
        count = told["requests"]
        if count or told["refused"] or told["broken"] or seconds > _SHORT_S:
            break
    if not count or told["refused"] or told["broken"]:
        raise BenchError(f"{method} {url_prefix}…: {told}")
    return Sample(
        rate=count / told["duration_us"] * 1e6,
        cpu=(process.cpu_s - before) / count * 1e6 if process else None,
        p50_ms=told["p50_us"] / 1000,
        p99_ms=told["p99_us"] / 1000,
    )


def paced(
    url_prefix: str, rate: float, seconds: float, process: Process | None, keys: int = KEYS
) -> Sample:
    """GET 1 KiB objects named `url_prefix` and a number, `rate` of them a second.

    Latencies count from when a request was due.
    """
    address = urlsplit(url_prefix)
    command = [program("luajit", "luajit"), str(_PACE), str(address.port), address.path, str(keys)]
    command += [str(rate), str(seconds), str(CONNECTIONS)]
    before = process.cpu_s if process else 0.0
    told = json.loads(_run(command, seconds + 2 * _ANSWER_MAX_S))
    return Sample(
        rate=rate,
        cpu=(process.cpu_s - before) / told["requests"] * 1e6 if process else None,
        p50_ms=told["p50_us"] / 1000,
        p99_ms=told["p99_us"] / 1000,
        late_p99_ms=told["late_p99_us"] / 1000,
    )


def put_large(url: str, file: Path, process: Process | None, *, chunked: bool = False) -> Sample:
    """PUT a file, with its length or chunked."""
    more = ["-H", "Transfer-Encoding: chunked"] if chunked else []
    return _large(["-T", str(file), *more, url], file.stat().st_size, process)


def get_large(url: str, size_bytes: int, process: Process | None) -> Sample:
    """GET an object of `size_bytes`."""
    return _large([url], size_bytes, process)


def _large(arguments: list[str], size_bytes: int, process: Process | None) -> Sample:
    command = [program("curl", "curl"), "-sS", "-o", "/dev/null", "-m", str(_CURL_MAX_S)]
    command += ["-w", "%{http_code} %{size_upload} %{size_download} %{time_total}\n", *arguments]
    before = process.cpu_s if process else 0.0
    status, sent, came, time_s = _run(command, _CURL_MAX_S + 10).split()
    # A chunked body is longer on the wire than it is.
    if int(status) not in _STORED or max(int(sent), int(came)) < size_bytes:
        raise BenchError(f"curl {' '.join(arguments)}: {status}, {sent} sent, {came} came")
    spent = process.cpu_s - before if process else None
    return Sample(
        rate=size_bytes / MIB / float(time_s),
        cpu=None if spent is None else spent / size_bytes * 1024 * MIB,
    )


def _run(command: list[str], deadline_s: float) -> str:
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=deadline_s
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{' '.join(command)}: not done after {deadline_s} s") from error
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout
