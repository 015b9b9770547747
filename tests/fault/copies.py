"""A direct look at the nodes: what lies where, without asking the gateway for objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import md5

from minio.error import S3Error

from tests.fault.durable import Durable
from tests.fault.load import ABSENT, Load
from tests.integration.nodes import BUCKET, RealNode

STAMP = "x-amz-meta-aos-stamp"
SYSTEM_BUCKET = "aos-system"


@dataclass(frozen=True)
class Copy:
    """One copy as its node tells of it; `digest` is of the bytes that were read from it."""

    etag: str
    size: int
    stamp: str
    digest: str


def copies(nodes: Iterable[RealNode], key: str) -> dict[str, Copy]:
    """The copies of a key by node; read whole."""
    found = {}
    for node in nodes:
        client = node.client()
        try:
            told = client.get_object(bucket_name=BUCKET, object_name=key)
        except S3Error as error:
            assert error.code == "NoSuchKey", error
            continue
        try:
            data = told.read()
            headers = {name.lower(): value for name, value in told.headers.items()}
        finally:
            told.close()
            told.release_conn()
        digest = md5(data, usedforsecurity=False).hexdigest()
        etag = headers["etag"].strip('"')
        found[node.name] = Copy(etag, len(data), headers.get(STAMP, ""), digest)
    return found


def listed(nodes: Iterable[RealNode], prefix: str) -> dict[str, set[str]]:
    """The nodes that list each key with a prefix."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        for key in node.stored_keys():
            if key.startswith(prefix):
                found.setdefault(key, set()).add(node.name)
    return found


def remembered(node: RealNode, prefix: str) -> list[str]:
    """The records of the cluster's memory on a node."""
    told = node.client().list_objects(bucket_name=SYSTEM_BUCKET, prefix=prefix, recursive=True)
    # SeaweedFS shows folders, too, that have become empty.
    return [str(each.object_name) for each in told if not str(each.object_name).endswith("/")]


def expect_in_place(durable: Durable, may_be: Mapping[str, frozenset[str]], prefix: str) -> None:
    """After quiet: each key on its primaries alone, equal, and no mark or upload left.

    `may_be`: the digests that a key may have, ABSENT among them where nothing may be.
    """
    nodes = list(durable.nodes.values())
    where = listed(nodes, prefix)
    problems = [
        f"{key} is on {names}, nobody wrote it" for key, names in where.items() if key not in may_be
    ]
    for key, digests in may_be.items():
        problems += _problems(durable, key, digests, where.get(key, set()))
    for node in nodes:
        problems += [f"{node.name} has {each}" for each in remembered(node, "marks/")]
    assert not problems, f"{len(problems)} problems:\n" + "\n".join(problems[:20])


def expect_load_in_place(durable: Durable, load: Load) -> None:
    """The same for all keys of a load."""
    may_be = {key.name: key.may_be for key in load.keys.values()}
    expect_in_place(durable, may_be, load.prefix)


def _problems(
    durable: Durable, key: str, digests: frozenset[str], names: set[str]
) -> Iterable[str]:
    found = copies(durable.nodes.values(), key)
    if set(found) != names:
        yield f"{key} is read from {sorted(found)}, listed by {sorted(names)}"
    if not found:
        if ABSENT not in digests:
            yield f"{key} is nowhere, may be {sorted(digests)}"
        return
    primaries = set(durable.roles(key, "primary"))
    if set(found) != primaries:
        yield f"{key} is on {sorted(found)}, its primaries are {sorted(primaries)}"
    if len(set(found.values())) != 1:
        yield f"{key}: copies differ: {found}"
    if any(each.digest not in digests for each in found.values()):
        yield f"{key}: {found}, may be {sorted(digests)}"
    if any(not each.stamp for each in found.values()):
        yield f"{key}: no stamp: {found}"
