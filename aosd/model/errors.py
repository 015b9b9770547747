"""The one tree of errors.

Adapters translate what their libraries raise into these, once, with `raise … from`.
Only the gateway turns a `NodeError` into a `ClusterError`; only a door turns any of them
into a status code.
"""

from __future__ import annotations

_SERVER_ERROR = 500


class AosdError(Exception):
    """Anything that aosd itself raises on purpose."""


class ConfigurationError(AosdError):
    """What the operator wrote can't be used; ends the start with one line."""


# -- the request ------------------------------------------------------------------------


class RequestError(AosdError):
    """The client asked for something that can't be; asking again changes nothing.

    `code` is the S3 error code that says so; doors map it to a status.
    """

    code = "InvalidRequest"


class BadRequest(RequestError):
    """The request is malformed or refused; `code` says which way."""

    def __init__(self, message: str, code: str = "InvalidRequest") -> None:
        super().__init__(message)
        self.code = code


class NoSuchKey(RequestError):
    """No node holds the object."""

    code = "NoSuchKey"


class NoSuchBucket(RequestError):
    """There is no bucket of that name."""

    code = "NoSuchBucket"


class BucketExists(RequestError):
    """The bucket to be made is there already."""

    code = "BucketAlreadyOwnedByYou"


class BucketNotEmpty(RequestError):
    """The bucket to be deleted holds objects."""

    code = "BucketNotEmpty"


class NoSuchUpload(RequestError):
    """There is no such multipart upload: never begun, completed or aborted."""

    code = "NoSuchUpload"


class KeyConflict(RequestError):
    """Another key, or another change of the same thing, stands in the way; `code` says which."""

    code = "OperationAborted"

    def __init__(self, message: str, code: str = "OperationAborted") -> None:
        super().__init__(message)
        self.code = code


class Overtaken(KeyConflict):
    """Another write of the key came between a version's reading and its change."""


class NoSuchNode(RequestError):
    """No node of that name is known."""

    code = "NoSuchNode"


class ChangeRefused(RequestError):
    """What an operator asked for can't be done, or would lose something; the message says why."""

    code = "ChangeRefused"


class PreconditionFailed(RequestError):
    """A condition of the request doesn't hold (RFC 9110, section 13).

    `absent`: it was to be changed only if it is a certain version, and there is no object at all.
    """

    code = "PreconditionFailed"

    def __init__(self, message: str = "", *, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent


class NotModified(RequestError):
    """A conditional read whose object the client has already (RFC 9110, 15.4.5).

    A 304 repeats its `etag`, `modified_s`, and of its `headers` Cache-Control and Expires.
    """

    code = "NotModified"

    def __init__(
        self, etag: str, modified_s: int, headers: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        super().__init__("not modified")
        self.etag = etag
        self.modified_s = modified_s
        self.headers = headers


class RangeNotSatisfiable(RequestError):
    """No byte of the range asked for exists; `size_bytes` is the object's length."""

    code = "InvalidRange"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the range asked for lies outside the object's {size_bytes} bytes")
        self.size_bytes = size_bytes


class TooLarge(RequestError):
    """The body is longer than any object may be."""

    code = "EntityTooLarge"


class DigestMismatch(RequestError):
    """The body that came isn't the one whose digest the client gave.

    `code` is XAmzContentSHA256Mismatch where that is the digest of the signature.
    """

    code = "BadDigest"

    def __init__(self, message: str, code: str = "BadDigest") -> None:
        super().__init__(message)
        self.code = code


class IncompleteBody(RequestError):
    """The body ended before its Content-Length, or its chunks were malformed."""

    code = "IncompleteBody"


class RequestTimeout(RequestError):
    """The client sent nothing for too long."""

    code = "RequestTimeout"


class ClientGone(AosdError):
    """The client's connection went away; nobody is left to answer."""


# -- one node ---------------------------------------------------------------------------


class NodeError(AosdError):
    """One node didn't do what it was asked; says nothing of the others.

    `node` is the node's name.
    """

    def __init__(self, node: str, message: str) -> None:
        super().__init__(f"node {node}: {message}")
        self.node = node


class NodeUnavailable(NodeError):
    """No connection, a connection lost, or a breaker that is open: it can't be asked now."""


class NodeTimeout(NodeError):
    """The node took the connection but ran out of time."""


class NodeRefused(NodeError):
    """The node answered with an error of its own (5xx, or 403 for our credentials).

    `status` and `code` are the node's.
    """

    def __init__(self, node: str, message: str, status: int, code: str) -> None:
        super().__init__(node, message)
        self.status = status
        self.code = code

    @property
    def is_final(self) -> bool:
        """Whether it wasn't carried out, for sure: an error of 500 or more may come after that."""
        return self.status < _SERVER_ERROR


class NodeFull(NodeRefused):
    """The node has no space left for writes; it still reads and deletes."""

    @property
    def is_final(self) -> bool:
        """See NodeRefused."""
        return True


class NodeNonsense(NodeError):
    """The answer isn't HTTP, isn't S3, or contradicts itself."""


# -- the cluster ------------------------------------------------------------------------


class ClusterError(AosdError):
    """The cluster can't do now what it was asked; trying again later may work.

    `retry_after_s` is what a door tells the client.
    """

    code = "ServiceUnavailable"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NoNodes(ClusterError):
    """The ring has no member, or none that is up."""


class NoQuorum(ClusterError):
    """Too few of the nodes that would have to answer can."""


class SlowDown(ClusterError):
    """Too much is going on at once, or a key's turn didn't come in time."""

    code = "SlowDown"


class UpstreamTimeout(ClusterError):
    """A node ran out of time, and no other could stand in."""

    code = "UpstreamTimeout"


class UpstreamNonsense(ClusterError):
    """A node answered what can't be understood, and no other could stand in."""

    code = "UpstreamNonsense"
