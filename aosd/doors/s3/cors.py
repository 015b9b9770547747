"""Cross-origin requests: a bucket's rules, preflights, and what answers say to browsers.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aosd.consistency.buckets import Bucket
from aosd.doors.s3.call import Call
from aosd.doors.s3.checksums import with_checked_body
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.xml_in import malformed, text_of, texts_of
from aosd.doors.s3.xml_out import Markup, document, element
from aosd.gateway.buckets import set_bucket_setting

_SETTING = "cors"
_MOST_RULES = 100
_LONGEST_BYTES = 64 * 1024
_VERBS = frozenset({"GET", "PUT", "POST", "DELETE", "HEAD"})
_LISTS = {
    "AllowedOrigin": "origins",
    "AllowedMethod": "verbs",
    "AllowedHeader": "headers",
    "ExposeHeader": "exposed",
}

Rule = Mapping[str, Any]
"""{"id": str, "origins", "verbs", "headers", "exposed": [str], "max_age_s": int or None}."""


async def get_bucket_cors(call: Call) -> None:
    """GetBucketCors."""
    rules = _rules(call.store.buckets.check(call.bucket))
    if not rules:
        raise S3Error("NoSuchCORSConfiguration", "the bucket has no CORS configuration")
    call.write_xml(document("CORSConfiguration", *map(_written, rules)))


async def put_bucket_cors(call: Call) -> None:
    """PutBucketCors."""
    call.store.buckets.check(call.bucket)
    root = await with_checked_body(call).document("CORSConfiguration", _LONGEST_BYTES)
    rules = [_read(each) for each in root.iterfind("CORSRule")]
    if not 1 <= len(rules) <= _MOST_RULES:
        raise malformed(f"a configuration has 1 to {_MOST_RULES} rules")
    await set_bucket_setting(call.store, call.bucket, _SETTING, rules)
    call.no_content(200)


async def delete_bucket_cors(call: Call) -> None:
    """DeleteBucketCors."""
    call.store.buckets.check(call.bucket)
    await set_bucket_setting(call.store, call.bucket, _SETTING, None)
    call.no_content()


def headers_for(
    bucket: Bucket | None, origin: str | None, verb: str, asked_headers: Sequence[str] | None = None
) -> list[tuple[bytes, bytes]]:
    """What an answer says to a browser at `origin`; nothing when no rule allows it.

    `asked_headers` are those of a preflight; None for the request itself.
    """
    if bucket is None or origin is None:
        return []
    for rule in _rules(bucket):
        allowed = next((each for each in rule["origins"] if _matches(each, origin)), None)
        if allowed is None or verb not in rule["verbs"]:
            continue
        wanted = asked_headers or ()
        if any(not _any_matches(rule["headers"], each) for each in wanted):
            continue
        told = [
            (b"access-control-allow-origin", b"*" if allowed == "*" else origin.encode("latin-1")),
            (b"access-control-allow-methods", ", ".join(rule["verbs"]).encode("latin-1")),
            (b"vary", b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
        ]
        if allowed != "*":
            told.append((b"access-control-allow-credentials", b"true"))
        if rule["exposed"]:
            exposed = ", ".join(rule["exposed"]).encode("latin-1", "replace")
            told.append((b"access-control-expose-headers", exposed))
        if asked_headers is not None:
            if wanted:
                told.append((b"access-control-allow-headers", ", ".join(wanted).encode("latin-1")))
            if rule["max_age_s"] is not None:
                told.append((b"access-control-max-age", b"%d" % rule["max_age_s"]))
        return told
    return []


def _rules(bucket: Bucket) -> Sequence[Rule]:
    rules = bucket.settings.get(_SETTING)
    return rules if isinstance(rules, list) else []


def _read(rule: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: [each for each in texts_of(rule, tag) if each] for tag, name in _LISTS.items()
    }
    if not found["origins"] or not found["verbs"]:
        raise malformed("a rule has an AllowedOrigin and an AllowedMethod")
    for verb in found["verbs"]:
        if verb not in _VERBS:
            raise S3Error("InvalidRequest", f"Found unsupported HTTP method: {verb[:32]}")
    for name in ("origins", "headers"):
        for each in found[name]:
            if each.count("*") > 1:
                raise S3Error("InvalidRequest", f"{each[:64]} can not have more than one wildcard")
    for name in ("origins", "headers", "exposed"):
        for each in found[name]:
            if not (each.isascii() and each.isprintable()):
                raise S3Error("InvalidRequest", "a CORS rule is ASCII")
    age = text_of(rule, "MaxAgeSeconds")
    if age and not (age.isascii() and age.isdigit() and len(age) < 10):
        raise malformed("MaxAgeSeconds isn't a whole number")
    return {"id": text_of(rule, "ID"), **found, "max_age_s": int(age) if age else None}


def _written(rule: Rule) -> Markup:
    return element(
        "CORSRule",
        element("ID", rule["id"]) if rule["id"] else None,
        *(element(tag, each) for tag, name in _LISTS.items() for each in rule[name]),
        element("MaxAgeSeconds", rule["max_age_s"]) if rule["max_age_s"] is not None else None,
    )


def _any_matches(patterns: Sequence[str], name: str) -> bool:
    return any(_matches(each.lower(), name.lower()) for each in patterns)


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None
