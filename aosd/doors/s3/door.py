"""The S3 door: any S3 client, at `/{bucket}/{key}` or `/{key}` of a bucket's own host name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.web.server import NOT_DONE_YET

from aosd.doors.answers import wrong_verb
from aosd.doors.request import DoorRequest
from aosd.doors.s3 import cors, table
from aosd.doors.s3.access import is_public
from aosd.doors.s3.call import Call
from aosd.doors.s3.chunks import decoded
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.identities import Identities, Identity
from aosd.doors.s3.problems import write_problem
from aosd.doors.s3.signature import Authentic, authenticate
from aosd.doors.s3.targets import Target, parse_target
from aosd.gateway.store import Store
from aosd.model.errors import ClientGone
from aosd.model.names import check_bucket_name, check_key
from aosd.model.objects import SYSTEM_BUCKET, is_text

REGION = "us-east-1"
# Parameters of presigned URLs that stand for no header: the signature's own, and checksums.
_NO_HEADERS = (
    "x-amz-algorithm",
    "x-amz-checksum-",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+", re.ASCII)


class S3Door:
    """`domain` is that of virtual-host style; `now` gives seconds since 1970."""

    _log = Logger()

    def __init__(
        self, store: Store, identities: Identities, domain: str | None, now: Callable[[], float]
    ) -> None:
        self._store = store
        self._identities = identities
        self._domain = domain
        self._now = now

    def render(self, request: DoorRequest) -> object:
        """Answer a request, whatever it is; for twisted.web."""
        request.finish_after(Deferred.fromCoroutine(self._answer(request)))
        return NOT_DONE_YET

    async def _answer(self, request: DoorRequest) -> None:
        """Never fails: what is raised becomes an answer, or an abort."""
        target: Target | None = None
        try:
            host = (request.requestHeaders.getRawHeaders(b"host") or [b""])[0]
            target = parse_target(request.uri, host, self._domain)
            await self._serve(request, target)
        except (CancelledError, ClientGone):
            request.abort()
        except Exception as error:  # noqa: BLE001 — the last place before twisted.web
            if request.startedWriting:
                self._log.warn(
                    "request {request} broken off: {error}",
                    request=request.request_id,
                    error=error,
                )
                request.abort()
            else:
                write_problem(request, target, error)

    async def _serve(self, request: DoorRequest, target: Target) -> None:
        verb = request.method.decode("latin-1")
        bucket = None
        if target.bucket:
            bucket = self._store.buckets.get(target.bucket)
        if verb == "OPTIONS":
            self._preflight(request, target)
            return
        origin = _text(request, b"origin")
        for name, value in cors.headers_for(bucket, origin, verb):
            request.setHeader(name, value)
        headers = [
            (name.lower(), value)
            for name, values in request.requestHeaders.getAllRawHeaders()
            for value in values
        ]
        now_s = self._now()
        authentic = authenticate(
            request.method, request.uri, headers, self._identities.secret_of, now_s
        )
        if authentic is not None and authentic.presigned:
            _take_from_query(request, target.query)
        level = table.level_of(target.bucket, target.key)
        names = frozenset(name.lower() for name, _ in request.requestHeaders.getAllRawHeaders())
        operation = table.find(verb, level, target.query, names)
        if operation is None:
            raise wrong_verb(*table.verbs_at(level))
        who = self._check_allowed(authentic, operation, target)
        if operation.handler is None:
            raise S3Error("NotImplemented", f"{operation.name} isn't implemented")
        if target.bucket:
            _check_names(target)
        version = target.query.get("versionId", "null")
        if level == table.OBJECT and version != "null":
            raise S3Error("NoSuchVersion", "the only version of an object is `null`")
        payload = authentic.payload if authentic is not None else None
        body = request.body if authentic is None else decoded(request.body, authentic, headers)
        await operation.handler(
            Call(
                request,
                self._store,
                target.bucket,
                target.key,
                target.query,
                who,
                body,
                payload.sha256 if payload is not None else None,
                REGION,
            )
        )

    def _check_allowed(
        self, authentic: Authentic | None, operation: table.Operation, target: Target
    ) -> Identity | None:
        """Who it is; raises S3Error AccessDenied for whoever may not."""
        if target.bucket == SYSTEM_BUCKET:
            raise S3Error("AccessDenied", "the bucket is aosd's own")
        if authentic is None:
            bucket = self._store.buckets.get(target.bucket)
            if is_public(bucket, operation.name, target.key):
                return None
            raise S3Error("AccessDenied", "sign the request: this isn't public")
        who = self._identities.identity(authentic.access_key)
        if who is None:
            raise S3Error("InvalidAccessKeyId", "nobody has this access key")
        if operation.needs is not None and not who.may(operation.needs, target.bucket):
            raise S3Error("AccessDenied", f"this key pair may not: {operation.name}")
        return who

    def _preflight(self, request: DoorRequest, target: Target) -> None:
        bucket = self._store.buckets.get(target.bucket)
        origin = _text(request, b"origin")
        verb = _text(request, b"access-control-request-method")
        if origin is None or verb is None:
            raise S3Error("BadRequest", "a preflight has Origin and Access-Control-Request-Method")
        asked = _text(request, b"access-control-request-headers") or ""
        names = [each.strip() for each in asked.split(",") if each.strip()]
        told = cors.headers_for(bucket, origin, verb, names)
        if not told:
            raise S3Error("AccessForbidden", "no CORS rule of the bucket allows this request")
        for name, value in told:
            request.setHeader(name, value)
        request.setResponseCode(200)
        request.setHeader(b"content-length", b"0")


def _take_from_query(request: DoorRequest, query: Mapping[str, str]) -> None:
    """Let what a presigned URL says in its query, where the AWS SDKs put it, count as headers.

    But for checksums: those are of the empty body that the URL was made with. Raises S3Error
    for what no header could say.
    """
    headers = request.requestHeaders
    for name, value in query.items():
        name = name.lower()
        taken = name.startswith("x-amz-") and not name.startswith(_NO_HEADERS)
        if not taken:
            continue
        if _HEADER_NAME.fullmatch(name) is None or not is_text(value):
            raise S3Error("InvalidArgument", "a parameter x-amz-… of the query can be no header")
        if not headers.hasHeader(name.encode("utf-8")):
            headers.setRawHeaders(name.encode("utf-8"), [value.encode("utf-8")])


def _check_names(target: Target) -> None:
    check_bucket_name(target.bucket)
    if target.key:
        check_key(target.key)


def _text(request: DoorRequest, name: bytes) -> str | None:
    values = request.requestHeaders.getRawHeaders(name)
    return values[0].decode("latin-1") if values else None
