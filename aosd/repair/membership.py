"""What repair has to know of members and their ring, and to tell of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from twisted.internet.defer import Deferred

from aosd.repair.progress import Change


class IMembership(Protocol):
    """What the keeper has to know of members, and to tell them."""

    @property
    def ring_name(self) -> str:
        """The name of the ring that is, or that is coming."""

    @property
    def changing(self) -> bool:
        """Whether a change of the ring is under way."""

    @property
    def contested(self) -> bool:
        """Whether another gateway uses the nodes: what it does isn't known here."""

    @property
    def refusing(self) -> bool:
        """Whether no writes are taken now, such as while our clock may be wrong."""

    @property
    def change(self) -> Change:
        """The change of the ring that is under way, for people."""

    @property
    def shape(self) -> Hashable:
        """Another one whenever other rings or members count."""

    @property
    def moving(self) -> Hashable:
        """What a change of the ring wants to be swept for; None when there is nothing to move."""

    def change_over(self, unmended: int, removed: int) -> Deferred[None]:
        """All was compared since the rings are what they are; so many keys aren't right yet."""

    def up_since_s(self, name: str) -> float | None:
        """When the node answered again after its last silence; None while it doesn't."""

    def down_since_s(self, name: str) -> float | None:
        """Since when the node is away; None while it isn't."""

    def is_gone(self, name: str) -> bool:
        """Whether the node was drained or removed: it is met afresh if it comes back."""
