"""How many of the files that may be open are clients' connections."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aosd.descriptors import for_clients


class DescriptorsTests(SynchronousTestCase):
    def test_requests_have_enough_left_for_their_nodes(self) -> None:
        self.assertEqual(for_clients(65_536, 1024, 2), 65_536 - 3 * 1024 - 100)
        self.assertEqual(for_clients(20_000, 10, 9), 20_000 - 100 - 100)

    def test_clients_have_half(self) -> None:
        self.assertEqual(for_clients(1024, 1024, 2), 512)
        self.assertEqual(for_clients(400, 10, 9), 200)
