"""What the run found: a client a row, a thing that clients do a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.integration.clients.place import DOMAIN, SCHEMES


class Column(StrEnum):
    """What each client does, if it can."""

    BUCKETS = "buckets"
    PUT = "put"
    GET = "get"
    LIST = "list"
    DELETE = "delete"
    BIG = "100 MiB"
    COPY = "copy"
    PRESIGNED = "presigned"
    METADATA = "metadata"


@dataclass
class Row:
    """One client: `lacks` says why it has no such thing, `notes` what to know of a cell."""

    name: str
    version: str
    lacks: Mapping[Column, str]
    notes: Mapping[Column, str]
    worked: set[tuple[Column, str]] = field(default_factory=set)


class Matrix:
    """Filled while the tests go; a cell that no test has filled didn't work."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def row(
        self,
        name: str,
        version: str,
        lacks: Mapping[Column, str],
        notes: Mapping[Column, str],
    ) -> None:
        """A client is here; again is fine."""
        self._rows.setdefault(name, Row(name, version, lacks, notes))

    def works(self, name: str, column: Column, scheme: str) -> None:
        """This did what it should."""
        self._rows[name].worked.add((column, scheme))

    def page(self, server: str) -> str:
        """docs/clients.md."""
        notes: list[str] = []
        table = [
            f"| client | version | {' | '.join(Column)} |",
            "|---" * (len(Column) + 2) + "|",
        ]
        for row in sorted(self._rows.values(), key=lambda each: each.name.lower()):
            cells = [self._cell(row, column, notes) for column in Column]
            table.append(f"| {row.name} | {row.version} | {' | '.join(cells)} |")
        return "\n".join([*_before(server), *table, "", *_numbered(notes), "", *_AFTER, ""])

    def _cell(self, row: Row, column: Column, notes: list[str]) -> str:
        if column in row.lacks:
            return "—" + _mark(row.lacks[column], notes)
        failed = [scheme for scheme in SCHEMES if (column, scheme) not in row.worked]
        if failed:
            return "✗ " + ", ".join(failed)
        note = row.notes.get(column)
        return "✓" + (_mark(note, notes) if note else "")


def _mark(note: str, notes: list[str]) -> str:
    if note not in notes:
        notes.append(note)
    return f"<sup>{notes.index(note) + 1}</sup>"


def _numbered(notes: Sequence[str]) -> list[str]:
    return [f"{number}. {note}" for number, note in enumerate(notes, 1)]


def _before(server: str) -> list[str]:
    return [
        "# S3 clients",
        "",
        "<!-- Written by `make clients`; change tests/integration/clients instead. -->",
        "",
        "Each of these was installed from its package and told where aosd is, by its own "
        "setting for that; it runs as it is configured by default, with no option that is there "
        f"to please aosd. Behind aosd were three nodes of {server}, with two copies of each "
        "object. ✓: it works over http and over TLS; —: the client has no such thing. What "
        "clients sent and got was compared by SHA-256.",
        "",
    ]


_AFTER = [
    "- **buckets**: makes one, finds it, removes it.",
    "- **put**, **get**: an object whose key has spaces, a `+` and letters beyond ASCII; an "
    "empty one.",
    "- **list**: what lies under a prefix, and no more.",
    "- **delete**: one object, and several.",
    "- **100 MiB**: sent as the client sends a file of this size, in parts unless a note says "
    "otherwise, and fetched again.",
    "- **copy**: within the store, without the bytes going through the client.",
    "- **presigned**: a URL that gives an object to whoever has it; where the client is a "
    "library, also one that takes an object.",
    "- **metadata**: the client's own and the content type, given with an object and read again.",
    "",
    "Clients find a bucket by the path (`/bucket/key`), as is usual with an endpoint of one's "
    f"own; those marked “virtual host” by the host's name (`bucket.{DOMAIN}`), which takes "
    f"`AOSD_S3_DOMAIN={DOMAIN}`. To trust the certificate, they were given its authority by "
    "`AWS_CA_BUNDLE`, `NODE_EXTRA_CA_CERTS`, `SSL_CERT_FILE`, `CURL_CA_BUNDLE`, `--ca-certs` or "
    "`--cacert`, whichever is theirs.",
    "",
    "`make itest` runs all of it; `make clients` also writes this page.",
]
