"""The contract of INode, on the in-memory node and on real S3 servers."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from aosd.testing.contract.cases import CASES
from aosd.testing.contract.subject import Subject
from aosd.testing.memory_node import MemoryNode
from tests.contract.conftest import Candidate

CASE_S = 60.0


@pytest.mark.parametrize("name", CASES)
@pytest_twisted.ensureDeferred
async def test_keeps_the_contract(candidate: Candidate, name: str) -> None:
    from twisted.internet import reactor

    candidate.health.failures.clear()
    running = Deferred.fromCoroutine(
        CASES[name](Subject(candidate.node, name, traits=candidate.traits))
    )
    await running.addTimeout(CASE_S, reactor)
    # 404, 416 and what clients do are nothing that speaks against a node.
    assert candidate.health.failures == []
    if isinstance(candidate.node, MemoryNode):
        assert candidate.node.open_readings == 0
        assert not candidate.node.uploads
