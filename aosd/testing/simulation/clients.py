"""What clients do in a story that is drawn from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aosd.testing.simulation.paths import bucket_of, joined

if TYPE_CHECKING:
    from aosd.testing.simulation.play import Player
    from aosd.testing.simulation.reference import Write
    from aosd.testing.simulation.upload_operations import ClientUpload

_ON_OBJECTS = {
    "put": 8.0,
    "delete": 3.0,
    "get": 5.0,
    "newest": 2.0,
    "range": 2.0,
    "head": 1.0,
    "list": 1.0,
    "leave": 0.5,
}
_ON_BUCKETS = {"make": 2.5, "remove": 1.0, "clear": 1.5, "buckets": 0.5}
_ON_UPLOADS = {
    "begin": 2.0,
    "part": 5.0,
    "complete": 4.0,
    "repeat": 1.5,
    "abort": 0.5,
    "parts": 0.3,
    "uploads": 0.3,
}
_OF_COPIES = {"copy": 5.0, "touch": 1.5, "tag": 2.0}
_MOST_PARTS = 3


class Clients:
    """All clients of a player's story; they draw from its chance."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self.chance = player.chance
        self.world = player.world
        self.values: list[bytes] = []
        self.kinds = dict(_ON_OBJECTS)
        if player.copies:
            self.kinds |= _OF_COPIES
        if player.uploads:
            self.kinds |= _ON_UPLOADS
        if player.buckets:
            self.kinds |= _ON_BUCKETS

    def begin(self) -> None:
        """Make what most of the story is about."""
        for bucket in self.player.buckets:
            if self.chance.random() < 0.8:
                self.world.wait(self.world.make_bucket(bucket))

    def step(self) -> None:
        """Some requests, at once."""
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            if not self._can_connect():
                return
            self._request()

    def _can_connect(self) -> bool:
        gateway = self.world.gateway
        return gateway is not None and gateway.takes_requests

    def _request(self) -> None:
        chance, world = self.chance, self.world
        path = self._a_path()
        kind = chance.choices(list(self.kinds), list(self.kinds.values()))[0]
        if kind == "put":
            self._put(path)
        elif kind == "delete":
            world.delete(path)
        elif kind == "get":
            world.get(path, pause_bytes=chance.choice((None, None, None, 20)))
        elif kind == "newest":
            world.get(path, newest=True)
        elif kind == "range":
            first = chance.choice((0, 4, 8, 29))
            last = first + chance.choice((0, 3, 100))
            world.get_range(path, first, last, newest=chance.random() < 0.2)
        elif kind == "head":
            world.head(path, newest=chance.random() < 0.3)
        elif kind == "list":
            prefix = chance.choice(("", "", "a/"))
            world.list(chance.choice((1, 2, 1000)), prefix, bucket=bucket_of(path))
        elif kind in _OF_COPIES:
            self._copy(kind, path)
        elif kind in _ON_UPLOADS:
            self._on_an_upload(kind, path)
        elif kind in _ON_BUCKETS:
            self._on_a_bucket(kind)
        elif world.gateway is not None and world.gateway.operations:
            operation = chance.choice(list(world.gateway.operations))
            self.player.befell("a client leaves", operation.what)
            operation.client_leaves()

    def _a_path(self) -> str:
        chance, player = self.chance, self.player
        key = chance.choice(player.keys)
        if player.buckets and chance.random() < 0.7:
            return joined(chance.choice(player.buckets), key)
        return key

    # -- objects ----------------------------------------------------------------------------------

    def _put(self, path: str) -> None:
        chance = self.chance
        data = self._some_bytes()
        gone_at = chance.choice((None,) * 9 + (0, 12))
        if gone_at is not None and gone_at >= len(data):
            gone_at = None
        digest = chance.choice(("",) * 6 + ("md5", "sha256"))
        self.world.put(
            path,
            data,
            digest=digest,
            wrong=bool(digest) and gone_at is None and chance.random() < 0.2,
            told=chance.random() < 0.7,
            gap_s=chance.choice((0.0, 0.0, 0.0, 0.1, 2.0)),
            gone_at=gone_at,
            condition=self._condition(path),
        )

    def _some_bytes(self) -> bytes:
        """Others than before, most of the time."""
        chance = self.chance
        size = chance.choice((0, 5, 8, 9, 30, 30, 60))
        data = b"%04d" % len(self.values)
        data = (data + b"." * size)[:size] if size < 4 else data + b"." * (size - 4)
        if self.values and chance.random() < 0.1:
            data = chance.choice(self.values)
        self.values.append(data)
        return data

    def _condition(self, path: str) -> str:
        """See Putting; an ETag is what the object may have now."""
        condition = self.chance.choice(("",) * 8 + ("new", "there", "etag"))
        if condition != "etag":
            return condition
        possible = self.world.reference.may_be(path, self.world.clock.seconds())
        etags = [each.etag for each in possible if each.etag]
        return self.chance.choice(etags) if etags else ""

    def _copy(self, kind: str, path: str) -> None:
        chance, world = self.chance, self.world
        tags = b"t%d" % chance.randrange(1000)
        if kind == "tag":
            world.tag(path, tags)
            return
        possible = world.reference.may_be(path, world.clock.seconds())
        # Written again in one piece, what was uploaded in parts gets another ETag.
        sources = [each for each in possible if each.etag and (kind == "copy" or is_one(each))]
        if not sources:
            return
        source = chance.choice(sources)
        target = self._a_path()
        if kind == "touch":
            world.touch(source)
        elif target != path:
            world.copy(source, target, tags)

    # -- uploads ----------------------------------------------------------------------------------

    def _on_an_upload(self, kind: str, path: str) -> None:
        chance, world = self.chance, self.world
        if kind == "uploads":
            world.list_uploads(bucket_of(path))
            return
        if kind == "repeat":
            tried = [each for each in world.uploads if each.ending and each.parts]
            if tried:
                world.complete_upload(chance.choice(tried[-3:]))
            return
        there = [each for each in world.uploads if not each.ending]
        if not there or kind == "begin":
            operation = world.begin_upload(path)
            if chance.random() < 0.7:
                world.pass_time(0.2)
            if operation.upload is None or not self._can_connect():
                return
            there = [operation.upload]
        upload = chance.choice(there[-3:])
        if kind in ("begin", "part"):
            self._send_parts(upload)
            if upload.parts and chance.random() < 0.3 and self._can_connect():
                world.pass_time(0.1)
                if self._can_connect():
                    world.complete_upload(upload)
        elif kind == "parts":
            world.list_parts(upload)
        elif kind == "abort":
            world.abort_upload(upload)
        elif upload.parts:
            world.complete_upload(upload)

    def _send_parts(self, upload: ClientUpload) -> None:
        chance = self.chance
        for _ in range(chance.choice((1, 1, 2))):
            left = [each for each in range(1, _MOST_PARTS + 1) if each not in upload.parts]
            number = chance.choice(left or [1])
            self.world.send_part(
                upload,
                number,
                self._some_bytes()[:20],
                told=chance.random() < 0.8,
                gap_s=chance.choice((0.0, 0.0, 0.0, 1.0)),
                gone_at=chance.choice((None,) * 9 + (0,)),
            )

    # -- buckets ----------------------------------------------------------------------------------

    def _on_a_bucket(self, kind: str) -> None:
        chance, world = self.chance, self.world
        bucket = chance.choice(self.player.buckets)
        if kind == "buckets":
            world.list_buckets()
            return
        if kind == "make":
            world.make_bucket(bucket)
            return
        if kind == "clear":
            # As a client does that wants to be rid of it: what is in it goes first.
            for key in self.player.keys:
                operation = world.delete(joined(bucket, key))
                while chance.random() < 0.9 and not operation.over and self._can_connect():
                    world.pass_time(0.02)
                if not self._can_connect():
                    return
        world.remove_bucket(bucket)
        if chance.random() < 0.3:
            world.make_bucket(bucket)


def is_one(write: Write) -> bool:
    """Whether it was put in one piece."""
    return "-" not in write.etag
