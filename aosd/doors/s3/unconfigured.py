"""Answers about what aosd doesn't do, as S3 gives them where nothing is configured."""

from __future__ import annotations

from aosd.doors.s3.call import Call, Handler
from aosd.doors.s3.errors import S3Error
from aosd.doors.s3.xml_out import Markup, document, elements
from aosd.gateway.get import head
from aosd.gateway.requests import Get

_NOT_FOUND = {
    "analytics&id": ("NoSuchConfiguration", "there is no such configuration"),
    "encryption": (
        "ServerSideEncryptionConfigurationNotFoundError",
        "the bucket has no encryption configuration",
    ),
    "intelligent-tiering&id": ("NoSuchConfiguration", "there is no such configuration"),
    "inventory&id": ("NoSuchConfiguration", "there is no such configuration"),
    "lifecycle": ("NoSuchLifecycleConfiguration", "the bucket has no lifecycle configuration"),
    "metadataConfiguration": (
        "MetadataConfigurationNotFound",
        "the bucket has no metadata configuration",
    ),
    "metadataTable": ("MetadataConfigurationNotFound", "the bucket has no metadata configuration"),
    "metrics&id": ("NoSuchConfiguration", "there is no such configuration"),
    "object-lock": (
        "ObjectLockConfigurationNotFoundError",
        "the bucket has no object lock configuration",
    ),
    "ownershipControls": (
        "OwnershipControlsNotFoundError",
        "the bucket has no ownership controls",
    ),
    "publicAccessBlock": (
        "NoSuchPublicAccessBlockConfiguration",
        "the bucket has no public access block configuration",
    ),
    "replication": (
        "ReplicationConfigurationNotFoundError",
        "the bucket has no replication configuration",
    ),
    "tagging": ("NoSuchTagSet", "the bucket has no tags"),
    "website": ("NoSuchWebsiteConfiguration", "the bucket has no website configuration"),
}

_DOCUMENTS: dict[str, tuple[str, Markup]] = {
    "abac": ("AbacStatus", elements(Status="Disabled")),
    "accelerate": ("AccelerateConfiguration", Markup()),
    "analytics": ("ListBucketAnalyticsConfigurationResult", elements(IsTruncated="false")),
    "intelligent-tiering": (
        "ListBucketIntelligentTieringConfigurationsOutput",
        elements(IsTruncated="false"),
    ),
    "inventory": ("ListInventoryConfigurationsResult", elements(IsTruncated="false")),
    "logging": ("BucketLoggingStatus", Markup()),
    "metrics": ("ListMetricsConfigurationsResult", elements(IsTruncated="false")),
    "notification": ("NotificationConfiguration", Markup()),
    "requestPayment": ("RequestPaymentConfiguration", elements(Payer="BucketOwner")),
    "versioning": ("VersioningConfiguration", Markup()),
}


def answer_of(query: str) -> Handler:
    """Who answers a GET of a bucket with this query."""
    if query in _NOT_FOUND:
        code, message = _NOT_FOUND[query]

        async def not_found(call: Call) -> None:
            call.store.buckets.check(call.bucket)
            raise S3Error(code, message)

        return not_found
    name, content = _DOCUMENTS[query]

    async def as_it_is(call: Call) -> None:
        call.store.buckets.check(call.bucket)
        call.write_xml(document(name, content))

    return as_it_is


async def nothing_to_delete(call: Call) -> None:
    """A configuration that isn't there is deleted as S3 deletes it: with 204."""
    call.store.buckets.check(call.bucket)
    call.no_content()


async def no_object_lock(call: Call) -> None:
    """Legal hold and retention of an object."""
    await head(call.store, Get(call.bucket, call.key))
    raise S3Error("NoSuchObjectLockConfiguration", "the object has no object lock configuration")
