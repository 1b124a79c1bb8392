"""Paths from our own hub, which passes them on as they came, and from hubs that decode them."""

from __future__ import annotations

import pytest

from agentd.paths import origin_target
from tunnel.http1 import BadMessage, RequestReader


def read(target: bytes, named: bytes | None, base: bytes = b"") -> bytes:
    reader = RequestReader(trusted=True)
    field = b"" if named is None else b"X-Proxy-Path: " + named + b"\r\n"
    reader.feed(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n" + field + b"\r\n")
    head = reader.next_head()
    assert head is not None
    return origin_target(head, base)


@pytest.mark.parametrize(
    ("target", "named", "wanted"),
    [
        (b"/api/v1/proxy/a/hello", b"/hello", b"/hello"),
        (b"/api/v1/proxy/a/hello?q=1&q=%20", b"/hello", b"/hello?q=1&q=%20"),
        (b"/api/v1/proxy/a/hello?", b"/hello", b"/hello?"),
        (b"/api/v1/proxy/a/%2e%2e/%00//x", b"/%2e%2e/%00//x", b"/%2e%2e/%00//x"),
        (b"/api/v1/proxy/a//evil", b"//evil", b"//evil"),
        (b"/api/v1/proxy/a", b"/", b"/"),
        (b"/by/host?x-proxy-host=kept", b"/by/host", b"/by/host?x-proxy-host=kept"),
        (b"/api/v1/proxy/a/x%2541", b"/x%2541", b"/x%2541"),
    ],
)
def test_b10_our_hub_paths_go_through_byte_for_byte(target, named, wanted):
    assert read(target, named) == wanted


@pytest.mark.parametrize(
    ("target", "named", "wanted"),
    [
        (b"/api/v1/proxy/a/hello?x-proxy-host=h:1", b"/hello", b"/hello"),
        (b"/api/v1/proxy/a/hello?a=1&x-proxy-host=h:1&b=2", b"/hello", b"/hello?a=1&b=2"),
        (b"/api/v1/proxy/a/a%20b?x-proxy-host=h", b"/a b", b"/a%20b"),
        (b"/api/v1/proxy/a/x%2541?x-proxy-host=h", b"/x%41", b"/x%2541"),
        (b"/api/v1/proxy/a/a%2Fb", b"/a/b", b"/a%2Fb"),
        (b"/api/v1/proxy/a/%C3%A9", "/é".encode(), b"/%C3%A9"),
        (b"/api/v1/proxy/a/what%3Fnow?x=1", b"/what?now", b"/what%3Fnow?x=1"),
        (b"/api/v1/proxy/a?x-proxy-host=h", b"/", b"/"),
        # Cleaned up by a framework on the way: spelled anew.
        (b"/api/v1/proxy/a/b/../c%20d", b"/c d", b"/c%20d"),
        (b"/api/v1/proxy/a/b/../100%25", b"/100%", b"/100%25"),
        (b"/elsewhere", b"/rewritten/path", b"/rewritten/path"),
        (b"/elsewhere", b"/sp ace", b"/sp%20ace"),
    ],
)
def test_decoded_paths_get_their_spelling_back(target, named, wanted):
    assert read(target, named) == wanted


def test_without_a_named_path_the_target_is_taken():
    assert read(b"/x?y=1", None) == b"/x?y=1"


def test_base_goes_in_front():
    assert read(b"/api/v1/proxy/a/x?y", b"/x", b"/base") == b"/base/x?y"
    assert read(b"/api/v1/proxy/a/x?", b"/x", b"/base") == b"/base/x?"
    assert read(b"/api/v1/proxy/a/x", b"/x", b"/base") == b"/base/x"


@pytest.mark.parametrize("named", [b"", b"x", b"http://evil/", b"*"])
def test_what_is_no_path(named):
    with pytest.raises(BadMessage) as caught:
        read(b"/api/v1/proxy/a/x", named)
    assert (caught.value.status, caught.value.reason) == (400, "bad_proxy_path")


@pytest.mark.parametrize("named", [b"/a HTTP/1.1", b"/\xff", b"/a\tb", b"/a#b", b"/a\\b"])
def test_named_paths_cannot_break_the_request_line(named):
    line = read(b"/elsewhere", named)
    assert not set(line) & set(b" \t#\\\xff")
