"""What clients of the simulated world can ask for, by name; each returns an Operation at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aosd.model.objects import OBJECT_BUCKET
from aosd.testing.simulation.bucket_operations import Buckets, Listing, Making, Removing
from aosd.testing.simulation.copy_operations import Copying, Tagging, Touching
from aosd.testing.simulation.operations import (
    Deleting,
    Getting,
    Heading,
    Operation,
    Putting,
    Ranging,
)
from aosd.testing.simulation.reference import Write
from aosd.testing.simulation.upload_operations import (
    Aborting,
    Beginning,
    ClientUpload,
    Completing,
    ListingParts,
    ListingUploads,
    Repeating,
    SendingPart,
)

if TYPE_CHECKING:
    from aosd.testing.simulation.world import World


class Clientele:
    """The part of a World that is its clients."""

    @property
    def _world(self) -> World:
        return cast("World", self)

    def _begin(self, operation: Operation) -> Any:
        self._world.trace(f"  {operation.what} …")
        operation.begin()
        self._world.promise.check_problems()
        return operation

    def put(self, key: str, data: bytes, **how: Any) -> Putting:
        """See Putting."""
        return self._begin(Putting(self._world, key, data, **how))  # type: ignore[no-any-return]

    def delete(self, key: str) -> Deleting:
        """See Deleting."""
        return self._begin(Deleting(self._world, key))  # type: ignore[no-any-return]

    def get(self, key: str, **how: Any) -> Getting:
        """See Getting."""
        return self._begin(Getting(self._world, key, **how))  # type: ignore[no-any-return]

    def get_range(self, key: str, first: int, last: int, **how: Any) -> Ranging:
        """See Ranging."""
        return self._begin(Ranging(self._world, key, first, last, **how))  # type: ignore[no-any-return]

    def head(self, key: str, **how: Any) -> Heading:
        """See Heading."""
        return self._begin(Heading(self._world, key, **how))  # type: ignore[no-any-return]

    def list(self, limit: int = 1000, prefix: str = "", bucket: str = OBJECT_BUCKET) -> Listing:
        """See Listing."""
        return self._begin(Listing(self._world, limit, prefix, bucket))  # type: ignore[no-any-return]

    def make_bucket(self, bucket: str) -> Making:
        """See Making."""
        return self._begin(Making(self._world, bucket))  # type: ignore[no-any-return]

    def remove_bucket(self, bucket: str) -> Removing:
        """See Removing."""
        return self._begin(Removing(self._world, bucket))  # type: ignore[no-any-return]

    def list_buckets(self) -> Buckets:
        """See Buckets."""
        return self._begin(Buckets(self._world))  # type: ignore[no-any-return]

    def copy(self, source: Write, target: str, tags: bytes = b"") -> Copying:
        """See Copying."""
        return self._begin(Copying(self._world, source, target, tags))  # type: ignore[no-any-return]

    def touch(self, source: Write) -> Touching:
        """See Touching."""
        return self._begin(Touching(self._world, source))  # type: ignore[no-any-return]

    def tag(self, key: str, tags: bytes) -> Tagging:
        """See Tagging."""
        return self._begin(Tagging(self._world, key, tags))  # type: ignore[no-any-return]

    def begin_upload(self, key: str) -> Beginning:
        """See Beginning."""
        return self._begin(Beginning(self._world, key))  # type: ignore[no-any-return]

    def send_part(self, upload: ClientUpload, number: int, data: bytes, **how: Any) -> SendingPart:
        """See SendingPart."""
        return self._begin(  # type: ignore[no-any-return]
            SendingPart(self._world, upload, number, data, **how)
        )

    def complete_upload(self, upload: ClientUpload) -> Completing | Repeating:
        """See Completing, and Repeating once it is completed."""
        if upload.over == "completed" and upload.over_run is self._world.gateway:
            return self._begin(Repeating(self._world, upload))  # type: ignore[no-any-return]
        return self._begin(Completing(self._world, upload))  # type: ignore[no-any-return]

    def abort_upload(self, upload: ClientUpload) -> Aborting:
        """See Aborting."""
        return self._begin(Aborting(self._world, upload))  # type: ignore[no-any-return]

    def list_parts(self, upload: ClientUpload) -> ListingParts:
        """See ListingParts."""
        return self._begin(ListingParts(self._world, upload))  # type: ignore[no-any-return]

    def list_uploads(self, bucket: str = OBJECT_BUCKET) -> ListingUploads:
        """See ListingUploads."""
        return self._begin(ListingUploads(self._world, bucket))  # type: ignore[no-any-return]
