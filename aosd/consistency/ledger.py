"""What is remembered of keys, bounded in memory: deletes, restampings, the newest writes.

SQLite keeps it in a private temporary database: in memory up to its cache, past that in an
unnamed file that is gone when we are.
Source: https://www.sqlite.org/inmemorydb.html#temp_db
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from hashlib import blake2b

_CACHE_KIB = 64 * 1024
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE deletes (key BLOB PRIMARY KEY, stamp TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE writes (key BLOB PRIMARY KEY, stamp TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE restamps (
    key BLOB, was TEXT, counts_as TEXT NOT NULL, PRIMARY KEY (key, was)
) WITHOUT ROWID;
"""
_NEWER = (
    "INSERT INTO {table} VALUES (?, ?) ON CONFLICT (key) DO UPDATE "
    "SET stamp = max(stamp, excluded.stamp)"
)


class Ledger:
    """Nothing here outlives the process; not for threads.

    Keys are kept as 16-byte hashes, but those of deletes as they are, in S3's order: listings
    look for what was deleted beneath a prefix.
    """

    def __init__(self, cache_kib: int = _CACHE_KIB) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(f"PRAGMA cache_size = -{cache_kib};{_SCHEMA}")
        # One transaction that never ends. What would be committed is nowhere to be kept, and
        # each commit counts the dirty pages: past the cache it made a write 200 times as dear.
        self._db.execute("BEGIN")
        self._restamps = 0
        self._writes = 0

    @property
    def deletes(self) -> int:
        """How many keys have a delete on record."""
        (count,) = self._db.execute("SELECT count(*) FROM deletes").fetchone()
        return int(count)

    def deleted(self, entries: Iterable[tuple[str, str, str]]) -> None:
        """Deletes as (bucket, key, stamp); the newest of a key counts."""
        # In the order of the keys, a page is touched once for all that belong on it.
        self._db.executemany(
            _NEWER.format(table="deletes"),
            sorted((_name(bucket, key), stamp) for bucket, key, stamp in entries),
        )

    def delete_of(self, bucket: str, key: str) -> str | None:
        """The stamp of the key's newest delete."""
        return self._one("SELECT stamp FROM deletes WHERE key = ?", _name(bucket, key))

    def deleted_beneath(self, bucket: str, prefix: str, after: str, most: int) -> list[str]:
        """Keys with a delete on record, the first `most` in S3's order.

        Of those that begin with `prefix` and sort after `after` (exclusive).
        """
        beneath, last = _name(bucket, prefix), _name(bucket, after)
        rows = self._db.execute(
            "SELECT key FROM deletes WHERE key >= ? AND key > ? AND key < ? ORDER BY key LIMIT ?",
            (beneath, last, beneath + b"\xff", most),
        )
        return _keys(bucket, rows)

    def deleted_between(self, bucket: str, first: str, last: str, most: int) -> list[str]:
        """Keys with a delete on record, the first `most` of `first` to `last`, both inclusive."""
        rows = self._db.execute(
            "SELECT key FROM deletes WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?",
            (_name(bucket, first), _name(bucket, last), most),
        )
        return _keys(bucket, rows)

    def restamped(self, bucket: str, key: str, was: str, counts_as: str) -> None:
        """The copy stamped `was` counts as `counts_as`."""
        self._restamps += 1
        self._db.execute(
            "INSERT INTO restamps VALUES (?, ?, ?) ON CONFLICT (key, was) DO UPDATE "
            "SET counts_as = max(counts_as, excluded.counts_as)",
            (_digest(bucket, key), was, counts_as),
        )

    def counts_as(self, bucket: str, key: str, stamp: str) -> str:
        """What a copy's stamp counts as: itself, mostly."""
        if not self._restamps:
            return stamp
        found = self._one(
            "SELECT counts_as FROM restamps WHERE key = ? AND was = ?", _digest(bucket, key), stamp
        )
        return found or stamp

    def restamps_of(self, bucket: str, key: str) -> dict[str, str]:
        """All restampings of the key: what each stamp counts as."""
        rows = self._db.execute(
            "SELECT was, counts_as FROM restamps WHERE key = ? ORDER BY was",
            (_digest(bucket, key),),
        )
        return {str(was): str(counts_as) for was, counts_as in rows}

    def wrote(self, bucket: str, key: str, stamp: str) -> None:
        """A write of a key was acknowledged whose copies aren't all settled."""
        self._writes += self.write_of(bucket, key) is None
        self._db.execute(_NEWER.format(table="writes"), (_digest(bucket, key), stamp))

    def write_of(self, bucket: str, key: str) -> str | None:
        """The newest such write."""
        if not self._writes:
            return None
        return self._one("SELECT stamp FROM writes WHERE key = ?", _digest(bucket, key))

    def forget_writes(self, before: str) -> None:
        """Writes stamped before `before` lie where they belong: their copies tell of them."""
        if self._writes:
            self._db.execute("DELETE FROM writes WHERE stamp < ?", (before,))
            self._writes = int(self._db.execute("SELECT count(*) FROM writes").fetchone()[0])

    def forget_write(self, bucket: str, key: str, before: str) -> None:
        """So does this key's, if it is stamped before `before`."""
        if self._writes:
            found = self._db.execute(
                "DELETE FROM writes WHERE key = ? AND stamp < ?", (_digest(bucket, key), before)
            )
            self._writes -= found.rowcount

    def has_before(self, bucket: str, key: str, stamp: str) -> bool:
        """Whether a delete or restamping of the key is older than `stamp`."""
        found = self._one(
            "SELECT key FROM deletes WHERE key = ? AND stamp < ? UNION ALL "
            "SELECT key FROM restamps WHERE key = ? AND counts_as < ? LIMIT 1",
            _name(bucket, key),
            stamp,
            _digest(bucket, key),
            stamp,
        )
        return found is not None

    def forget_before(self, stamp: str) -> None:
        """Deletes and restampings older than `stamp` are on record no more."""
        self._db.execute("DELETE FROM deletes WHERE stamp < ?", (stamp,))
        self._db.execute("DELETE FROM restamps WHERE counts_as < ?", (stamp,))
        # Without the deletes that came after them they would say what is no longer so.
        self.forget_writes(stamp)

    def close(self) -> None:
        """It isn't asked any more."""
        self._db.close()

    def _one(self, query: str, *values: object) -> str | None:
        row = self._db.execute(query, values).fetchone()
        return None if row is None else str(row[0])


def _name(bucket: str, key: str) -> bytes:
    """Sorts as keys do in S3, bucket by bucket."""
    return f"{bucket}\0{key}".encode("utf-8", "surrogatepass")


def _keys(bucket: str, rows: Iterable[tuple[bytes]]) -> list[str]:
    start = len(bucket.encode()) + 1
    return [key[start:].decode("utf-8", "surrogatepass") for (key,) in rows]


def _digest(bucket: str, key: str) -> bytes:
    return blake2b(_name(bucket, key), digest_size=16).digest()
