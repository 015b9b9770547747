"""What the reader sees: a table for people, JSON for programs, and what it was run on."""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from bench.processes import program
from bench.rounds import Row

LEGEND = """\
aosd       one aosd process, its plain door (no signature asked for); it signs whatever it asks
           of the nodes
nginx      one nginx process as a proxy before the same nodes, `hash $uri consistent`, bodies
           unbuffered; it signs nothing (the nodes' bucket is open to anyone for this run)
node       the first node, asked directly: what the load generator and a node reach without
           anything between them, on the same cores
aosd/nginx the median of the rounds' ratios; more is better for rates, less for CPU
CPU        processor time of the aosd or nginx process alone, user and kernel
null nodes an nginx before each real node answers the benchmark's requests itself, so the
           figure is the gateway's and not the node's
"""


def machine(node_kind: str) -> dict[str, str]:
    """What the figures were taken on."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    told = subprocess.run(
        [program("nginx", "nginx-light"), "-v"], check=True, capture_output=True, text=True
    )
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{round(memory_bytes / 1024**3)} GiB",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "nginx": told.stderr.strip().rpartition("/")[2],
        "nodes": {"minio": "MinIO", "seaweedfs": "SeaweedFS"}[node_kind],
    }


def table(title: str, rows: Sequence[Row]) -> str:
    """One table of medians and ratios, in Markdown."""
    lines = [
        f"{title}\n",
        "| | unit | aosd | nginx | node | aosd/nginx | CPU unit | aosd | nginx | aosd/nginx |",
        "|---|---|--:|--:|--:|--:|---|--:|--:|--:|",
    ]
    for row in rows:
        rates = [row.median_rate(each) for each in ("aosd", "nginx", "node")]
        cpus = [row.median_cpu(each) for each in ("aosd", "nginx")]
        cells = [row.figure.name, row.figure.rate_unit]
        cells += [f"{rate:,.0f}" for rate in rates] + [f"{row.rate_ratio:.2f}"]
        cells += [row.figure.cpu_unit]
        cells += [f"{cpu:.2f}" if cpu < 10 else f"{cpu:,.0f}" for cpu in cpus]
        cells += [f"{row.cpu_ratio:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def as_json(phases: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """All samples, medians and ratios, ready for `json.dump`."""
    return {
        phase: {
            row.figure.name: {
                "rate_unit": row.figure.rate_unit,
                "cpu_unit": row.figure.cpu_unit,
                "aosd_nginx_rate": row.rate_ratio,
                "aosd_nginx_cpu": row.cpu_ratio,
                "median_rate": {name: row.median_rate(name) for name in row.samples},
                "samples": {
                    name: [dataclasses.asdict(sample) for sample in samples]
                    for name, samples in row.samples.items()
                },
            }
            for row in rows
        }
        for phase, rows in phases.items()
    }
