"""What Prometheus is told. One registry a daemon; nothing global."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.process_collector import ProcessCollector

from aosd.observe.quick import QuickCounter, QuickGauge, QuickHistogram

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


class Metrics:
    """All counters and gauges, by the names that docs/operations.md lists."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = QuickCounter(
            "aosd_requests",
            "Requests answered, by door, verb and status (0: the client went away).",
            ["door", "verb", "status"],
            registry=registry,
        )
        self.lane_requests = QuickCounter(
            "aosd_lane_requests",
            "Requests by the lane that served them, where the express lane is on.",
            ["lane"],
            registry=registry,
        )
        for lane in ("express", "standard"):
            self.lane_requests.labels(lane)  # 0 while it is off
        self.request_seconds = QuickHistogram(
            "aosd_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["door", "verb"],
            buckets=_LATENCY_S,
            registry=registry,
        )
        self.bytes_in = QuickCounter(
            "aosd_received_bytes", "Bytes of bodies from clients.", ["door"], registry=registry
        )
        self.bytes_out = QuickCounter(
            "aosd_sent_bytes", "Bytes of bodies to clients.", ["door"], registry=registry
        )
        self.in_flight = QuickGauge(
            "aosd_requests_in_flight", "Requests being answered.", ["door"], registry=registry
        )
        self.refused = Counter(
            "aosd_requests_refused",
            "Requests refused because too much was going on.",
            ["door"],
            registry=registry,
        )
        self.body_memory_bytes = Gauge(
            "aosd_body_memory_bytes", "Bytes of bodies held in memory.", registry=registry
        )
        self.node_requests = QuickCounter(
            "aosd_node_requests", "Requests to nodes.", ["node", "verb"], registry=registry
        )
        self.spliced_bytes = QuickCounter(
            "aosd_spliced_bytes",
            "Bytes of bodies that the kernel moved between a client and the node.",
            ["node"],
            registry=registry,
        )
        self.node_errors = Counter(
            "aosd_node_errors",
            "Requests to nodes that failed, by kind of error.",
            ["node", "kind"],
            registry=registry,
        )
        self.node_seconds = QuickHistogram(
            "aosd_node_request_seconds",
            "Time until a node's answer began.",
            ["node", "verb"],
            buckets=_LATENCY_S,
            registry=registry,
        )
        self.breaker_open = Gauge(
            "aosd_node_breaker_open",
            "1 while the node's breaker is open.",
            ["node"],
            registry=registry,
        )
        self.node_up = Gauge(
            "aosd_node_up", "1 while the node can be asked.", ["node"], registry=registry
        )
        self.marks = Gauge("aosd_marks", "Marks that a key's copies may differ.", registry=registry)
        self.sweep_keys = Counter(
            "aosd_sweep_keys", "Keys that sweeps compared.", registry=registry
        )
        self.copies_missing = Counter(
            "aosd_copies_missing", "Copies that repair found missing.", registry=registry
        )
        self.copies_made = Counter("aosd_copies_made", "Copies made by repair.", registry=registry)
        self.copies_removed = Counter(
            "aosd_copies_removed", "Copies removed by repair.", registry=registry
        )
        self.repair_bytes = Counter(
            "aosd_repair_bytes", "Bytes copied by repair.", registry=registry
        )
        self.oldest_gap_s = Gauge(
            "aosd_oldest_gap_seconds", "Age of the oldest known gap.", registry=registry
        )
        self.last_sweep = Gauge(
            "aosd_last_sweep_timestamp_seconds",
            "When the last complete sweep ended, in seconds since 1970.",
            registry=registry,
        )
        self.repair_paused = Gauge(
            "aosd_repair_paused", "1 while sweeps stand still, as was asked for.", registry=registry
        )
        self.change_keys = Gauge(
            "aosd_ring_change_keys",
            "Keys compared by the sweep for the ring change under way; 0: there is none.",
            registry=registry,
        )
        self.change_seconds_left = Gauge(
            "aosd_ring_change_seconds_left",
            "How long that sweep will take yet; NaN: unknown; 0: there is none.",
            registry=registry,
        )
        self.ring_members = Gauge("aosd_ring_members", "Members of the ring.", registry=registry)
        self.discovery_runs = Counter(
            "aosd_discovery_reports", "Reports by a provider.", ["provider"], registry=registry
        )
        self.discovery_failures = Counter(
            "aosd_discovery_failures",
            "Failed rounds of a provider.",
            ["provider"],
            registry=registry,
        )

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
