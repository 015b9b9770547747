"""What every INode has to do, whatever S3 server is behind it.

`CASES` are coroutine functions by name; each takes a `Subject` and raises AssertionError
when the node doesn't keep the contract. They need no test framework:

    for name, case in CASES.items():
        await case(Subject(node, name, traits=SEAWEEDFS))

The subject's bucket and `aos-system` must exist and be the node's own for the while;
cases don't disturb each other, and may run twice. Give each a deadline: a node that never
answers is one way to break the contract.
"""

from __future__ import annotations

from collections.abc import Mapping

from aosd.testing.contract.buckets import BUCKETS
from aosd.testing.contract.listings import LISTINGS
from aosd.testing.contract.motion import MOTION
from aosd.testing.contract.objects import OBJECTS
from aosd.testing.contract.subject import Case
from aosd.testing.contract.uploads import UPLOADS

CASES: Mapping[str, Case] = {**OBJECTS, **LISTINGS, **UPLOADS, **BUCKETS, **MOTION}
"""The contract, by name."""
