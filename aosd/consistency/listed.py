"""What one node lists, in S3's order, whatever order it lists in.

Servers agree neither on the order of a flat listing (SeaweedFS goes folder by folder) nor,
within one level of the tree, on where a folder stands among names that begin with its own:
`a-b` comes before `a/` in S3's order, and after it in a tree's. But they disagree on nothing
else, so a folder that is held back until something greater comes stands right for both.

A listing that is to begin in a folder is another matter. Asked for what is after `a/1`,
MinIO counts all `a-…` and `a.…` against the limit, and when they fill it, it says that there
is nothing more; it goes on with one name behind each folder that it broke off in, so what it
tells has gaps, too. So a page that ends there isn't believed, and looked at level by level;
within a level nothing begins after a folder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise

from twisted.internet.defer import Deferred

from aosd.model.errors import BadRequest, NodeNonsense, NodeRefused, NoSuchBucket
from aosd.model.listing import begins_no_key, utf8
from aosd.model.objects import Entry, Page
from aosd.ports import INode

PAGE_KEYS = 1000
_GREATEST = "\U0010ffff"
# To go on after a key MinIO looks through its whole folder; for a token it reads all that follows,
# once. Who has asked for some pages will ask for the rest.
_COLD_PAGES = 4

Name = tuple[bytes, str, Entry | None]
"""A key, as bytes and as text, with its entry; or a common prefix, without."""


class Level:
    """One level of the tree on one node: keys and folders under `prefix`, after `after`.

    `after` (exclusive) is "" or begins with `prefix`; when it is a folder of this level, all
    beneath that is passed. `ready` are the names that are certain to come next, once `ask`
    has got them; there are no others when it has `ended`. A page is of `page_keys` at first,
    and of more when it isn't enough.

    In a tree's order folders may stand before `after` that come behind it in S3's: they are
    among the names without having been seen. And what keeps a tree may keep a folder when all
    that was in it is gone (SeaweedFS does). So folders may be of nothing, unless `in_order`.
    """

    def __init__(
        self,
        node: INode,
        bucket: str,
        prefix: str,
        after: str = "",
        page_keys: int = PAGE_KEYS,
        *,
        in_order: bool = False,
        wants_stamps: Callable[[], bool] = lambda: False,
    ) -> None:
        self.node = node
        self.prefix = prefix
        self._bucket = bucket
        self._page_keys = page_keys
        self.in_order = in_order
        self._wants_stamps = wants_stamps
        self._makes_xml = True
        self.restart(after)

    def restart(self, after: str) -> None:
        """Begin anew, after a name (exclusive)."""
        self.ready: deque[Name] = deque()
        self.ended = False
        self._given = utf8(after)
        self._after = after
        if after.endswith("/") and after != self.prefix:
            # Of names that begin with a folder's, only those after `.` come after the folder;
            # no listing begins safely after the folder itself.
            self._after = f"{after[:-1]}.~"
        unseen = set() if self.in_order else _folders_before(self.prefix, after)
        self._held = sorted((utf8(each), each) for each in unseen)
        self._hold_namesake(after)

    def pass_over(self, group: str) -> None:
        """Leave out all that begins with `group`, which has no `/` beyond the level's prefix."""
        end = _end_of(group)
        self._given = max(self._given, end)
        self._held = [each for each in self._held if not each[1].startswith(group)]
        while self.ready and self.ready[0][0] < end:
            self.ready.popleft()
        if self._after.startswith(group):
            self._after = group + _GREATEST

    async def ask(self) -> None:
        """Get another page. Raises NodeError."""
        page = await self._page()
        self._page_keys = min(2 * self._page_keys, PAGE_KEYS)
        names: list[Name] = [(utf8(entry.key), entry.key, entry) for entry in page.entries]
        last = page.last
        if page.prefixes:
            names += [(utf8(each), each, None) for each in page.prefixes]
            names.sort(key=_in_a_tree)
            # From here a tree goes on; others repeat the folders that come after it.
            last = names[-1][1]
        elif not self._held:
            # The usual case, and there are many keys.
            given = self._given
            names = sorted(each for each in names if each[0] > given) if names else names
            self.ready.extend(names)
            names = []
        else:
            names.sort()
        for name in names:
            self._sort_in(name)
        if self.ready:
            self._given = max(self._given, self.ready[-1][0])
        if not page.truncated:
            self.ended = True
            self.ready.extend((each, name, None) for each, name in self._held)
            self._held = []
            return
        if last is None or last == self._after:
            raise stands_still(self.node)
        self._after = last
        self._hold_namesake(last)

    def _hold_namesake(self, after: str) -> None:
        """To a tree `a` and `a/` are one: what is after `a` isn't in it."""
        folder = f"{after}/"
        is_key = after and not after.endswith("/")
        if self.node.sorts or self.in_order or not is_key or begins_no_key(folder):
            return
        name = utf8(folder), folder
        if name[0] > self._given and name not in self._held:
            self._held.append(name)
            self._held.sort()

    async def _page(self) -> Page:
        asked = self._bucket, self.prefix, self._after, self._page_keys, "/"
        if self._makes_xml and self._wants_stamps():
            try:
                return await _page(self.node.list(*asked, stamps=True))
            except NodeNonsense:
                # Names of metadata stand in it as they are, and not all of them make XML.
                self._makes_xml = False
        return await _page(self.node.list(*asked))

    def _sort_in(self, name: Name) -> None:
        key, text, entry = name
        # What is held may be told again, and before what comes between.
        if (key, text) in self._held:
            return
        while self._held and self._held[0][0] < key:
            folder = self._held.pop(0)
            self._given = folder[0]
            self.ready.append((*folder, None))
        # A tree's next page may begin with what was seen, when it begins after a folder.
        if key <= self._given:
            return
        if entry is None:
            self._held.append((key, text))
            self._held.sort()
        else:
            self._given = key
            self.ready.append(name)


class Keys:
    """All keys on one node that begin with `prefix`, after `after`; otherwise as Level.

    A node that sorts is asked for them flat; another one level by level. One that turns out
    not to sort is remembered not to. `by_tokens` lets one that was asked for some pages go on
    by its tokens, for who can do with what was there at any time since the first page, and will
    most likely read to the end.
    """

    def __init__(
        self, node: INode, bucket: str, prefix: str, after: str = "", page_keys: int = PAGE_KEYS
    ) -> None:
        self.node = node
        self.ready: deque[Name] = deque()
        self.by_tokens = False
        self._bucket = bucket
        self._page_keys = page_keys
        self._stack: list[_Flat | Level] = (
            [self._flat(prefix, after)] if node.sorts else self._levels(prefix, after)
        )

    @property
    def ended(self) -> bool:
        """Whether there are no names but those that are ready."""
        return not self._stack

    @property
    def says_more(self) -> bool:
        """Whether the node said, the last time that it was asked, that there are more keys."""
        top = self._stack[-1] if self._stack else None
        return isinstance(top, _Flat) and top.truncated

    @property
    def scans(self) -> bool:
        """Whether the node may be going through all that follows, and hasn't told the end."""
        top = self._stack[-1] if self._stack else None
        return isinstance(top, _Flat) and top.scans

    async def ask(self) -> None:
        """Get more. Raises NodeError."""
        top = self._stack[-1]
        if isinstance(top, _Flat):
            top.by_tokens = self.by_tokens
        if not top.ready and not top.ended:
            await top.ask()
        if isinstance(top, Level):
            self._go_on(top)
            return
        names, top.ready = top.ready, deque()
        if not top.in_order:
            self.node.sorts = False
            self._stack[-1:] = self._levels(top.prefix, top.after)
        elif top.ended and "/" in top.after[len(top.prefix) :]:
            self._stack[-1:] = self._levels(top.prefix, top.after)
        else:
            # Who asks ahead has some at hand still.
            self.ready.extend(names)
            if top.ended:
                self._stack.pop()

    def pass_over(self, group: str) -> None:
        """Leave out all that begins with `group`, if all before was taken."""
        while self.ready and self.ready[0][1].startswith(group):
            self.ready.popleft()
        if self.ready:
            return
        while self._stack and self._stack[-1].prefix.startswith(group):
            self._stack.pop()
        top = self._stack[-1] if self._stack else None
        if isinstance(top, _Flat) or (top and "/" not in group[len(top.prefix) :]):
            top.pass_over(group)

    def _go_on(self, level: Level) -> None:
        while level.ready:
            name = level.ready.popleft()
            if name[2] is None:
                folder = name[1]
                below = self._flat(folder, "") if self.node.sorts else self._level(folder, "")
                self._stack.append(below)
                return
            self.ready.append(name)
        if level.ended:
            self._stack.pop()

    def _flat(self, prefix: str, after: str) -> _Flat:
        return _Flat(self.node, self._bucket, prefix, after, self._page_keys)

    def _level(self, prefix: str, after: str) -> Level:
        return Level(self.node, self._bucket, prefix, after, self._page_keys)

    def _levels(self, prefix: str, after: str) -> list[_Flat | Level]:
        """The levels on the way to `after`, the deepest one last."""
        levels: list[_Flat | Level] = []
        for segment in after[len(prefix) :].split("/")[:-1]:
            folder = f"{prefix}{segment}/"
            levels.append(self._level(prefix, folder))
            prefix = folder
        levels.append(self._level(prefix, after))
        return levels


class _Flat:
    """Keys as a node that sorts gives them; `in_order` is False when it turns out not to."""

    def __init__(self, node: INode, bucket: str, prefix: str, after: str, page_keys: int) -> None:
        self.prefix = prefix
        self.after = after
        self.ready: deque[Name] = deque()
        self.ended = False
        self.truncated = False
        self.in_order = True
        self.by_tokens = self.scans = False
        self._token = ""
        self._asked = 0
        self._node = node
        self._bucket = bucket
        self._page_keys = page_keys
        self._given = utf8(after)

    def pass_over(self, group: str) -> None:
        """Leave out all that begins with `group`."""
        self.truncated = False
        self._token = ""
        self.after = group + _GREATEST
        self._given = _end_of(group)
        # Of a group that was seen whole there was more than needed.
        self._page_keys = max(self._page_keys // 4, 4)

    async def ask(self) -> None:
        """Get another page. Raises NodeError."""
        page = await self._page()
        self._asked += 1
        self._token = page.token
        names: list[Name] = [(utf8(entry.key), entry.key, entry) for entry in page.entries]
        self.in_order = all(
            one < other for one, other in pairwise([utf8(self.after), *(each[0] for each in names)])
        )
        if not self.in_order:
            return
        self._page_keys = min(2 * self._page_keys, PAGE_KEYS)
        given = self._given
        self.ready.extend(
            names
            if not names or names[0][0] > given
            else [each for each in names if each[0] > given]
        )
        self.truncated = page.truncated
        if not page.truncated:
            self.ended = True
        elif not names:
            raise stands_still(self._node)
        else:
            self.after = names[-1][1]

    async def _page(self) -> Page:
        asked = self._bucket, self.prefix, self.after, self._page_keys, ""
        if self._token and self.by_tokens and self._asked >= _COLD_PAGES:
            self.scans = True
            try:
                return await self._node.list(*asked, token=self._token)
            except (NodeRefused, BadRequest):
                # It may have forgotten it: an InvalidArgument then, to S3.
                self._token = ""
        return await _page(self._node.list(*asked))


def stands_still(node: INode) -> NodeNonsense:
    """What is wrong with a node whose next page would be the same again."""
    return NodeNonsense(node.name, "its listing says that there is more, but not where")


def _in_a_tree(name: Name) -> tuple[bytes, bool]:
    """A folder stands where its name without the slash does."""
    return (name[0], False) if name[2] is not None else (name[0][:-1], True)


def _folders_before(prefix: str, after: str) -> set[str]:
    """Folders that come after `after` in S3's order, and before it in a tree's.

    Those whose name the one of `after` begins with: `a/` comes after `a-b`.
    """
    name = after[len(prefix) :].removesuffix("/")
    # A prefix that ends amid a name may be a folder's name whole.
    first = 1 if not prefix or prefix.endswith("/") else 0
    folders = {
        f"{prefix}{name[:length]}/" for length in range(first, len(name)) if name[length] < "/"
    }
    return {each for each in folders if not begins_no_key(each)}


def _end_of(group: str) -> bytes:
    """After all keys that begin with `group`, and before all others that come after it."""
    return utf8(group) + b"\xff"


async def _page(listing: Deferred[Page]) -> Page:
    """What a node lists: nothing of a bucket that it hasn't been given yet."""
    try:
        return await listing
    except NodeRefused as error:
        if error.code != NoSuchBucket.code:
            raise
        return Page(())
