"""The subresource ?tagging of an object. A change of tags is a new write of the object.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html
"""

from __future__ import annotations

from aosd.doors.s3.call import Call
from aosd.doors.s3.checksums import with_checked_body
from aosd.doors.s3.tags import NAME, Tags, checked_tags, kept_tags, tags_in
from aosd.doors.s3.xml_in import malformed
from aosd.doors.s3.xml_out import document, element, elements
from aosd.gateway.get import head
from aosd.gateway.requests import Get
from aosd.gateway.rewrite import rewrite
from aosd.model.objects import Headers, ObjectHead

_LONGEST_DOCUMENT_BYTES = 64 * 1024


async def get_object_tagging(call: Call) -> None:
    """GetObjectTagging: an empty set where there are none."""
    found = await head(call.store, Get(call.bucket, call.key))
    tags = (
        element("Tag", elements(Key=key, Value=value)) for key, value in tags_in(found.head.own)
    )
    call.write_xml(document("Tagging", element("TagSet", *tags)))


async def put_object_tagging(call: Call) -> None:
    """PutObjectTagging: these and no others. Its body's digests are checked."""
    root = await with_checked_body(call).document("Tagging", _LONGEST_DOCUMENT_BYTES)
    tag_set = root.find("TagSet")
    if tag_set is None:
        raise malformed("a Tagging without a TagSet")
    # White space is part of a tag.
    tags = checked_tags(
        (each.findtext("Key") or "", each.findtext("Value") or "")
        for each in tag_set.iterfind("Tag")
    )
    await _change(call, tags)
    call.no_content(200)


async def delete_object_tagging(call: Call) -> None:
    """DeleteObjectTagging."""
    await _change(call, ())
    call.no_content()


async def _change(call: Call, tags: Tags) -> None:
    def changed(present: ObjectHead) -> Headers:
        others = tuple(each for each in present.own if each[0] != NAME)
        return others + kept_tags(tags)

    await rewrite(call.store, call.bucket, call.key, changed)
