"""The parts of the benchmark. Each has nodes and daemons of its own, and gives rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from botocore.credentials import Credentials

from bench import load
from bench.goals import (
    AOSD,
    GET_LONG,
    GET_SMALL,
    LISTING,
    LOGGED,
    NGINX,
    NODE,
    ONCE,
    PACED,
    PUT_LONG,
    PUT_SMALL,
    READERS,
    REAL,
    SAME_RATE,
    STANDARD,
    TWICE,
)
from bench.listing import fill, list_all
from bench.load import MIB, Sample
from bench.nginx import Proxy, start_proxy
from bench.nodes import start_nodes
from bench.readers import read_slowly
from bench.rounds import Ask, Figure, Row, best, measure
from bench.stage import Plan, Stage, stage
from tests.integration.processes import peak_rss_bytes, reset_peak, rss_bytes
from tests.integration.waiting import until

Part = Callable[[ExitStack, Plan], list[Row]]

_SMALL = "benchkey"  # see start_null_nodes
_BIG = "benchbig"
_SINK = "benchsink"
_TRIES = 3
_RATE, _CPU, _LONG_RATE, _LONG_CPU = "requests/s", "µs/request", "MiB/s", "s/GiB"
_ROOT = Credentials("bench-root", "bench-root-secret")


def small(stack: ExitStack, plan: Plan, *, logged: bool = False) -> list[Row]:
    """Small requests, as fast as they go."""
    rows, *_ = _small(stack, plan, logged)
    return rows


def small_and_paced(stack: ExitStack, plan: Plan) -> list[Row]:
    """The same, and then at half of the rate that each of aosd and nginx has reached."""
    rows, ours, proxy, url = _small(stack, plan, logged=False)
    half = {name: rows[0].median(name) / 2 for name in (AOSD, NGINX)}
    pace = partial(load.paced, seconds=plan.seconds)
    ask_nginx = partial(pace, url, process=proxy.process)
    ask_aosd = partial(pace, _prefix(ours) + _SMALL, process=ours.daemon.process)
    asks: dict[str, Ask] = {
        AOSD: lambda: ask_aosd(rate=half[AOSD]),
        NGINX: lambda: ask_nginx(rate=half[NGINX]),
        SAME_RATE: lambda: ask_nginx(rate=half[AOSD]),
    }
    return rows + measure([Figure(PACED, _RATE, _CPU, asks)], plan.rounds, plan.tell)


def _small(stack: ExitStack, plan: Plan, logged: bool) -> tuple[list[Row], Stage, Proxy, str]:
    """Rows, aosd's stage, and nginx with the prefix of small objects' URLs for GET."""
    ours = stage(stack, plan, logged=logged)
    standard = stage(stack, plan, express=False, logged=logged)
    proxy = start_proxy(stack, ours.folder / "nginx", ours.ports, logged=logged)
    figures = []
    urls = {}
    for method, name in (("GET", GET_SMALL), ("PUT", PUT_SMALL)):
        ask = partial(load.small, method, seconds=plan.seconds)
        try_nginx = partial(load.small, method, seconds=1.0, process=proxy.process)
        urls[method] = _best_nginx(plan, name, proxy, _SMALL, try_nginx)
        asks: dict[str, Ask] = {
            AOSD: partial(ask, _prefix(ours) + _SMALL, process=ours.daemon.process),
            STANDARD: partial(ask, _prefix(standard) + _SMALL, process=standard.daemon.process),
            NGINX: partial(ask, urls[method], process=proxy.process),
        }
        if not logged:
            asks[NODE] = partial(ask, _node(ours) + _SMALL, process=None)
        figures.append(Figure(name + (LOGGED if logged else ""), _RATE, _CPU, asks))
    return measure(figures, plan.rounds, plan.tell), ours, proxy, urls["GET"]


def long(stack: ExitStack, plan: Plan) -> list[Row]:
    """Long bodies, one at a time, and then many of them at once that are read slowly."""
    ours = stage(stack, plan)
    twice = stage(stack, plan, replicas=2)
    proxy = start_proxy(stack, ours.folder / "nginx", ours.ports)
    file, size_bytes = plan.payload.file, plan.payload.size_bytes
    get = partial(load.get_large, size_bytes=size_bytes)
    put = partial(load.put_large, file=file)
    get_url = _best_nginx(plan, GET_LONG, proxy, _BIG, lambda url: get(url, process=None))
    put_url = _best_nginx(plan, PUT_LONG, proxy, _SINK, lambda url: put(url, process=None))
    gets: dict[str, Ask] = {
        AOSD: partial(get, _prefix(ours) + _BIG, process=ours.daemon.process),
        NGINX: partial(get, get_url, process=proxy.process),
        NODE: partial(get, _node(ours) + _BIG, process=None),
    }
    puts: dict[str, Ask] = {
        AOSD: partial(put, _prefix(ours) + _SINK, process=ours.daemon.process),
        TWICE: partial(put, _prefix(twice) + _SINK, process=twice.daemon.process),
        NGINX: partial(put, put_url, process=proxy.process),
        NODE: partial(put, _node(ours) + _SINK, process=None),
    }
    figures = [
        Figure(GET_LONG, _LONG_RATE, _LONG_CPU, gets),
        Figure(PUT_LONG, _LONG_RATE, _LONG_CPU, puts),
        Figure(READERS, "MiB", "s", {AOSD: lambda: _grown_by_readers(ours, plan.seconds)}),
    ]
    return measure(figures, plan.rounds, plan.tell)


def _grown_by_readers(ours: Stage, seconds: float) -> Sample:
    """The rate is how much the daemon's resident memory grew while they read, in MiB."""
    process = ours.daemon.process
    reset_peak(process.pid)
    idle_bytes, cpu_s = rss_bytes(process.pid), process.cpu_s
    read_slowly(f"{_prefix(ours)}{_BIG}", seconds)
    grown_bytes = peak_rss_bytes(process.pid) - idle_bytes
    sample = Sample(rate=grown_bytes / MIB, cpu=process.cpu_s - cpu_s)
    until(
        lambda: ours.daemon.metric("aosd_requests_in_flight", door="plain") == 0,
        "the readers are gone",
    )
    return sample


def listing(stack: ExitStack, plan: Plan) -> list[Row]:
    """The keys of many small objects, from three nodes with one copy and two, and from one."""
    environment = {"AOSD_ACCESS_KEY": _ROOT.access_key, "AOSD_SECRET_KEY": _ROOT.secret_key}
    once = stage(stack, plan, null=False, environment=environment)
    twice = stage(stack, plan, null=False, environment=environment, replicas=2)
    # Nobody founded anything on this one: it has these keys and nothing else.
    (alone,) = start_nodes(stack, once.folder / "alone", ("alone",))
    for each in (once.daemon.port, twice.daemon.port, alone.port):
        plan.tell(f"writing {plan.keys:,} objects")
        fill(each, plan.keys)
    for each in (once, twice):
        each.daemon.wait_until_settled()
    credentials = Credentials(alone.credentials.access_key, alone.credentials.secret_key)
    asks: dict[str, Ask] = {
        ONCE: partial(list_all, once.daemon.port, _ROOT, plan.keys),
        TWICE: partial(list_all, twice.daemon.port, _ROOT, plan.keys),
        NODE: partial(list_all, alone.port, credentials, plan.keys),
    }
    return measure([Figure(LISTING, "pages/s", "", asks)], plan.rounds, plan.tell)


def real(stack: ExitStack, plan: Plan) -> list[Row]:
    """Small and long bodies on the nodes themselves, where what is written is really written."""
    ours = stage(stack, plan, null=False)
    standard = stage(stack, plan, null=False, express=False)
    proxy = start_proxy(stack, ours.folder / "nginx", ours.ports)
    targets = {
        AOSD: (_prefix(ours), "a", ours.daemon.process),
        STANDARD: (_prefix(standard), "s", standard.daemon.process),
        NGINX: (_prefix_at(proxy.ports["64k"]), "g", proxy.process),
        NODE: (_node(ours), "d", None),
    }
    # What one writes, another one would not find where it looks.
    for url, tag, _ in targets.values():
        load.fill(f"{url}{_SMALL}{tag}")
    figures = []
    for method, figure in (("GET", GET_SMALL), ("PUT", PUT_SMALL)):
        asks: dict[str, Ask] = {
            name: partial(load.small, method, f"{url}{_SMALL}{tag}", plan.seconds, process)
            for name, (url, tag, process) in targets.items()
        }
        figures.append(Figure(figure + REAL, _RATE, _CPU, asks))
    del targets[STANDARD]
    puts: dict[str, Ask] = {
        name: partial(load.put_large, f"{url}{_SINK}{tag}", plan.payload.file, process)
        for name, (url, tag, process) in targets.items()
    }
    gets: dict[str, Ask] = {
        name: partial(load.get_large, f"{url}{_SINK}{tag}", plan.payload.size_bytes, process)
        for name, (url, tag, process) in targets.items()
    }
    # What is read was written by the one before.
    figures.append(Figure(PUT_LONG + REAL, _LONG_RATE, _LONG_CPU, puts))
    figures.append(Figure(GET_LONG + REAL, _LONG_RATE, _LONG_CPU, gets))
    return measure(figures, plan.rounds, plan.tell)


def _best_nginx(plan: Plan, name: str, proxy: Proxy, key: str, ask: Callable[[str], Sample]) -> str:
    """The prefix of URLs at nginx with the size of buffers that is the fastest for this."""
    urls = {size: _prefix_at(port) + key for size, port in proxy.ports.items()}
    chosen = best({size: partial(ask, url) for size, url in urls.items()}, _TRIES)
    plan.tell(f"nginx is best with buffers {chosen}: {name}")
    return urls[chosen]


def _prefix(ours: Stage) -> str:
    return ours.daemon.url


def _node(ours: Stage) -> str:
    return _prefix_at(ours.ports[0])


def _prefix_at(port: int) -> str:
    return f"http://127.0.0.1:{port}/object/"


PARTS: dict[str, Part] = {
    "small": small_and_paced,
    "logged": partial(small, logged=True),
    "long": long,
    "listing": listing,
    "real": real,
}
