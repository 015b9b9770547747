"""Who may read without a signature: bucket policies and canned ACLs.

What can be granted is reading by anyone, and nothing else: a policy that says more is
refused whole, so that none is ever honoured in part.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aosd.consistency.buckets import Bucket
from aosd.doors.heads import header_items
from aosd.doors.s3.call import Call
from aosd.doors.s3.checksums import with_checked_body
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.owner import owner
from aosd.doors.s3.xml_in import parse
from aosd.doors.s3.xml_out import Markup, document, element, elements
from aosd.gateway.buckets import set_bucket_setting
from aosd.gateway.get import head
from aosd.gateway.requests import Get
from aosd.model.wildcards import matches

PUBLIC_READ = "public-read"
_POLICY, _ACL = "policy", "acl"
_LONGEST_POLICY_BYTES = 20 * 1024
_CANNED = ("private", PUBLIC_READ, "bucket-owner-full-control", "bucket-owner-read")
_GRANTABLE = frozenset({"s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"})
_ACTION_OF = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListObjects": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "GetBucketLocation": "s3:GetBucketLocation",
}
_EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"


def is_public(bucket: Bucket | None, operation: str, key: str) -> bool:
    """Whether anyone may do `operation` with the bucket, or with `key` in it."""
    action = _ACTION_OF.get(operation)
    if bucket is None or action is None:
        return False
    if bucket.settings.get(_ACL) == PUBLIC_READ and action != "s3:GetBucketLocation":
        return True
    policy = bucket.settings.get(_POLICY)
    if not isinstance(policy, str):
        return False
    resource = f"arn:aws:s3:::{bucket.name}"
    if action == "s3:GetObject":
        resource += f"/{key}"
    return any(
        action in _several(statement["Action"])
        and any(matches(pattern, resource) for pattern in _several(statement["Resource"]))
        for statement in _statements(json.loads(policy))
    )


# -- policies -------------------------------------------------------------------------------------


async def get_bucket_policy(call: Call) -> None:
    """GetBucketPolicy: the document as it was put."""
    policy = call.store.buckets.check(call.bucket).settings.get(_POLICY)
    if not isinstance(policy, str):
        raise S3Error("NoSuchBucketPolicy", "the bucket has no policy")
    data = policy.encode()
    call.request.setHeader(b"content-type", b"application/json")
    call.request.setHeader(b"content-length", b"%d" % len(data))
    call.request.write(data)


async def put_bucket_policy(call: Call) -> None:
    """PutBucketPolicy: 501 for one that grants more than reading by anyone."""
    call.store.buckets.check(call.bucket)
    data = await with_checked_body(call).read(_LONGEST_POLICY_BYTES)
    try:
        policy = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise S3Error("MalformedPolicy", f"the policy isn't JSON: {error}") from error
    _check_policy(policy, call.bucket)
    await set_bucket_setting(call.store, call.bucket, _POLICY, json.dumps(policy))
    call.no_content()


async def delete_bucket_policy(call: Call) -> None:
    """DeleteBucketPolicy."""
    call.store.buckets.check(call.bucket)
    await set_bucket_setting(call.store, call.bucket, _POLICY, None)
    call.no_content()


async def get_policy_status(call: Call) -> None:
    """GetBucketPolicyStatus: a bucket with a policy is public, for nothing else can be granted."""
    if not isinstance(call.store.buckets.check(call.bucket).settings.get(_POLICY), str):
        raise S3Error("NoSuchBucketPolicy", "the bucket has no policy")
    call.write_xml(document("PolicyStatus", elements(IsPublic="true")))


def _check_policy(policy: Any, bucket: str) -> None:
    if not isinstance(policy, dict) or not _statements(policy):
        raise S3Error("MalformedPolicy", "a policy has statements")
    for statement in _statements(policy):
        if not isinstance(statement, dict):
            raise S3Error("MalformedPolicy", "a statement is an object")
        unknown = statement.keys() - {"Sid", "Effect", "Principal", "Action", "Resource"}
        if unknown:
            raise _not_honoured(f"{min(unknown)[:64]} in a policy")
        if statement.get("Effect") != "Allow":
            raise _not_honoured("a statement that doesn't allow")
        if statement.get("Principal") not in ("*", {"AWS": "*"}, {"AWS": ["*"]}):
            raise _not_honoured("a principal other than everybody")
        actions, resources = (_several(statement.get(name)) for name in ("Action", "Resource"))
        if not actions or not resources:
            raise S3Error("MalformedPolicy", "a statement has an Action and a Resource")
        for action in actions:
            if action not in _GRANTABLE:
                raise _not_honoured(f"the action {action[:64]}")
        ours = f"arn:aws:s3:::{bucket}"
        for resource in resources:
            if resource != ours and not resource.startswith(ours + "/"):
                raise S3Error("MalformedPolicy", "a resource isn't in the bucket")


def _not_honoured(what: str) -> S3Error:
    granted = ", ".join(sorted(_GRANTABLE))
    return S3Error("NotImplemented", f"{what} isn't implemented: policies can grant {granted} to *")


def _statements(policy: Mapping[str, Any]) -> list[Any]:
    statements = policy.get("Statement")
    return statements if isinstance(statements, list) else [statements] if statements else []


def _several(value: Any) -> list[str]:
    return [str(each) for each in (value if isinstance(value, list) else [value] if value else [])]


# -- canned ACLs ----------------------------------------------------------------------------------


def check_canned(acl: str) -> None:
    """Raise S3Error NotImplemented for a canned ACL that isn't honoured."""
    if acl not in _CANNED:
        raise S3Error("NotImplemented", f"the canned ACL {acl[:64]} isn't implemented")


def refuse_grants(call: Call) -> None:
    """Raise S3Error NotImplemented for x-amz-grant-*: nobody would be granted anything."""
    for name, _ in header_items(call.request):
        if name.startswith(b"x-amz-grant-"):
            raise S3Error("NotImplemented", f"{name.decode('latin-1')} isn't implemented")


async def get_bucket_acl(call: Call) -> None:
    """GetBucketAcl."""
    acl = call.store.buckets.check(call.bucket).settings.get(_ACL)
    call.write_xml(_acl(public=acl == PUBLIC_READ))


async def put_bucket_acl(call: Call) -> None:
    """PutBucketAcl: `private`, or `public-read`, which opens all of the bucket to readers."""
    call.store.buckets.check(call.bucket)
    acl = await _wanted(call)
    check_canned(acl)
    setting = PUBLIC_READ if acl == PUBLIC_READ else None
    await set_bucket_setting(call.store, call.bucket, _ACL, setting)
    call.no_content(200)


async def get_object_acl(call: Call) -> None:
    """GetObjectAcl: objects are as public as their bucket."""
    await head(call.store, Get(call.bucket, call.key))
    bucket = call.store.buckets.check(call.bucket)
    call.write_xml(_acl(public=is_public(bucket, "GetObject", call.key)))


async def put_object_acl(call: Call) -> None:
    """PutObjectAcl: what an object's bucket says already can be said of the object."""
    await head(call.store, Get(call.bucket, call.key))
    acl = await _wanted(call)
    check_canned(acl)
    bucket = call.store.buckets.check(call.bucket)
    if acl == PUBLIC_READ and not is_public(bucket, "GetObject", call.key):
        raise S3Error("NotImplemented", "an object can't be more public than its bucket")
    call.no_content(200)


async def _wanted(call: Call) -> str:
    """The canned ACL of the header, or what the body's grants amount to."""
    refuse_grants(call)
    data = await with_checked_body(call).read()
    acl = call.header(b"x-amz-acl")
    if acl is not None or not data.strip():
        return acl or "private"
    grants = parse(data, "AccessControlPolicy").iterfind("AccessControlList/Grant")
    wanted = "private"
    for grant in grants:
        everybody = grant.findtext("Grantee/URI") == _EVERYBODY
        permission = grant.findtext("Permission")
        if everybody and permission == "READ":
            wanted = PUBLIC_READ
        elif everybody or permission != "FULL_CONTROL":
            raise S3Error("NotImplemented", "only canned ACLs are implemented")
    return wanted


def _acl(*, public: bool) -> bytes:
    def grant(kind: str, permission: str, *grantee: Markup) -> Markup:
        instance = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        inner = "".join(grantee)
        return element(
            "Grant",
            Markup(f'<Grantee {instance} xsi:type="{kind}">{inner}</Grantee>'),
            elements(Permission=permission),
        )

    who = owner()
    own = Markup(who.removeprefix("<Owner>").removesuffix("</Owner>"))
    grants = [grant("CanonicalUser", "FULL_CONTROL", own)]
    if public:
        grants.append(grant("Group", "READ", elements(URI=_EVERYBODY)))
    return document("AccessControlPolicy", who, element("AccessControlList", *grants))
