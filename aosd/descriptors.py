"""How many files and connections the process may have open."""

from __future__ import annotations

import resource

_WANTED = 65_536
_OTHERS = 100  # files, probes, discovery, the operations door's own port


def allow_many() -> int:
    """Raise the soft limit as far as the hard one and our needs go; what it is then.

    A shell gives 1,024, which a thousand idle clients use up. Each request under way takes
    up to six: its client, its node, and what splices between them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def for_clients(limit: int, requests: int, replicas: int) -> int:
    """How many connections clients may have of `limit` files that may be open at once.

    The rest is for `requests` under way, each of which may need one to each of its nodes, and
    one more that stands in for them. (Without pipes bodies go through user space.) Half are
    the clients' in any case.
    """
    return max(limit // 2, limit - requests * (replicas + 1) - _OTHERS)
