"""The plain door: `/object/{id}` and the listing `/object`, in JSON where there is no body."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast
from urllib.parse import parse_qs

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from aosd.doors.answers import answer, write_json, wrong_verb
from aosd.doors.heads import conditions_of, deliver, get_request, put_request, write_object_head
from aosd.doors.request import DoorRequest
from aosd.gateway.delete import delete
from aosd.gateway.get import get, head
from aosd.gateway.list import list_objects
from aosd.gateway.put import put
from aosd.gateway.store import Store
from aosd.model.errors import BadRequest
from aosd.model.names import is_object_id
from aosd.model.objects import OBJECT_BUCKET, Entry

_LISTING = b"/object"
_OBJECT = b"/object/"
_MOST_KEYS = 1000


class PlainDoor:
    """Objects by id, unsigned: for curl, scripts and tests."""

    app = Klein()

    def __init__(self, store: Store) -> None:
        self._store = store

    def takes(self, path: bytes) -> bool:
        """Whether a raw path is this door's."""
        return path == _LISTING or path.startswith(_OBJECT)

    def check(self, path: bytes, verb: bytes) -> None:
        """Raise unless the raw path is the listing's or an id's, and the verb one of its own.

        To be called first: Klein decodes paths, redirects those with `//`, and takes `get`
        for GET. Raises BadRequest, or HttpError 405.
        """
        if path == _LISTING:
            verbs: tuple[bytes, ...] = (b"GET", b"HEAD")
        elif is_object_id(path[len(_OBJECT) :].decode("latin-1")):
            verbs = (b"DELETE", b"GET", b"HEAD", b"PUT")
        else:
            raise BadRequest("an id is 1 to 32 of A-Z, a-z, 0-9", "InvalidArgument")
        if verb not in verbs:
            raise wrong_verb(*(each.decode() for each in verbs))

    def is_object(self, path: bytes) -> bool:
        """Whether a raw path is an object's."""
        return path.startswith(_OBJECT) and is_object_id(path[len(_OBJECT) :].decode("latin-1"))

    def serve(self, request: DoorRequest) -> None:
        """Answer a request for an object, without Klein's help; `is_object` is true of its path.

        Its verb is DELETE, GET, HEAD or PUT.
        """
        key = request.path[len(_OBJECT) :].decode("ascii")
        if request.method == b"GET":
            work = self._get(request, key)
        elif request.method == b"HEAD":
            work = self._head(request, key)
        elif request.method == b"PUT":
            work = self._put(request, key)
        else:
            work = self._delete(request, key)
        request.finish_after(answer(request, work))

    # -- routes ---------------------------------------------------------------------------------

    @app.route("/object", methods=["GET"])
    def list(self, request: IRequest) -> Deferred[None]:
        """A page of all ids."""
        return answer(ours := _ours(request), self._list(ours))

    @app.route("/object/<key>", methods=["GET"])
    def get(self, request: IRequest, key: str) -> Deferred[None]:
        """An object, or its head: HEAD comes here as well."""
        ours = _ours(request)
        read = self._head if ours.method == b"HEAD" else self._get
        return answer(ours, read(ours, key))

    @app.route("/object/<key>", methods=["PUT"])
    def put(self, request: IRequest, key: str) -> Deferred[None]:
        """Store an object."""
        return answer(ours := _ours(request), self._put(ours, key))

    @app.route("/object/<key>", methods=["DELETE"])
    def delete(self, request: IRequest, key: str) -> Deferred[None]:
        """Delete an object, there or not."""
        return answer(ours := _ours(request), self._delete(ours, key))

    # -- what they do ---------------------------------------------------------------------------

    async def _get(self, request: DoorRequest, key: str) -> None:
        found = await get(self._store, get_request(request, OBJECT_BUCKET, key))
        assert found.reading is not None
        write_object_head(request, found)
        await deliver(request, found.reading)

    async def _head(self, request: DoorRequest, key: str) -> None:
        found = await head(self._store, get_request(request, OBJECT_BUCKET, key))
        write_object_head(request, found)

    async def _put(self, request: DoorRequest, key: str) -> None:
        written = await put(self._store, put_request(request, OBJECT_BUCKET, key))
        request.setHeader(b"etag", written.etag.encode("latin-1"))
        write_json(request, 201, {"id": key, "etag": written.etag, "size": written.size_bytes})

    async def _delete(self, request: DoorRequest, key: str) -> None:
        await delete(self._store, OBJECT_BUCKET, key, conditions_of(request))
        request.setResponseCode(204)

    async def _list(self, request: DoorRequest) -> None:
        query = _query(request)
        prefix, after = query.get("prefix", ""), query.get("after", "")
        for name, value in (("prefix", prefix), ("after", after)):
            if value and not is_object_id(value):
                raise BadRequest(f"{name} can only be the beginning of an id", "InvalidArgument")
        listing = await list_objects(
            self._store,
            OBJECT_BUCKET,
            prefix=prefix,
            after=after,
            limit=_limit(query.get("limit")),
            delimiter="/",
            wanted=is_object_id,
        )
        entries = listing.entries
        write_json(
            request,
            200,
            {
                "objects": [_listed(entry) for entry in entries],
                "next": entries[-1].key if listing.more else None,
            },
        )


def _ours(request: IRequest) -> DoorRequest:
    return cast(DoorRequest, request)


def _listed(entry: Entry) -> dict[str, object]:
    modified = datetime.fromtimestamp(entry.modified_s, UTC)
    return {
        "id": entry.key,
        "etag": entry.etag,
        "size": entry.size_bytes,
        "last_modified": modified.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def _query(request: DoorRequest) -> dict[str, str]:
    text = request.uri.partition(b"?")[2].decode("latin-1")
    try:
        values = parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=16)
    except ValueError as error:
        raise BadRequest(f"the query can't be read: {error}", "InvalidArgument") from error
    known = {"prefix", "after", "limit"}
    for name in values:
        if name not in known:
            raise BadRequest(f"unknown parameter {name!r}", "InvalidArgument")
    return {name: found[-1] for name, found in values.items()}


def _limit(text: str | None) -> int:
    if text is None:
        return _MOST_KEYS
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(_MOST_KEYS))
    if not (digits and 1 <= int(text) <= _MOST_KEYS):
        raise BadRequest(f"limit is 1 to {_MOST_KEYS}", "InvalidArgument")
    return int(text)
