"""How many nodes are enough, for what. Pure."""

from __future__ import annotations


def needed(replicas: int, members: int) -> int:
    """How many copies a write is acknowledged with: `replicas`, or all members if fewer."""
    return min(replicas, members)


def memory_acks(replicas: int, members: int) -> int:
    """How many nodes must have a record of the cluster's memory: two where there are two."""
    return min(members, max(replicas, 2))


def memory_missing(replicas: int, members: int) -> int:
    """How many members may be missing when that memory is read: one less than have a record.

    That is `replicas` - 1, but one with one copy; never so many that nobody is read.
    """
    return min(memory_acks(replicas, members) - 1, members - 1) if members else 0


def absence(copies: int, could_hold: int) -> int:
    """How many of the nodes that could hold a key must answer before it counts as absent.

    All but `copies` - 1, and one at least: among so many is one of any that have it, if each
    acknowledged write is on so many.
    """
    return max(could_hold - (copies - 1), 1)
