"""Every operation of S3, how a request selects it, and what becomes of it here.

docs/s3.md is generated from this table.
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from aosd.doors.s3 import (
    access,
    attributes,
    buckets,
    copies,
    cors,
    listings,
    objects,
    removals,
    tagging,
    unconfigured,
    uploads,
)
from aosd.doors.s3.call import Handler
from aosd.doors.s3.identities import Needs


class State(StrEnum):
    """What becomes of an operation."""

    WORKS = "works"
    UNCONFIGURED = "answers as S3 does where nothing is configured"
    NOT_IMPLEMENTED = "501 NotImplemented"


SERVICE, BUCKET, OBJECT = "service", "bucket", "object"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    `level` is what its target names; `query` the names that must stand in the query, and
    `header` one that must be there. `needs` is the right that it takes
    on its bucket; None: whoever has a key pair may ask.
    """

    name: str
    verb: str
    level: str
    query: tuple[str, ...]
    header: bytes | None
    needs: Needs | None
    state: State
    handler: Handler | None


def _works(
    name: str,
    selector: str,
    needs: Needs | None,
    handler: Handler,
    *,
    header: bytes | None = None,
    state: State = State.WORKS,
) -> Operation:
    """`selector` is such as `GET bucket ?location`, or `PUT object ?partNumber&uploadId`."""
    verb, level, *query = selector.split()
    names = tuple(query[0].removeprefix("?").split("&")) if query else ()
    return Operation(name, verb, level, names, header, needs, state, handler)


def _plain(name: str, selector: str, needs: Needs | None, handler: Handler) -> Operation:
    return _works(name, selector, needs, handler, state=State.UNCONFIGURED)


def _missing(name: str, selector: str, header: bytes | None = None) -> Operation:
    verb, level, *query = selector.split()
    names = tuple(query[0].removeprefix("?").split("&")) if query else ()
    return Operation(name, verb, level, names, header, "admin", State.NOT_IMPLEMENTED, None)


OPERATIONS: tuple[Operation, ...] = (
    # -- the service ------------------------------------------------------------------------------
    _works("ListBuckets", "GET service", None, buckets.list_buckets),
    _missing("ListDirectoryBuckets", "GET service ?directory-buckets"),
    _missing("WriteGetObjectResponse", "POST service ?write-get-object-response"),
    # -- buckets ----------------------------------------------------------------------------------
    _works("CreateBucket", "PUT bucket", "write", buckets.create_bucket),
    _works("DeleteBucket", "DELETE bucket", "admin", buckets.delete_bucket),
    _works("HeadBucket", "HEAD bucket", "list", buckets.head_bucket),
    _works("GetBucketLocation", "GET bucket ?location", "list", buckets.get_bucket_location),
    _works("ListObjects", "GET bucket", "list", listings.list_objects_v1),
    _works("ListObjectsV2", "GET bucket ?list-type", "list", listings.list_objects_v2),
    _works("ListObjectVersions", "GET bucket ?versions", "list", listings.list_object_versions),
    _works("ListMultipartUploads", "GET bucket ?uploads", "list", uploads.list_multipart_uploads),
    _works("DeleteObjects", "POST bucket ?delete", "write", removals.delete_objects),
    _works("GetBucketAcl", "GET bucket ?acl", "list", access.get_bucket_acl),
    _works("PutBucketAcl", "PUT bucket ?acl", "admin", access.put_bucket_acl),
    _works("GetBucketPolicy", "GET bucket ?policy", "admin", access.get_bucket_policy),
    _works("PutBucketPolicy", "PUT bucket ?policy", "admin", access.put_bucket_policy),
    _works("DeleteBucketPolicy", "DELETE bucket ?policy", "admin", access.delete_bucket_policy),
    _works("GetBucketPolicyStatus", "GET bucket ?policyStatus", "list", access.get_policy_status),
    _works("GetBucketCors", "GET bucket ?cors", "list", cors.get_bucket_cors),
    _works("PutBucketCors", "PUT bucket ?cors", "admin", cors.put_bucket_cors),
    _works("DeleteBucketCors", "DELETE bucket ?cors", "admin", cors.delete_bucket_cors),
    # -- objects ----------------------------------------------------------------------------------
    _works("GetObject", "GET object", "read", objects.get_object),
    _works("HeadObject", "HEAD object", "read", objects.head_object),
    _works("PutObject", "PUT object", "write", objects.put_object),
    _works("DeleteObject", "DELETE object", "write", objects.delete_object),
    _works("CopyObject", "PUT object", "write", copies.copy_object, header=b"x-amz-copy-source"),
    _works(
        "GetObjectAttributes", "GET object ?attributes", "read", attributes.get_object_attributes
    ),
    _works("GetObjectAcl", "GET object ?acl", "read", access.get_object_acl),
    _works("PutObjectAcl", "PUT object ?acl", "write", access.put_object_acl),
    _works("GetObjectTagging", "GET object ?tagging", "read", tagging.get_object_tagging),
    _works("PutObjectTagging", "PUT object ?tagging", "write", tagging.put_object_tagging),
    _works("DeleteObjectTagging", "DELETE object ?tagging", "write", tagging.delete_object_tagging),
    # -- uploads in parts -------------------------------------------------------------------------
    _works(
        "CreateMultipartUpload", "POST object ?uploads", "write", uploads.create_multipart_upload
    ),
    _works("UploadPart", "PUT object ?partNumber&uploadId", "write", uploads.upload_part),
    _works(
        "UploadPartCopy",
        "PUT object ?partNumber&uploadId",
        "write",
        copies.upload_part_copy,
        header=b"x-amz-copy-source",
    ),
    _works(
        "CompleteMultipartUpload",
        "POST object ?uploadId",
        "write",
        uploads.complete_multipart_upload,
    ),
    _works(
        "AbortMultipartUpload", "DELETE object ?uploadId", "write", uploads.abort_multipart_upload
    ),
    _works("ListParts", "GET object ?uploadId", "read", uploads.list_parts),
    # -- what isn't configured --------------------------------------------------------------------
    *(
        _plain(name, f"GET bucket ?{query}", "list", unconfigured.answer_of(query))
        for name, query in (
            ("GetBucketAbac", "abac"),
            ("GetBucketAccelerateConfiguration", "accelerate"),
            ("GetBucketAnalyticsConfiguration", "analytics&id"),
            ("ListBucketAnalyticsConfigurations", "analytics"),
            ("GetBucketEncryption", "encryption"),
            ("GetBucketIntelligentTieringConfiguration", "intelligent-tiering&id"),
            ("ListBucketIntelligentTieringConfigurations", "intelligent-tiering"),
            ("GetBucketInventoryConfiguration", "inventory&id"),
            ("ListBucketInventoryConfigurations", "inventory"),
            ("GetBucketLifecycle", "lifecycle"),
            ("GetBucketLifecycleConfiguration", "lifecycle"),
            ("GetBucketLogging", "logging"),
            ("GetBucketMetadataConfiguration", "metadataConfiguration"),
            ("GetBucketMetadataTableConfiguration", "metadataTable"),
            ("GetBucketMetricsConfiguration", "metrics&id"),
            ("ListBucketMetricsConfigurations", "metrics"),
            ("GetBucketNotification", "notification"),
            ("GetBucketNotificationConfiguration", "notification"),
            ("GetObjectLockConfiguration", "object-lock"),
            ("GetBucketOwnershipControls", "ownershipControls"),
            ("GetPublicAccessBlock", "publicAccessBlock"),
            ("GetBucketReplication", "replication"),
            ("GetBucketRequestPayment", "requestPayment"),
            ("GetBucketTagging", "tagging"),
            ("GetBucketVersioning", "versioning"),
            ("GetBucketWebsite", "website"),
        )
    ),
    *(
        _plain(name, f"DELETE bucket ?{query}", "admin", unconfigured.nothing_to_delete)
        for name, query in (
            ("DeleteBucketAnalyticsConfiguration", "analytics&id"),
            ("DeleteBucketEncryption", "encryption"),
            ("DeleteBucketIntelligentTieringConfiguration", "intelligent-tiering&id"),
            ("DeleteBucketInventoryConfiguration", "inventory&id"),
            ("DeleteBucketLifecycle", "lifecycle"),
            ("DeleteBucketMetadataConfiguration", "metadataConfiguration"),
            ("DeleteBucketMetadataTableConfiguration", "metadataTable"),
            ("DeleteBucketMetricsConfiguration", "metrics&id"),
            ("DeleteBucketOwnershipControls", "ownershipControls"),
            ("DeletePublicAccessBlock", "publicAccessBlock"),
            ("DeleteBucketReplication", "replication"),
            ("DeleteBucketTagging", "tagging"),
            ("DeleteBucketWebsite", "website"),
        )
    ),
    _plain("GetObjectLegalHold", "GET object ?legal-hold", "read", unconfigured.no_object_lock),
    _plain("GetObjectRetention", "GET object ?retention", "read", unconfigured.no_object_lock),
    # -- what isn't there -------------------------------------------------------------------------
    *(
        _missing(name, f"PUT bucket ?{query}")
        for name, query in (
            ("PutBucketAbac", "abac"),
            ("PutBucketAccelerateConfiguration", "accelerate"),
            ("PutBucketAnalyticsConfiguration", "analytics"),
            ("PutBucketEncryption", "encryption"),
            ("PutBucketIntelligentTieringConfiguration", "intelligent-tiering"),
            ("PutBucketInventoryConfiguration", "inventory"),
            ("PutBucketLifecycle", "lifecycle"),
            ("PutBucketLifecycleConfiguration", "lifecycle"),
            ("PutBucketLogging", "logging"),
            ("UpdateBucketMetadataAnnotationTableConfiguration", "metadataAnnotationTable"),
            ("UpdateBucketMetadataInventoryTableConfiguration", "metadataInventoryTable"),
            ("UpdateBucketMetadataJournalTableConfiguration", "metadataJournalTable"),
            ("PutBucketMetricsConfiguration", "metrics"),
            ("PutBucketNotification", "notification"),
            ("PutBucketNotificationConfiguration", "notification"),
            ("PutObjectLockConfiguration", "object-lock"),
            ("PutBucketOwnershipControls", "ownershipControls"),
            ("PutPublicAccessBlock", "publicAccessBlock"),
            ("PutBucketReplication", "replication"),
            ("PutBucketRequestPayment", "requestPayment"),
            ("PutBucketTagging", "tagging"),
            ("PutBucketVersioning", "versioning"),
            ("PutBucketWebsite", "website"),
        )
    ),
    _missing("CreateBucketMetadataConfiguration", "POST bucket ?metadataConfiguration"),
    _missing("CreateBucketMetadataTableConfiguration", "POST bucket ?metadataTable"),
    _missing("CreateSession", "GET bucket ?session"),
    _missing("GetObjectAnnotation", "GET object ?annotation&annotationName"),
    _missing("ListObjectAnnotations", "GET object ?annotation"),
    _missing("PutObjectAnnotation", "PUT object ?annotation"),
    _missing("DeleteObjectAnnotation", "DELETE object ?annotation"),
    _missing("GetObjectTorrent", "GET object ?torrent"),
    _missing("PutObjectLegalHold", "PUT object ?legal-hold"),
    _missing("PutObjectRetention", "PUT object ?retention"),
    _missing("UpdateObjectEncryption", "PUT object ?encryption"),
    _missing("RenameObject", "PUT object ?renameObject"),
    _missing("RestoreObject", "POST object ?restore"),
    _missing("SelectObjectContent", "POST object ?select"),
)


def _selectivity(operation: Operation) -> int:
    return 2 * len(operation.query) + (operation.header is not None)


# The most particular first: `?partNumber&uploadId` before `?uploadId` before none.
_BY_VERB: dict[tuple[str, str], list[Operation]] = {}
for _each in sorted(OPERATIONS, key=_selectivity, reverse=True):
    _BY_VERB.setdefault((_each.level, _each.verb), []).append(_each)

_WHICH = frozenset({"id", "annotationName"})  # they only tell which of several
# What a query names of a target beside the target itself.
_PARTS: dict[str, frozenset[str]] = {
    level: frozenset(name for each in OPERATIONS if each.level == level for name in each.query)
    - _WHICH
    for level in (SERVICE, BUCKET, OBJECT)
}


def level_of(bucket: str, key: str) -> str:
    """What a target names."""
    return OBJECT if key else BUCKET if bucket else SERVICE


def find(
    verb: str, level: str, query: Mapping[str, str], headers: frozenset[bytes]
) -> Operation | None:
    """The operation that a request asks for; None when there is none of its verb.

    What the query says beyond that is ignored, as S3 does. But where it names what the verb
    doesn't fit (a DELETE of `?acl`), a change would be one of the whole object or bucket: that
    is none. `headers` are lower-case names.
    """
    for operation in _BY_VERB.get((level, verb), ()):
        if operation.header is not None and operation.header not in headers:
            continue
        if all(name in query for name in operation.query):
            strange = _PARTS[level].intersection(query).difference(operation.query)
            return None if strange and verb not in ("GET", "HEAD") else operation
    return None


def verbs_at(level: str) -> tuple[str, ...]:
    """The verbs that are known at a level, for Allow."""
    return tuple(sorted({verb for at, verb in _BY_VERB if at == level}))
