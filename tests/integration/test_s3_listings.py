"""Listings through the S3 door against a model, over nodes of both kinds where both are there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from tests.conftest import NAMES
from tests.integration import s3
from tests.integration.daemon import Daemon, running_daemon
from tests.integration.nodes import KINDS, RealNode, write_nodes_file
from tests.integration.s3 import refused
from tests.integration.wire import Wire

BUCKET = "listed-in-many-ways"
COUNT = 1_150  # more than a page
WORDS = ["a", "b", "a-b", "a.b", "a b", "a+b", "a%b", "%2F", "a&<b>", "é", "\U0001d11e", "~", "0"]


def awkward_keys() -> list[str]:
    """Of which none is a folder of another one, for some nodes can't have both."""
    chance = random.Random(11)
    found = {"folder/", "folder/x", "z/z/z/z", "control\x01\x1f", "line\nbreak", "quote\"'"}
    while len(found) < COUNT:
        folders = [chance.choice(WORDS) for _ in range(chance.randint(0, 3))]
        found.add("/".join([*folders, f"{chance.choice(WORDS)} {chance.randint(0, 999)}"]))
    return sorted(found, key=str.encode)


KEYS = awkward_keys()


@pytest.fixture(scope="module")
def mixed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """A daemon over nodes of both kinds; the shared one where there is but one kind."""
    if len(KINDS) < 2:
        yield request.getfixturevalue("s3_daemon")
        return
    folder = tmp_path_factory.mktemp("mixed")
    kinds = zip(NAMES, (*KINDS, KINDS[1]), strict=True)
    with ExitStack() as stack:
        nodes = [RealNode(name, folder / name, kind=kind) for name, kind in kinds]
        for node in nodes:
            stack.callback(node.end)
            node.start()
        for node in nodes:
            node.wait_until_it_answers()
        file = write_nodes_file(folder / "nodes.toml", nodes)
        running = running_daemon(folder / "daemon", file, up=NAMES, environment=s3.ENVIRONMENT)
        yield stack.enter_context(running)


@pytest.fixture(scope="module")
def s3c(mixed: Daemon) -> Any:
    made = s3.client(mixed)
    made.create_bucket(Bucket=BUCKET)
    chance = random.Random(12)
    shuffled = chance.sample(KEYS, len(KEYS))

    def put(keys: list[str]) -> None:
        with Wire(mixed.port, 60) as wire:
            for key in keys:
                data = b"" if key.endswith("/") else b"x"
                request = s3.signed("PUT", s3.path_of(BUCKET, key), body=data)
                answer = s3.send_on(wire, request, data)
                assert answer.status == 200, (key, answer)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(put, shuffled[first::4]) for first in range(4)]:
            done.result()
    return made


class Case(NamedTuple):
    prefix: str = ""
    delimiter: str = ""
    limit: int = 1000
    after: str = ""


CASES = [
    Case(),
    Case(limit=197),
    Case(delimiter="/"),
    Case(delimiter="/", limit=5),
    Case("a", "/", 3),
    Case("a/", "/", 7),
    Case("a b/", "", 10),
    Case("", "-", 50),
    Case("", " ", 25),
    Case("", "a/", 40),
    Case("é/", "/", 2),
    Case("", "", 400, "a/"),
    Case("", "/", 4, "a/"),
    Case("", "/", 4, "a/zzz"),
    Case("folder/", "/", 1),
    Case("nothing at all", "/"),
    Case("%2F/", "", 6),
]


def expected(case: Case) -> list[str]:
    """Keys and common prefixes, in order."""
    names: dict[str, None] = {}
    for key in KEYS:
        if not key.startswith(case.prefix):
            continue
        head, found, _ = key[len(case.prefix) :].partition(case.delimiter or "\0")
        name = case.prefix + head + case.delimiter if found else key
        if key.encode() > case.after.encode() and name != case.after:
            names[name] = None
    return list(names)


def told(page: Any, items: str = "Contents") -> list[str]:
    names = [each["Key"] for each in page.get(items, [])]
    names += [each["Prefix"] for each in page.get("CommonPrefixes", [])]
    return sorted(names, key=str.encode)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_version_2(s3c: Any, case: Case) -> None:
    found: list[str] = []
    asked: dict[str, Any] = {"StartAfter": case.after} if case.after else {}
    while True:
        page = s3c.list_objects_v2(
            Bucket=BUCKET,
            Prefix=case.prefix,
            Delimiter=case.delimiter,
            MaxKeys=case.limit,
            **asked,
        )
        names = told(page)
        assert page["KeyCount"] == len(names) <= case.limit
        found += names
        if not page["IsTruncated"]:
            break
        assert len(names) == case.limit
        asked = {"ContinuationToken": page["NextContinuationToken"]}
    assert found == expected(case)


@pytest.mark.parametrize("case", CASES[2:-1:2], ids=repr)
@pytest.mark.parametrize("versions", [False, True], ids=["objects", "versions"])
def test_version_1_and_versions(s3c: Any, case: Case, versions: bool) -> None:
    ask = s3c.list_object_versions if versions else s3c.list_objects
    marker, following = ("KeyMarker", "NextKeyMarker") if versions else ("Marker", "NextMarker")
    found: list[str] = []
    after = case.after
    while True:
        page = ask(
            Bucket=BUCKET,
            Prefix=case.prefix,
            Delimiter=case.delimiter,
            MaxKeys=case.limit,
            **{marker: after},
        )
        found += told(page, "Versions" if versions else "Contents")
        if not page["IsTruncated"]:
            break
        after = page[following]
    assert found == expected(case)
    for each in page.get("Versions", []):
        assert (each["VersionId"], each["IsLatest"]) == ("null", True)


def test_what_is_echoed(mixed: Daemon, s3c: Any) -> None:
    query = {
        "list-type": "2",
        "prefix": "a b/",
        "delimiter": "%",
        "start-after": "a b/&",
        "max-keys": "2000",
        "encoding-type": "url",
        "fetch-owner": "true",
    }
    answer = s3.send(mixed.port, s3.signed("GET", f"/{BUCKET}", query))
    root = s3.result_of(answer, "ListBucketResult")
    names = ("Name", "Prefix", "Delimiter", "StartAfter", "MaxKeys", "EncodingType")
    assert [root.findtext(name) for name in names] == [
        BUCKET,
        "a%20b/",
        "%25",
        "a%20b/%26",
        "1000",
        "url",
    ]
    assert root.findtext("Contents/Owner/ID")
    # Without the encoding, names that XML can say stand as they are.
    query = {"list-type": "2", "prefix": "a&<b>"}
    root = s3.result_of(
        s3.send(mixed.port, s3.signed("GET", f"/{BUCKET}", query)), "ListBucketResult"
    )
    listed = [str(each.text) for each in root.iterfind("Contents/Key")]
    assert listed == expected(Case("a&<b>"))
    assert s3c.list_objects_v2(Bucket=BUCKET, MaxKeys=0)["KeyCount"] == 0


def test_a_page_of_a_bucket_that_is_not_there(s3c: Any) -> None:
    for ask in (s3c.list_objects, s3c.list_objects_v2, s3c.list_object_versions):
        with refused("NoSuchBucket", 404):
            ask(Bucket="no-such-bucket")
