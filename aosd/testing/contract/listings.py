# ruff: noqa: D103 — the name of a case says what it shows
"""Listings: which keys, in which order, page by page."""

from __future__ import annotations

from aosd.model.errors import NoSuchKey
from aosd.model.objects import STAMP_HEADER, Page
from aosd.testing.contract.subject import STAMP, Cases, Subject, etag_of, names_of, raises

LISTINGS = Cases()


@LISTINGS.add
async def listings_tell_what_is_there(subject: Subject) -> None:
    await subject.clear()
    await subject.put(subject.key("a"), b"1")
    await subject.put(subject.key("b"), b"22")
    page = await subject.node.list(subject.bucket, subject.key(""))
    assert not page.truncated and page.last == subject.key("b") and page.prefixes == ()
    told = [(entry.key, entry.etag, entry.size_bytes) for entry in page.entries]
    assert told == [(subject.key("a"), etag_of(b"1"), 1), (subject.key("b"), etag_of(b"22"), 2)]
    head = await subject.node.head(subject.bucket, subject.key("a"))
    assert abs(page.entries[0].modified_s - head.modified_s) < 2
    nothing = await subject.node.list(subject.bucket, subject.key("nothing"))
    assert nothing == Page(())


@LISTINGS.add
async def listings_come_in_pages(subject: Subject) -> None:
    await subject.clear()
    keys = [subject.key(f"{number:02}") for number in range(10)]
    for key in reversed(keys):
        await subject.put(key, b"")
    await subject.put(subject.key("00")[:-3] + "~other", b"")  # sorts after, has no such prefix
    page = await subject.node.list(subject.bucket, subject.key(""), limit=4)
    assert (names_of(page), page.truncated, page.last) == (keys[:4], True, keys[3])
    page = await subject.node.list(subject.bucket, subject.key(""), keys[3], 4)
    assert (names_of(page), page.truncated) == (keys[4:8], True)
    page = await subject.node.list(subject.bucket, subject.key(""), keys[7], 4)
    assert (names_of(page), page.truncated) == (keys[8:], False)
    page = await subject.node.list(subject.bucket, subject.key(""), subject.key("035"), 1)
    assert names_of(page) == [keys[4]]
    page = await subject.node.list(subject.bucket, subject.key("0"), keys[9])
    assert names_of(page) == []
    page = await subject.node.list(subject.bucket, subject.key(""), limit=10)
    assert (len(page.entries), page.truncated) == (10, False)
    for limit in (1, 3, 10, 11):
        assert await subject.walk(subject.key(""), limit) == keys, limit


@LISTINGS.add
async def listings_go_on_by_tokens(subject: Subject) -> None:
    await subject.clear()
    keys = [subject.key(f"{number:02}") for number in range(20)]
    for key in keys:
        await subject.put(key, b"")
    page = await subject.node.list(subject.bucket, subject.key(""), limit=3)
    found = names_of(page)
    while page.truncated:
        assert page.token and page.last is not None
        page = await subject.node.list(
            subject.bucket, subject.key(""), page.last, 4, token=page.token
        )
        found += names_of(page)
        if len(found) == 7:
            # Whoever goes on so may be told of it still, but of all that is there.
            await subject.node.delete(subject.bucket, keys[15])
    assert page.token == ""
    assert set(keys) - {keys[15]} <= set(found) <= set(keys)
    assert found == sorted(found)
    # Who doesn't is told what is there.
    assert await subject.walk(subject.key(""), 4) == [*keys[:15], *keys[16:]]


@LISTINGS.add
async def listings_fold_what_lies_beneath(subject: Subject) -> None:
    await subject.clear()
    for rest in ("a", "b/1", "b/2", "c", "d/e/f", "g"):
        await subject.put(subject.key(rest), b"")
    page = await subject.node.list(subject.bucket, subject.key(""), delimiter="/")
    assert [entry.key for entry in page.entries] == [subject.key(each) for each in "acg"]
    assert page.prefixes == (subject.key("b/"), subject.key("d/"))
    folded = [subject.key(each) for each in ("a", "b/", "c", "d/", "g")]
    for limit in (1, 2, 3, 1000):
        # Each name once, although a page may end with a prefix.
        assert sorted(await subject.walk(subject.key(""), limit, "/")) == folded, limit
    page = await subject.node.list(subject.bucket, subject.key("d/"), delimiter="/")
    assert page.prefixes == (subject.key("d/e/"),)


@LISTINGS.add
async def folders_are_no_objects(subject: Subject) -> None:
    await subject.clear()
    folder, beneath = subject.key("f/"), subject.key("f/x")
    await subject.put(beneath, b"x")
    for expected in ([beneath], []):
        await raises(NoSuchKey, subject.node.head(subject.bucket, folder))
        await raises(NoSuchKey, subject.node.get(subject.bucket, folder))
        page = await subject.node.list(subject.bucket, folder, delimiter="/")
        assert names_of(page) == expected
        # SeaweedFS keeps the empty one for a while.
        await subject.node.delete(subject.bucket, beneath)
    await subject.put(folder, b"")
    assert (await subject.node.head(subject.bucket, folder)).etag == etag_of(b"")
    assert names_of(await subject.node.list(subject.bucket, folder)) == [folder]


@LISTINGS.add
async def listings_are_in_the_order_of_bytes(subject: Subject) -> None:
    await subject.clear()
    keys = [subject.key(rest) for rest in ("a-b", "a.b", "a/b", "a0", "aB", "ab", "aé", "a￼", "a𝄞")]
    for key in reversed(keys):
        await subject.put(key, b"")
    found = await subject.walk(subject.key(""))
    assert sorted(found) == sorted(keys)
    # Within one folder every server's order is this one.
    flat = [key for key in keys if "/" not in key]
    assert [key for key in found if "/" not in key] == flat
    if subject.traits.sorts:
        assert found == keys
        assert await subject.walk(subject.key(""), 2) == keys


@LISTINGS.add
async def listings_of_what_begins_with_dots(subject: Subject) -> None:
    await subject.clear()
    keys = [subject.key(rest) for rest in ("-", ".-", "..a", "..b/c", ".a", "0")]
    for key in keys:
        await subject.put(key, b"")
    for dots, count in ((".", 4), ("..", 2)):
        wanted = [key for key in keys if key.startswith(subject.key(dots))]
        assert len(wanted) == count
        for limit in (1, 2, 1000):
            assert sorted(await subject.walk(subject.key(dots), limit)) == wanted, limit


@LISTINGS.add
async def listings_tell_stamps_where_the_server_can(subject: Subject) -> None:
    await subject.clear()
    stamped, bare, folder = subject.key("a"), subject.key("b"), subject.key("c/d")
    headers = ((STAMP_HEADER, STAMP.encode()), (b"x-amz-meta-who", b"me & <you>"))
    for key in (stamped, folder):
        await subject.put(key, b"1", headers)
    await subject.put(bare, b"1")
    asked = subject.bucket, subject.key(""), "", 1000, "/"
    for page in (await subject.node.list(*asked), await subject.node.list(*asked, stamps=True)):
        assert [entry.key for entry in page.entries] == [stamped, bare]
        assert page.prefixes == (subject.key("c/"),)
    told = [entry.stamp for entry in page.entries]
    assert told == ([STAMP, ""] if subject.traits.tells_stamps else [None, None])
