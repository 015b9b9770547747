"""Errors as S3 writes them."""

from __future__ import annotations

from twisted.logger import Logger

from aosd.doors.answers import status_of, write_error_head
from aosd.doors.request import DoorRequest
from aosd.doors.s3.errors import S3Error, code_of, is_code, status_of_code
from aosd.doors.s3.targets import Target
from aosd.doors.s3.xml_out import document, elements, writable
from aosd.model.errors import (
    AosdError,
    PreconditionFailed,
)

_log = Logger()


def write_problem(request: DoorRequest, target: Target | None, error: Exception) -> None:
    """Answer with an error; what wasn't foreseen goes to the log alone. HEAD has no body."""
    error = as_s3(error, request.request_id)
    code, status = code_of(error), status_of_problem(error)
    if not write_error_head(request, error, status):
        return
    if request.method == b"HEAD":
        # There is no body to tell it; the header is MinIO's.
        request.setHeader(b"x-minio-error-code", code.encode("latin-1", "replace"))
        request.setHeader(b"content-length", b"0")
        return
    data = problem(code, str(error), target, request.request_id)
    request.setHeader(b"content-type", b"application/xml")
    request.setHeader(b"content-length", b"%d" % len(data))
    request.write(data)


def problem(code: str, message: str, target: Target | None, request_id: str) -> bytes:
    """An Error document, which has no namespace.

    Names in it are for people: a client that can't parse it doesn't get to know the code.
    """
    bucket = writable(target.bucket) if target is not None else ""
    key = writable(target.key) if target is not None else ""
    resource = f"/{bucket}/{key}" if key else f"/{bucket}"
    return document(
        "Error",
        elements(
            Code=code,
            Message=message,
            Key=key or None,
            BucketName=bucket or None,
            Resource=resource,
            RequestId=request_id,
            HostId="aosd",
        ),
        namespace=False,
    )


def as_s3(error: Exception, request_id: str) -> AosdError:
    """An error in S3's words; one that nobody foresaw is logged here."""
    if not isinstance(error, AosdError):
        _log.failure("request {request} failed", request=request_id)
        return S3Error("InternalError", "unexpected; the log knows more by the request id")
    if isinstance(error, PreconditionFailed) and error.absent:
        return S3Error("NoSuchKey", "there is no object for If-Match to match")
    return error


def status_of_problem(error: AosdError) -> int:
    """The status of an error: its code's, where that is one of S3's."""
    code = code_of(error)
    return status_of_code(code) if is_code(code) else status_of(error)
