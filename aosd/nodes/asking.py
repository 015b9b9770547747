"""Signed requests to a node that block, for threads: what the first contact is made with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from urllib3 import BaseHTTPResponse

from aosd.model.errors import NodeNonsense, NodeRefused, NodeTimeout, NodeUnavailable
from aosd.model.node import Address, Credentials
from aosd.nodes.answers import Answers
from aosd.nodes.signing import UNSIGNED_PAYLOAD, Signer, target

_CONNECT_S = 1.5
_ANSWER_S = 5.0
_WRITTEN_S = 20.0  # a first write may have to make room first
_THERE_ALREADY = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
_LARGEST_ANSWER_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node answered; `code` is S3's, "" for a success; `date` its Date header."""

    status: int
    data: bytes
    etag: str
    code: str = ""
    message: str = ""
    date: str = ""


class Asking:
    """A context manager over one connection to the node. Every failure is a NodeError."""

    def __init__(self, name: str, address: Address, credentials: Credentials) -> None:
        self.name = name
        self.answers = Answers(name)
        self._url = address.url
        self._address = address
        self._credentials = credentials
        self._signer = Signer(address, credentials, time.time)
        self._pool = urllib3.PoolManager(retries=False, maxsize=1)

    def __enter__(self) -> Asking:
        """Nothing is asked yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._pool.clear()

    def ask(
        self,
        verb: str,
        bucket: str = "",
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        amz_headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        sha256: str = UNSIGNED_PAYLOAD,
        well: tuple[str | int, ...] = (),
    ) -> Answer:
        """The answer; NodeRefused unless it is a success, or its status or code is in `well`.

        Of `headers` those that begin with x-amz- go into `amz_headers`, which are signed.
        """
        path, query_text = target(bucket, key, query or {})
        signed = self._signer.sign(verb, path, query_text, amz_headers or {}, sha256)
        del signed["host"]  # urllib3 sends the same
        url = self._url + path + ("?" + query_text if query_text else "")
        read_s = _ANSWER_S if body is None else _WRITTEN_S
        try:
            response = self._pool.request(
                verb,
                url,
                body=body,
                headers={**signed, **(headers or {}), "Accept-Encoding": "identity"},
                timeout=urllib3.Timeout(connect=_CONNECT_S, read=read_s),
                redirect=False,
                preload_content=False,
            )
            answer = self._read(response)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise NodeTimeout(self.name, f"didn't answer within {read_s:g} s") from error
        except urllib3.exceptions.HTTPError as error:
            raise NodeUnavailable(self.name, f"no connection: {_innermost(error)}") from error
        if 200 <= answer.status < 300 or answer.status in well or answer.code in well:
            return answer
        if not 400 <= answer.status < 600:
            raise NodeNonsense(self.name, f"answered {answer.status}")
        words = f"{answer.code}: {answer.message}"
        raise NodeRefused(self.name, words, answer.status, answer.code)

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket, unless it is there. Raises as `ask` does."""
        client = Minio(
            self._url.partition("://")[2],
            access_key=self._credentials.access_key,
            secret_key=self._credentials.secret_key,
            secure=self._address.scheme == "https",
            region="us-east-1",
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=_CONNECT_S, read=_WRITTEN_S),
                retries=False,
                maxsize=1,
            ),
        )
        try:
            if not client.bucket_exists(bucket_name=bucket):
                client.make_bucket(bucket_name=bucket)
        except S3Error as error:
            if error.code not in _THERE_ALREADY:
                words = f"{error.code}: {error.message}"
                status = error.response.status
                raise NodeRefused(self.name, words, status, error.code or "") from error
        except urllib3.exceptions.HTTPError as error:
            raise NodeUnavailable(self.name, f"no connection: {_innermost(error)}") from error
        except (MinioException, ValueError) as error:
            raise NodeNonsense(self.name, f"doesn't answer as S3 does: {error}") from error

    def _read(self, response: BaseHTTPResponse) -> Answer:
        data = response.read(_LARGEST_ANSWER_BYTES + 1)
        if len(data) > _LARGEST_ANSWER_BYTES:
            response.close()
            raise NodeNonsense(self.name, "its answer is longer than any should be")
        response.release_conn()
        etag = response.headers.get("ETag", "").strip('"')
        date = response.headers.get("Date", "")
        if response.status < 300:
            return Answer(response.status, data, etag, date=date)
        code, message = self.answers.error(data, response.status)
        return Answer(response.status, data, etag, code, message, date)


def _innermost(error: BaseException) -> BaseException:
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else error
