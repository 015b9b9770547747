"""What a request says of its own signature: read strictly, nothing of it verified yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import mktime_tz, parsedate_tz
from typing import NamedTuple

from aosd.doors.s3.canonical import ALGORITHM, TERMINATOR, Pair, decoded
from aosd.doors.s3.errors import S3Error

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, values as they came; a name may come several times."""

DIGEST_HEADER = b"x-amz-content-sha256"
DIGEST_FIELD = b"X-Amz-Content-Sha256"
_LONGEST_EXPIRY_S = 7 * 24 * 3600
_LONGEST_REGION = 64
_CREDENTIAL_PARTS = 5
_TIMESTAMP = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
_HEADER_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+(;[!#$%&'*+.^_`|~0-9a-z-]+)*", re.ASCII)
_HEADER_FIELDS = frozenset({"Credential", "SignedHeaders", "Signature"})
_QUERY_FIELDS = frozenset(
    {
        b"X-Amz-Algorithm",
        b"X-Amz-Credential",
        b"X-Amz-Date",
        b"X-Amz-Expires",
        b"X-Amz-SignedHeaders",
        b"X-Amz-Signature",
    }
)
_QUERY_SIGNS = frozenset({b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Signature"})


class Claim(NamedTuple):
    """Whose signature it is said to be, of when, and over what.

    `timestamp` is YYYYMMDD'T'HHMMSS'Z' and `date` its day; `signed` are the names of the
    signed headers in order; `signature` is in hex. `expires_s` is how long a presigned URL
    is good for (None in the header), `digest` its X-Amz-Content-Sha256, if it has one.
    """

    access_key: str
    date: str
    region: str
    signed: tuple[bytes, ...]
    signature: str
    timestamp: str
    expires_s: int | None = None
    digest: str | None = None


def is_presigned(names: set[bytes]) -> bool:
    """Whether a query of these names carries a signature of version 4."""
    return not _QUERY_SIGNS.isdisjoint(names)


def is_presigned_v2(names: set[bytes]) -> bool:
    """Whether a query of these names carries a signature of version 2."""
    return b"AWSAccessKeyId" in names or (b"Signature" in names and b"Expires" in names)


def header_claim(authorization: bytes, headers: Headers) -> Claim:
    """Read `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`, and the date.

    Raises S3Error for what is malformed or isn't spoken here.
    """
    text = _text(authorization, malformed_header)
    algorithm, _, rest = text.strip().partition(" ")
    if algorithm == "AWS":
        raise not_spoken("signature version 2")
    if algorithm.startswith("AWS4-ECDSA"):
        raise not_spoken("signature version 4A (AWS4-ECDSA-P256-SHA256)")
    if algorithm != ALGORITHM:
        raise S3Error("InvalidArgument", "Unsupported Authorization Type")
    fields: dict[str, str] = {}
    for item in rest.split(","):
        name, equals, value = item.strip().partition("=")
        if not equals or name not in _HEADER_FIELDS or name in fields:
            raise malformed_header("expecting Credential, SignedHeaders and Signature, once each.")
        fields[name] = value
    for name in sorted(_HEADER_FIELDS):
        if name not in fields:
            raise malformed_header(f"missing {name}.")
    return _claim(
        fields["Credential"],
        fields["SignedHeaders"],
        fields["Signature"],
        _header_timestamp(headers),
        malformed_header,
    )


def query_claim(pairs: Sequence[Pair]) -> Claim:
    """Read the X-Amz- parameters of a presigned URL.

    Raises S3Error for what is malformed, missing, given twice or isn't spoken here.
    """
    fields: dict[bytes, str] = {}
    for raw_name, raw_value in pairs:
        name = decoded(raw_name)
        if name == b"X-Amz-Security-Token":
            raise token_refused()
        if name in _QUERY_FIELDS or name == DIGEST_FIELD:
            if name in fields:
                raise malformed_query(f"{name.decode()} must be given once.")
            fields[name] = _text(decoded(raw_value), malformed_query)
    algorithm = fields.get(b"X-Amz-Algorithm", "")
    if algorithm.startswith("AWS4-ECDSA"):
        raise not_spoken("signature version 4A (AWS4-ECDSA-P256-SHA256)")
    if not fields.keys() >= _QUERY_FIELDS:
        raise malformed_query(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, "
            "X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and "
            "X-Amz-Expires parameters."
        )
    if algorithm != ALGORITHM:
        raise malformed_query('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"')
    timestamp = fields[b"X-Amz-Date"]
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise malformed_query(
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""
        )
    claim = _claim(
        fields[b"X-Amz-Credential"],
        fields[b"X-Amz-SignedHeaders"],
        fields[b"X-Amz-Signature"],
        timestamp,
        malformed_query,
    )
    return claim._replace(
        expires_s=_expiry(fields[b"X-Amz-Expires"]), digest=fields.get(DIGEST_FIELD)
    )


def seconds_of(timestamp: str) -> float:
    """Seconds since 1970. Raises S3Error for a moment that never was, such as of a 13th month."""
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError as error:
        raise S3Error("AccessDenied", "There is no such date as the request says") from error


def value_of(headers: Headers, wanted: bytes) -> str | None:
    """A header's value; several are joined by commas, None when there is none."""
    values = [value for name, value in headers if name == wanted]
    return b",".join(values).decode("latin-1").strip() if values else None


def _claim(
    credential: str,
    signed: str,
    signature: str,
    timestamp: str,
    malformed: Callable[[str], S3Error],
) -> Claim:
    parts = credential.rsplit("/", _CREDENTIAL_PARTS - 1)  # an access key may have slashes
    if len(parts) != _CREDENTIAL_PARTS or not parts[0]:
        raise malformed(
            'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/'
            'aws4_request".'
        )
    access_key, date, region, service, terminator = parts
    if service != "s3":
        raise malformed('incorrect service in the Credential. This endpoint belongs to "s3".')
    if terminator != TERMINATOR:
        raise malformed(f'incorrect terminal in the Credential. It must be "{TERMINATOR}".')
    if len(region) > _LONGEST_REGION:
        raise malformed("the region in the Credential is too long.")
    if date != timestamp[:8]:
        raise malformed(
            f'invalid credential date. This date is not the same as X-Amz-Date: "{timestamp[:8]}".'
        )
    names = sorted(signed.encode().split(b";"))
    if _HEADER_NAMES.fullmatch(signed) is None or len(names) != len(set(names)):
        raise malformed("SignedHeaders must be names in lower case, separated by semicolons.")
    if _SIGNATURE.fullmatch(signature) is None:
        raise malformed("the Signature must be 64 digits in hex.")
    return Claim(access_key, date, region, tuple(names), signature, timestamp)


def _header_timestamp(headers: Headers) -> str:
    """When the request was signed: from x-amz-date, or else Date, in either form."""
    text = value_of(headers, b"x-amz-date") or value_of(headers, b"date") or ""
    if _TIMESTAMP.fullmatch(text) is not None:
        return text
    parsed = parsedate_tz(text)  # without a zone, or with `-0000`, it is UTC
    try:
        moment = datetime.fromtimestamp(mktime_tz(parsed), UTC) if parsed else None
    except (ValueError, OverflowError, OSError):  # the last of times beyond the system's own
        moment = None
    if moment is None:
        raise S3Error(
            "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header"
        )
    return f"{moment:%Y%m%dT%H%M%SZ}"


def _expiry(text: str) -> int:
    """How many seconds a presigned URL is good for: 1 to 604,800."""
    if _NUMBER.fullmatch(text) is None:
        raise malformed_query("X-Amz-Expires should be a number")
    expires_s = int(text)
    if expires_s < 1:
        raise malformed_query("X-Amz-Expires must be positive")
    if expires_s > _LONGEST_EXPIRY_S:
        raise malformed_query(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given "
            "X-Amz-Expires must be at most 604800 seconds"
        )
    return expires_s


def _text(value: bytes, malformed: Callable[[str], S3Error]) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise malformed("it isn't UTF-8.") from error


# -- refusals -----------------------------------------------------------------------------------


def malformed_header(what: str) -> S3Error:
    """The Authorization header can't be read."""
    return S3Error("AuthorizationHeaderMalformed", f"The authorization header is malformed; {what}")


def malformed_query(what: str) -> S3Error:
    """A presigned URL can't be read."""
    return S3Error("AuthorizationQueryParametersError", what)


def token_refused() -> S3Error:
    """A session token came: nobody here gives any out."""
    return S3Error(
        "InvalidToken",
        "There are no temporary credentials here: use a key pair without a session token "
        "(unset AWS_SESSION_TOKEN).",
    )


def not_spoken(what: str) -> S3Error:
    """A signature of another version; the message says what to set in the client."""
    return S3Error(
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported. Please use "
        f"AWS4-HMAC-SHA256. The request came with {what}; set the client to signature version 4, "
        'such as Config(signature_version="s3v4") in boto3, "s3.signature_version = s3v4" in '
        'the AWS CLI, "signature_v2 = False" in s3cmd, "v2_auth = false" in rclone.',
    )
