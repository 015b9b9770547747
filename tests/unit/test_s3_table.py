"""The table of operations beside the one that Amazon's own client is made from."""

from __future__ import annotations

from typing import Any

import botocore.session
from twisted.trial.unittest import SynchronousTestCase

from aosd.doors.s3 import table


def model() -> Any:
    return botocore.session.get_session().get_service_model("s3")


class TableTests(SynchronousTestCase):
    def test_every_operation_stands_in_it_once(self) -> None:
        names = [each.name for each in table.OPERATIONS]
        self.assertEqual(len(names), len(set(names)))
        # What is newer than this table is answered by chance, and so is to be looked at.
        self.assertEqual(set(model().operation_names) - set(names), set())

    def test_a_request_selects_what_amazon_would(self) -> None:
        twins = {  # two names of one request; the first is the older
            "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
            "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
            "GetBucketNotification": "GetBucketNotificationConfiguration",
            "PutBucketNotification": "PutBucketNotificationConfiguration",
        }
        elsewhere = {"ListDirectoryBuckets", "WriteGetObjectResponse"}  # of other endpoints
        for name in model().operation_names:
            if name in elsewhere:
                continue
            operation = model().operation_model(name)
            path, _, raw_query = operation.http["requestUri"].partition("?")
            query = {
                item.partition("=")[0]: item.partition("=")[2] for item in raw_query.split("&")
            }
            query.pop("", None)
            headers = set()
            shape = operation.input_shape
            for member in shape.required_members if shape else ():
                place = shape.members[member].serialization
                if place.get("location") == "querystring":
                    query[place["name"]] = "1"
                elif place.get("location") == "header":
                    headers.add(place["name"].encode())
            level = "object" if "{Key+}" in path else "bucket" if "{Bucket}" in path else "service"
            found = table.find(operation.http["method"], level, query, frozenset(headers))
            assert found is not None, name
            self.assertIn(found.name, (name, twins.get(name, name), *_older(twins, name)))

    def test_what_the_query_says_beyond_is_ignored(self) -> None:
        for query in ({"x-id": "GetObject"}, {"Version": "2006-03-01"}, {"foo": ""}):
            found = table.find("GET", "object", query, frozenset())
            assert found is not None
            self.assertEqual(found.name, "GetObject")
        self.assertIsNone(table.find("PATCH", "object", {}, frozenset()))

    def test_a_change_of_what_a_verb_cant_change_isnt_one_of_the_whole(self) -> None:
        for verb, level, *query in (
            ("DELETE", "object", "acl"),
            ("DELETE", "object", "uploads"),
            ("PUT", "object", "uploads"),
            ("PUT", "object", "uploadId"),
            ("PUT", "object", "partNumber"),
            ("PUT", "object", "partNumber", "uploadId", "tagging"),
            ("DELETE", "bucket", "acl"),
            ("DELETE", "bucket", "versioning"),
            ("DELETE", "bucket", "analytics"),
            ("PUT", "bucket", "location"),
        ):
            found = table.find(verb, level, dict.fromkeys(query, ""), frozenset())
            self.assertIsNone(found, (verb, level, query))
        for verb, level, name in (("DELETE", "bucket", "id"), ("PUT", "object", "x-id")):
            self.assertIsNotNone(table.find(verb, level, {name: "1"}, frozenset()))

    def test_what_works_has_a_handler_and_what_is_missing_none(self) -> None:
        for each in table.OPERATIONS:
            missing = each.state is table.State.NOT_IMPLEMENTED
            self.assertEqual(each.handler is None, missing, each.name)


def _older(twins: dict[str, str], name: str) -> list[str]:
    return [old for old, new in twins.items() if new == name]
