"""Which host a request means: one, or it is refused, whichever door it knocks at."""

from __future__ import annotations

from tests.unit.s3_case import S3TestCase


class HostTests(S3TestCase):
    def asked(self, *lines: str) -> tuple[int, str, bytes]:
        data = "\r\n".join([*lines, "", ""]).encode()
        status, headers, body = self.exchange(data)
        return status, headers["content-type"], body

    def test_two_are_refused(self) -> None:
        hosts = "Host: 127.0.0.1:3000", "Host: photos.s3.example.org"
        status, kind, body = self.asked("GET /photos-1/k HTTP/1.1", *hosts)
        self.assertEqual((status, kind), (400, "application/xml"))
        self.assertIn(b"<Code>InvalidRequest</Code>", body)
        for path in ("/object/a", "/-/health"):
            status, kind, _ = self.asked(f"GET {path} HTTP/1.1", *hosts[:1], *hosts[:1])
            self.assertEqual((status, kind), (400, "application/json"))

    def test_none_is_refused_but_for_clients_of_old(self) -> None:
        self.assertEqual(self.asked("GET /-/health HTTP/1.1")[0], 400)
        self.assertEqual(self.asked("GET /-/health HTTP/1.0")[0], 200)
