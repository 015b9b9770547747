"""aosd's own providers of nodes."""

from aosd.discovery.plugins import docker, dns, embedded, static

__all__ = ["dns", "docker", "embedded", "static"]
