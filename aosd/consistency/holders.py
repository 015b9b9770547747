"""Who may hold a key's copies, from its orders in the rings that count. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aosd.ports import Candidate

Orders = Sequence[Sequence[Candidate]]
"""See IPlacement.orders."""


def primaries(orders: Orders, replicas: int) -> tuple[Candidate, ...]:
    """The first `replicas` nodes of every order, each once."""
    return _once(order[:replicas] for order in orders)


def could_hold(
    orders: Orders, replicas: int, strays: Sequence[Candidate] = ()
) -> tuple[Candidate, ...]:
    """Primaries and handoffs of every order, each once: the present ring's first.

    And `strays`: those that may hold any key (see IPlacement).
    """
    return _once((*(order[: 2 * replicas] for order in orders), strays))


def hiding(key: str, members: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Those that may have the key though no listing shows it.

    They came with objects, where it may lie beneath another one. Whoever is written to by aosd
    alone has no such key: see docs/decisions/0006.
    """
    if "/" not in key[:-1]:
        return ()
    return tuple(each for each in members if each.foreign and each.hides is not False)


def _once(orders: Iterable[Sequence[Candidate]]) -> tuple[Candidate, ...]:
    found: dict[str, Candidate] = {}
    for order in orders:
        for candidate in order:
            found.setdefault(candidate.name, candidate)
    return tuple(found.values())
