"""What a node brings along that joins with the objects it holds."""

from __future__ import annotations

from collections.abc import Callable

from aosd.cluster.member import WatchedMember
from aosd.cluster.roster import Roster
from aosd.consistency.presence import Presence
from aosd.model.errors import NodeUnavailable
from aosd.model.names import is_bucket_name


class Adopting:
    """Takes up the buckets of nodes that are to be members, and aren't yet.

    `stamp` gives the stamps of what is new.
    """

    def __init__(self, roster: Roster, presence: Presence, stamp: Callable[[], str]) -> None:
        self._roster = roster
        self._presence = presence
        self._stamp = stamp

    async def take_up(self, watched: WatchedMember) -> None:
        """Let there be the buckets that the node has.

        Raises NodeError, KeyConflict when one can't be there yet, and NoQuorum; it may be there
        all the same then, which does no harm.
        """
        node = watched.node
        if node is None:
            raise NodeUnavailable(watched.member.name, "it isn't seen any more")
        others = [
            each.node
            for each in self._roster.members()
            if each.node is not None and each.name != watched.member.name
        ]
        for name in sorted(await node.list_buckets()):
            if is_bucket_name(name):  # which aos-system is none for
                await self._presence.adopt(name, self._stamp, others)
