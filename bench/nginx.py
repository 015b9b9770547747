"""Debian's nginx in two parts: as the proxy to compare with, and as null nodes.

Each is one process in the foreground, with everything it writes in a directory of its own,
so that it runs as any user beside an nginx of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import program
from tests.integration.processes import Process, free_ports, listens

NULL_ETAG = '"0123456789abcdef0123456789abcdef"'
NULL_STAMP = "0193594b3a7c-0000-1f2e3d4c"

_MEMORY = Path("/dev/shm")

_FRAME = """
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    default_type application/octet-stream;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 10000000;
    client_max_body_size 0;
    client_body_temp_path {spool}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
{body}
}}
"""

# Answers are buffered, but never on disk; what is sent to a node flows as it comes.
_PROXY = """
    upstream nodes {{
        hash $uri consistent;
{servers}
        keepalive 64;
        keepalive_requests 10000000;
    }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_request_buffering off;
    proxy_buffering on;
    proxy_max_temp_file_size 0;
    access_log {log};
{listens}
"""

_PROXY_LISTENS = """
    server {{
        listen 127.0.0.1:{port};
{buffers}
        location / {{ proxy_pass http://nodes; }}
    }}
"""

_BUFFERS = {
    "4k": "proxy_buffer_size 4k; proxy_buffers 8 4k; client_body_buffer_size 16k;",
    "16k": "proxy_buffer_size 16k; proxy_buffers 16 16k; client_body_buffer_size 16k;",
    "64k": "proxy_buffer_size 16k; proxy_buffers 16 64k; client_body_buffer_size 64k;",
    "256k": "proxy_buffer_size 16k; proxy_buffers 16 256k; client_body_buffer_size 256k;",
    "1m": "proxy_buffer_size 16k; proxy_buffers 8 1m; client_body_buffer_size 1m;",
    "unbuffered": "proxy_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k;",
}

# A PUT of 1 KiB is answered by `return`, which throws the body away. That answers before
# the body has come, which no node does to a long one: so `benchsink` reads it whole (into
# memory, where /dev/shm is) and only then asks the server beneath for the answer.
_NULL_NODES = """
    access_log off;
    open_file_cache max=16;
    etag off;
    server {{
{listens}
        root {files};
        location / {{
            proxy_pass http://$real;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_request_buffering off;
        }}
        location ^~ /object/bench {{
{headers}
            if ($request_method = PUT) {{ return 200; }}
            try_files /small =404;
        }}
        location ^~ /object/benchbig {{
{headers}
            try_files /big =404;
        }}
        location ^~ /object/benchsink {{
            client_body_buffer_size 1m;
            proxy_pass http://127.0.0.1:{answer_port}/;
            proxy_method GET;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Expect "";
        }}
    }}
    map $server_port $real {{
{reals}
    }}
    server {{
        listen 127.0.0.1:{answer_port};
        location / {{
{headers}
            return 200;
        }}
    }}
"""

_NULL_HEADERS = f"""
            add_header ETag '{NULL_ETAG}';
            add_header Last-Modified "Sun, 24 Nov 2024 12:00:00 GMT";
            add_header x-amz-meta-aos-stamp {NULL_STAMP};
"""


@dataclass(frozen=True)
class Proxy:
    """nginx as a proxy: one process, and by the size of its buffers the port to ask it at."""

    process: Process
    ports: Mapping[str, int]


def start_proxy(
    stack: ExitStack, home: Path, node_ports: Sequence[int], *, logged: bool = False
) -> Proxy:
    """Start nginx as a proxy before nodes, with an access log or without. `stack` ends it."""
    ports = dict(zip(_BUFFERS, free_ports(len(_BUFFERS)), strict=True))
    body = _PROXY.format(
        servers="\n".join(f"        server 127.0.0.1:{each};" for each in node_ports),
        log=f"{home}/access.log" if logged else "off",
        listens="".join(
            _PROXY_LISTENS.format(port=port, buffers=_BUFFERS[size]) for size, port in ports.items()
        ),
    )
    return Proxy(_start(stack, "nginx", home, body, min(ports.values()), home), ports)


def start_null_nodes(
    stack: ExitStack, home: Path, files: Path, node_ports: Sequence[int]
) -> list[int]:
    """Start a null node before each real one, all in one process; returns their ports.

    GET and PUT of `/object/bench…` are answered here, with the contents of `small` in
    `files` (`big` for keys that begin with `benchbig`); long bodies can be PUT to keys that
    begin with `benchsink`. All the rest goes on to the real node with the Host that the
    client signed.
    """
    *ports, answer_port = free_ports(len(node_ports) + 1)
    reals = zip(ports, node_ports, strict=True)
    body = _NULL_NODES.format(
        listens="\n".join(f"        listen 127.0.0.1:{each};" for each in ports),
        reals="\n".join(f"        {null} 127.0.0.1:{real};" for null, real in reals),
        headers=_NULL_HEADERS,
        files=files,
        answer_port=answer_port,
    )
    spool = home / "spool"
    if _MEMORY.is_dir():
        spool = Path(stack.enter_context(TemporaryDirectory(prefix="aosd-bench-", dir=_MEMORY)))
    _start(stack, "null nodes", home, body, ports[0], spool)
    return ports


def _start(stack: ExitStack, name: str, home: Path, body: str, port: int, spool: Path) -> Process:
    home.mkdir(parents=True)
    config = home / "nginx.conf"
    config.write_text(_FRAME.format(home=home, spool=spool, body=body))
    command = [program("nginx", "nginx-light"), "-p", str(home), "-c", str(config)]
    command += ["-e", str(home / "error.log")]
    process = stack.enter_context(Process(name, command, home / "output.log"))
    process.wait_until(lambda: listens(port))
    return process
