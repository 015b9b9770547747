"""How many files and connections the process may have open."""

from __future__ import annotations

import resource

_WANTED = 65_536


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
