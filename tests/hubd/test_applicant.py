"""Where an attach request came from, and who could read it."""

from __future__ import annotations

import pytest

from hubd.applicant import read_request
from tunnel.http1 import RequestReader
from yamux.carrier import UpgradeRefused


class Transport:
    def get_extra_info(self, name: str) -> None:
        return None


class Link:
    def __init__(self, peer: str, *, secure: bool = False, trusted: bool = False) -> None:
        self.peer, self.secure, self.trusted = peer, secure, trusted


class Front:
    def __init__(self, link: Link) -> None:
        self.link = link
        self.transport = Transport()


def read(link: Link, *lines: str):
    reader = RequestReader()
    extra = "".join(f"{line}\r\n" for line in lines)
    reader.feed(f"GET /api/v1/hubs/demo HTTP/1.1\r\nHost: hub\r\n{extra}\r\n".encode())
    return read_request(Front(link), reader.next_head())


@pytest.mark.parametrize(
    ("link", "lines", "source", "private"),
    [
        (Link("192.0.2.1"), (), "192.0.2.1", False),
        (Link("192.0.2.1", secure=True), (), "192.0.2.1", True),
        (Link("127.0.0.1"), (), "127.0.0.1", True),
        (Link("::1"), (), "::1", True),
        (Link(""), (), "", True),
        (Link("192.0.2.1"), ("X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https"), "192.0.2.1", False),
        (Link("10.0.0.1", trusted=True), ("X-Forwarded-For: 6.6.6.6, 1.1.1.1",), "1.1.1.1", False),
        (Link("10.0.0.1", trusted=True), ("X-Forwarded-Proto: http, https",), "10.0.0.1", True),
        (Link("127.0.0.1", trusted=True), ("X-Forwarded-Proto: https, http",), "127.0.0.1", False),
        (Link("127.0.0.1", trusted=True), ("X-Forwarded-For: " + "9" * 100,), "9" * 64, True),
    ],
)
def test_origin(link, lines, source, private):
    request = read(link, *lines)
    assert (request.source, request.private) == (source, private)


def test_secrets_are_not_printed():
    request = read(Link("127.0.0.1"), "Authorization: Bearer t0ken")
    assert request.authorization == b"Bearer t0ken" and "t0ken" not in repr(request)


def test_a_field_given_twice_is_refused():
    with pytest.raises(UpgradeRefused, match="agent-instance"):
        read(Link("127.0.0.1"), "X-Agent-Instance: a", "X-Agent-Instance: b")
