"""`python -m bench.s3`: what the S3 door costs beside the plain door, and a node's own listing."""

from __future__ import annotations

import argparse
import http.client
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import botocore.session
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from bench.daemon import start_daemon
from bench.pieces import REGION, Piece, measure_pieces
from bench.processes import BenchError
from tests.integration.nodes import BUCKET, RealNode, write_nodes_file

_NAMES = ("n1", "n2", "n3")
_REPLICAS = 2
_BODY = bytes(1024)
_KEYS_AT_ONCE = 16
ROOT = Credentials("bench-root", "bench-root-secret")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.s3", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="samples of each figure [5]")
    parser.add_argument("--keys", type=int, default=100_000, help="keys to list [100000]")
    parser.add_argument("--requests", type=int, default=300, help="requests a sample [300]")
    asked = parser.parse_args(arguments)
    try:
        with ExitStack() as stack:
            _run(stack, asked)
    except (BenchError, AssertionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _run(stack: ExitStack, asked: argparse.Namespace) -> None:
    print(pieces_table(measure_pieces(asked.rounds)), flush=True)
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aosd-bench-")))
    nodes = [RealNode(name, home / name) for name in _NAMES]
    for node in nodes:
        stack.callback(node.end)
        node.start()
    for node in nodes:
        node.wait_until_it_answers()
    nodes_file = write_nodes_file(home / "nodes.toml", nodes, [node.port for node in nodes])
    environment = {"AOSD_ACCESS_KEY": ROOT.access_key, "AOSD_SECRET_KEY": ROOT.secret_key}
    daemon = start_daemon(stack, home / "aosd", nodes_file, _REPLICAS, environment)
    print(requests_table(measure_requests(daemon.port, asked.rounds, asked.requests)), flush=True)
    began_s = time.monotonic()
    fill(daemon.port, asked.keys)
    print(f"{asked.keys} keys were written in {time.monotonic() - began_s:.0f} s", flush=True)
    daemon.wait_until_settled()
    print(listing_table(measure_listings(daemon.port, nodes[0], asked.rounds)), flush=True)


# -- pieces ---------------------------------------------------------------------------------------


def pieces_table(pieces: Sequence[Piece]) -> str:
    lines = ["| piece of work | µs |", "|---|--:|"]
    lines += [f"| {each.name} | {each.microseconds:,.0f} |" for each in pieces]
    return "\n".join(lines) + "\n"


# -- requests -------------------------------------------------------------------------------------


class Connection:
    """One client that asks for one thing after the other."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, verb: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
        self._http.request(verb, path, body=body or None, headers=headers)
        answer = self._http.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise BenchError(f"{verb} {path}: {answer.status} {data[:200]!r}")
        return data


def measure_requests(port: int, rounds: int, count: int) -> dict[str, dict[str, float]]:
    """Milliseconds a request, by verb and by how it is let in: medians of rounds, in turns."""
    connection = Connection(port)
    path = f"/{BUCKET}/benchdoor"
    ways: dict[str, Callable[[str], tuple[str, dict[str, str]]]] = {
        "plain door": lambda verb: (path, {}),
        "S3 door, signed in the header": lambda verb: (path, _signed(port, verb, path)),
        "S3 door, presigned": lambda verb: (_presigned(port, verb, path), {}),
    }
    samples: dict[str, dict[str, list[float]]] = {
        verb: {way: [] for way in ways} for verb in ("PUT", "GET")
    }
    for _ in range(rounds):
        for verb, taken in samples.items():
            body = _BODY if verb == "PUT" else b""
            for way, prepare in ways.items():
                target, headers = prepare(verb)
                began_s = time.perf_counter()
                for _ in range(count):
                    connection.ask(verb, target, headers, body)
                taken[way].append((time.perf_counter() - began_s) / count * 1e3)
    return {
        verb: {way: statistics.median(each) for way, each in taken.items()}
        for verb, taken in samples.items()
    }


def _signed(port: int, verb: str, path: str) -> dict[str, str]:
    # Over plain HTTP the digest of the body is signed, too.
    data = _BODY if verb == "PUT" else b""
    request = AWSRequest(verb, f"http://127.0.0.1:{port}{path}", data=data)
    S3SigV4Auth(ROOT, "s3", REGION).add_auth(request)
    return dict(request.headers.items())


def _presigned(port: int, verb: str, path: str) -> str:
    request = AWSRequest(verb, f"http://127.0.0.1:{port}{path}")
    S3SigV4QueryAuth(ROOT, "s3", REGION, expires=3600).add_auth(request)
    url: str = request.url
    return url.removeprefix(f"http://127.0.0.1:{port}")


def requests_table(figures: dict[str, dict[str, float]]) -> str:
    ways = list(figures["PUT"])
    lines = [f"| ms a request of 1 KiB | {' | '.join(ways)} |", "|---|--:|--:|--:|"]
    for verb, taken in figures.items():
        cells = [f"{taken[way]:.2f}" for way in ways]
        lines.append(f"| {verb} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


# -- listings -------------------------------------------------------------------------------------


def fill(port: int, keys: int) -> None:
    """Write so many small objects, some at once."""

    def write(first: int) -> None:
        connection = Connection(port)
        for number in range(first, keys, _KEYS_AT_ONCE):
            connection.ask("PUT", f"/object/listed{number:07}", {}, b"x")

    with ThreadPoolExecutor(_KEYS_AT_ONCE) as threads:
        list(threads.map(write, range(_KEYS_AT_ONCE)))


def measure_listings(port: int, node: RealNode, rounds: int) -> dict[str, list[float]]:
    """Pages of 1,000 keys a second, of the whole bucket, by whom was asked: one a round."""
    clients = {
        "aosd, three nodes": _client(port, ROOT.access_key, ROOT.secret_key),
        "one node": _client(node.port, node.credentials.access_key, node.credentials.secret_key),
    }
    samples: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(rounds):
        for name, client in clients.items():
            began_s, pages = time.perf_counter(), 0
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
                pages += page["KeyCount"] / 1000
            samples[name].append(pages / (time.perf_counter() - began_s))
    return samples


def _client(port: int, access_key: str, secret_key: str) -> Any:
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(retries={"max_attempts": 0}),
    )


def listing_table(samples: dict[str, list[float]]) -> str:
    lines = ["| pages of 1,000 keys a second | median |", "|---|--:|"]
    lines += [f"| {name} | {statistics.median(taken):.1f} |" for name, taken in samples.items()]
    (gateway, node) = samples.values()
    ratio = statistics.median(one / other for one, other in zip(gateway, node, strict=True))
    return "\n".join([*lines, f"| aosd as a part of the node | {ratio:.2f} |"]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
