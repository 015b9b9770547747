"""Which host a request means: one, or it is refused, whichever door it knocks at."""

from __future__ import annotations

from tests.unit.s3_case import S3TestCase


class HostTests(S3TestCase):
    def asked(self, *lines: str) -> int:
        status, _, _ = self.exchange("\r\n".join([*lines, "", ""]).encode())
        return status

    def test_two_are_refused(self) -> None:
        hosts = "Host: 127.0.0.1:3000", "Host: photos.s3.example.org"
        for path in ("/photos-1/k", "/object/a", "/-/health"):
            self.assertEqual(self.asked(f"GET {path} HTTP/1.1", *hosts), 400)
            self.assertEqual(self.asked(f"GET {path} HTTP/1.1", *hosts[:1], *hosts[:1]), 400)

    def test_none_is_refused_but_for_clients_of_old(self) -> None:
        self.assertEqual(self.asked("GET /-/health HTTP/1.1"), 400)
        self.assertEqual(self.asked("GET /-/health HTTP/1.0"), 200)
