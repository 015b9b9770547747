"""aosd's own providers of nodes."""

from aosd.discovery.plugins import dns, docker, embedded, static

__all__ = ["dns", "docker", "embedded", "static"]
