"""Who may use the S3 door: access keys, their secrets, and what each may do where.

Roles: `readonly` reads and lists; `readwrite` writes too, and makes buckets; `admin` does
everything, which adds deleting buckets and configuring them. Each in buckets whose names
match one of the identity's patterns, and in no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from aosd.identity_tables import IdentityTable, Role, first_twice
from aosd.model.node import Credentials
from aosd.model.wildcards import matches

Needs = Literal["read", "write", "list", "admin"]
_ALLOWED: Mapping[Role, frozenset[Needs]] = {
    "readonly": frozenset({"read", "list"}),
    "readwrite": frozenset({"read", "list", "write"}),
    "admin": frozenset({"read", "list", "write", "admin"}),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """One that signs. `buckets` are patterns: `*` is any characters, `?` one of them."""

    access_key: str
    role: Role
    buckets: tuple[str, ...] = ("*",)

    def may(self, needs: Needs, bucket: str) -> bool:
        """Whether it may do what `needs` this in `bucket`.

        Making a bucket needs "write" in it, deleting and configuring one "admin". Anyone may
        ask which buckets there are, and is shown those where it may "list".
        """
        return needs in _ALLOWED[self.role] and any(
            matches(pattern, bucket) for pattern in self.buckets
        )


class _Known(NamedTuple):
    identity: Identity
    secret_key: str

    def __repr__(self) -> str:
        return repr(self.identity)


class Identities:
    """All who may sign now.

    `root` gives the pair that may do everything: the settings', or the cluster's own; None
    while that isn't known. `tables` are those of the settings, which stand as long as the
    process; others come and go by `replace`.
    """

    def __init__(
        self, root: Callable[[], Credentials | None], tables: Sequence[IdentityTable] = ()
    ) -> None:
        self._root = root
        self._admin: Identity | None = None
        self._settled = _known(tables)
        self._others: Mapping[str, _Known] = {}

    def secret_of(self, access_key: str) -> str | None:
        """The secret that goes with an access key; None when nobody has it."""
        root = self._root()
        if root is not None and root.access_key == access_key:
            return root.secret_key
        known = self._find(access_key)
        return None if known is None else known.secret_key

    def identity(self, access_key: str) -> Identity | None:
        """Who has this access key; None when nobody does."""
        root = self._root()
        if root is not None and root.access_key == access_key:
            if self._admin is None or self._admin.access_key != access_key:
                self._admin = Identity(access_key, "admin")
            return self._admin
        known = self._find(access_key)
        return None if known is None else known.identity

    def replace(self, tables: Sequence[IdentityTable]) -> None:
        """Let these be those who come and go.

        Raises ValueError, which names the access key, when one has it already; the former
        ones stay then.
        """
        root = self._root()
        fixed = [*self._settled, *([] if root is None else [root.access_key])]
        if twice := first_twice([*fixed, *(each.access_key for each in tables)]):
            raise ValueError(f"two identities have the access key {twice!r}")
        self._others = _known(tables)

    def _find(self, access_key: str) -> _Known | None:
        return self._settled.get(access_key) or self._others.get(access_key)


def _known(tables: Iterable[IdentityTable]) -> dict[str, _Known]:
    return {
        each.access_key: _Known(
            Identity(each.access_key, each.role, each.buckets), each.secret_key.get_secret_value()
        )
        for each in tables
    }
