"""The interfaces that the middle of the house needs, and that its edges provide.

Every method that returns a Deferred returns it always: a failure is an errback, never an
exception raised synchronously. Cancelling such a Deferred gives up the wait and releases
what it held; whether the node still carries out the request is then unknown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import Attribute, Interface

from aosd.model.errors import NodeError
from aosd.model.node import NodeState, Sighting
from aosd.model.objects import Headers, ObjectHead, Page, PartsPage, Span
from aosd.model.ranges import ByteRange


class IBodySink(Interface):
    """What a body flows into."""

    def body_data(data: bytes) -> None:
        """Some bytes, in order; may still be called a little after a pause."""

    def body_ended() -> None:
        """All bytes came; nothing is called after this."""

    def body_failed(reason: Failure) -> None:
        """The rest won't come (ClientGone, RequestTimeout, IncompleteBody); the last call."""


class IBodySource(Interface):
    """A client's body that hasn't started to flow.

    Nothing is read from the client (beyond what was in its first packets) before `start`,
    and a client that waits for `100 Continue` gets it then, not before.
    """

    length: int | None = Attribute("Its length in bytes; None when the client didn't say.")

    def start(sink: IBodySink) -> None:
        """Let it flow into `sink`. Once at most; may call the sink before it returns."""

    def pause() -> None:
        """Stop reading from the client; the client's idle time isn't counted meanwhile."""

    def resume() -> None:
        """Go on."""

    def discard() -> None:
        """Nobody wants the rest: the sink is called no more. Safe at any time."""


class IReading(Interface):
    """An answered GET whose body hasn't started to flow.

    Exactly one of `deliver` and `abandon` has to be called.
    """

    head: ObjectHead = Attribute("What the node says of the object (its size is the whole one).")
    span: Span = Attribute("The bytes that will come.")
    at_hand: bool = Attribute("Whether all of them have come: no node can fail any more.")

    def deliver(consumer: IConsumer) -> Deferred[None]:
        """Let the body flow into `consumer`, which is registered as a push consumer.

        Fires when the last byte was written to the consumer, and no byte of the span is
        missing; the producer is unregistered by then. Errbacks with a NodeError when the
        node stops before. Cancelling drops the connection to the node at once.
        """

    def abandon() -> None:
        """Do without the body; releases the node's connection."""


class INode(Interface):
    """One S3 server that holds copies. Keys are str, sent as UTF-8.

    Every method errbacks with a NodeError when the node can't be asked or answers badly,
    and with what is named below when it answers well but says no. 404 is an answer.
    Of a bucket that it doesn't have, it errbacks with NodeRefused, whose code is NoSuchBucket
    (where it gives one: HEAD needn't, and is NoSuchKey then).
    Headers are lower-case names with values as they go on the wire.
    """

    name: str = Attribute("The node name.")
    sorts: bool = Attribute("Whether it lists in the order of UTF-8 bytes, for all that is known.")

    def head(bucket: str, key: str, part: int | None = None) -> Deferred[ObjectHead]:
        """HEAD an object. Errbacks with NoSuchKey.

        With `part` (1 to 10,000) `size_bytes` is the length of that part of an object that
        was uploaded in parts; the rest of the head is the object's.
        """

    def part_sizes(bucket: str, key: str, etag: str) -> Deferred[Sequence[int]]:
        """The sizes in bytes of the parts that an object was uploaded in, in their order.

        Only that of the whole, when it was in one piece. Of the version that has this ETag:
        errbacks with PreconditionFailed when there is another one, and with NoSuchKey. Parts
        are counted by their place: it may have been uploaded as parts 2 and 5.
        """

    def get(
        bucket: str, key: str, wanted: ByteRange | None = None, etag: str | None = None
    ) -> Awaitable[IReading]:
        """GET an object, or one range of it; with `etag` only the version that has it.

        To be awaited at once, and by one: it may be a coroutine, as each Deferred around one
        costs a good part of what a small object does. Raises NoSuchKey, PreconditionFailed when
        it has another ETag, and RangeNotSatisfiable when no byte of `wanted` exists (any range
        of an empty object).
        """

    def put(bucket: str, key: str, body: IBodyProducer, headers: Headers) -> Deferred[str]:
        """PUT an object whose length is known (`body.length`); fires with its quoted ETag.

        The node has stored the whole body by then. Errbacks with DigestMismatch when it
        refuses a digest in `headers`, and with whatever `body` failed with. `body` is
        stopped when the node answers before having read it.
        """

    def delete(bucket: str, key: str) -> Deferred[None]:
        """DELETE an object; fires also when there was none, or no such bucket."""

    def list(
        bucket: str,
        prefix: str = "",
        after: str = "",
        limit: int = 1000,
        delimiter: str = "",
        stamps: bool = False,
        token: str = "",
    ) -> Deferred[Page]:
        """One page of the keys that start with `prefix` and sort after `after` (exclusive).

        `limit` is 1 to 1,000. The node's own order: S3's is by UTF-8 bytes, but not every
        server keeps to it. With `stamps` the entries have theirs, where the server can
        tell (MinIO does), for a page that costs it more.

        With the `token` of a page, `after` being its last, a server needn't look for where to
        go on. But it may tell what was there at any time since the first of these pages, which
        was asked for without one; and it may go through all that follows at once, which is in
        vain unless somebody reads to the end.
        """

    def create_upload(bucket: str, key: str, headers: Headers) -> Deferred[str]:
        """Begin a multipart upload; fires with its upload id."""

    def put_part(
        bucket: str, key: str, upload_id: str, number: int, body: IBodyProducer
    ) -> Deferred[str]:
        """Upload part `number` (1 to 10,000); fires with its quoted ETag."""

    def complete_upload(
        bucket: str, key: str, upload_id: str, parts: Sequence[tuple[int, str]]
    ) -> Deferred[str]:
        """Complete an upload of these parts; fires with the object's quoted ETag.

        Each is its number and its quoted ETag, the numbers ascending, with gaps or without.
        Errbacks with NodeRefused, NoSuchUpload as its code, when it isn't open; a server may
        also answer once more as it did when the upload was completed.
        """

    def abort_upload(bucket: str, key: str, upload_id: str) -> Deferred[None]:
        """Abort an upload; fires also when it is unknown."""

    def list_parts(
        bucket: str, key: str, upload_id: str, after: int = 0, limit: int = 1000
    ) -> Deferred[PartsPage]:
        """One page of an open upload's parts numbered over `after`, at most `limit` (to 1,000).

        Ascending by number; one that was sent again may be there as it was before, too, in any
        order. Errbacks with NoSuchUpload when it isn't open.
        """

    def list_uploads(bucket: str, key: str) -> Deferred[Sequence[str]]:
        """Ids of uploads that are open for exactly this key; of many maybe not all."""

    def create_bucket(bucket: str) -> Deferred[None]:
        """Make a bucket; fires also when it is there."""

    def delete_bucket(bucket: str) -> Deferred[None]:
        """Remove an empty bucket; fires also when there is none. Errbacks with BucketNotEmpty.

        Some servers remove full ones as readily: who asks has to know that it is empty.
        """

    def list_buckets() -> Deferred[Sequence[str]]:
        """The names of all buckets, `aos-system` among them."""

    def probe() -> Deferred[bytes | None]:
        """Read `node.json` over the control connection; fires with its bytes or None (404).

        That connection carries probes alone. When it breaks after it has answered one, the
        health is told (IHealth.control_lost): the node may have been restarted.
        """

    def close() -> Deferred[None]:
        """Close idle connections; what is in flight ends by itself."""


Report = Callable[[Sequence[Sighting]], None]
Trouble = Callable[[str], None]


class IDiscovery(Interface):
    """A provider of sightings. It observes and reports; it never decides.

    Discovery that fails is no news: nothing is reported, and the trouble is told.
    """

    name: str = Attribute("How it was asked for, such as `docker` or `static:/etc/nodes.toml`.")

    def start(report: Report, trouble: Trouble) -> Deferred[None]:
        """Begin to observe. Fires after the first round, whether it succeeded or not.

        `report` is called in the reactor thread with all nodes seen, each time something
        may have changed, and at the first success; `trouble` with one line whenever a
        round fails, and with "" at the first success after that.
        """

    def stop() -> Deferred[None]:
        """Stop observing; fires when no thread, timer or child process is left."""


class IDiscoveryPlugin(IPlugin):
    """What a package puts into `twisted/plugins/` to add a provider."""

    scheme: str = Attribute("The word before the colon of `--nodes`, such as `docker`.")
    usage: str = Attribute("One line that says what may follow the colon.")

    def create(argument: str, context: object) -> IDiscovery:
        """Make the provider from what follows the colon ("" when nothing does).

        `context` is an `aosd.discovery.DiscoveryContext`. Raises ConfigurationError when
        `argument` can't be used. Must not start anything.
        """


class IHealth(Interface):
    """Whether a node may be asked now: its circuit breaker, as its requests see it."""

    def check() -> None:
        """Raise NodeUnavailable while the breaker is open."""

    def answered(well: bool) -> None:
        """The node answered; not `well` when with an error of its own (5xx, 401, 403)."""

    def heard() -> None:
        """Bytes of a body came from the node."""

    def failed(error: NodeError) -> None:
        """A request failed in a way that speaks against the node."""

    def out_of_space() -> None:
        """The node refused a write for lack of space."""

    def watch(tripped: Callable[[], None]) -> None:
        """Call `tripped`, which nobody else watches by, once when the breaker opens."""

    def unwatch(tripped: Callable[[], None]) -> None:
        """Don't any more. Nothing happens if it was called."""

    def control_lost(announced: bool) -> None:
        """The control connection broke; `announced`: by `Connection: close` in an answer."""

    def time_told(ahead_s: float) -> None:
        """The node's clock is so far ahead of ours, to half a second (from a probe's Date)."""

    def confirm() -> Deferred[None]:
        """Fires once a probe that was sent after this call was answered.

        A new connection carries no request before: the node on the other end might be one
        that was restarted, and nobody would have noticed yet. Errbacks with a NodeError.
        """


class Candidate(NamedTuple):
    """A member in a key's order; `node` is None while it can't be asked (suspect or down).

    `full`: it refuses writes for lack of space, whatever its state. `hides`: whether an object
    on it hides the keys beneath from listings; None while nobody knows. `foreign`: it came with
    objects, once, and what has no stamp on it is the cluster's; `adopted`: it did so just now,
    and these may have no copies yet.
    """

    name: str
    node: INode | None
    state: NodeState = NodeState.UP
    zone: str = ""
    full: bool = False
    hides: bool | None = False
    foreign: bool = False
    adopted: bool = False


class IPlacement(Interface):
    """Where keys belong, and who can be asked now."""

    changes: int = Attribute(
        "Grows whenever orders or strays change, or what Candidates tell of them."
    )

    def orders(bucket: str, key: str) -> Sequence[Sequence[Candidate]]:
        """The key's order of all members, in each ring that counts.

        The first is the ring that is, or that is coming; while a change is under way the
        former ring's order follows.
        """

    def members() -> Sequence[Candidate]:
        """All members, by name; those that no ring has any more too, until they are empty."""

    def strays() -> Sequence[Candidate]:
        """Members that may hold keys which belong on others alone, by name.

        Such as one that is being drained, or that came with objects: it is asked for every
        key, and nothing is settled while there is one. What has no stamp on it is the cluster's.
        """
