"""Routing on heads alone."""

from __future__ import annotations

import pytest

from hubd.reasons import BAD_TARGET, MISDIRECTED, NOT_FOUND, TRACE
from hubd.routes import Local, Route, Router, take_target
from tunnel.http1 import RequestReader


def head(target: str, host: str = "hub.example", method: str = "GET", *lines: str):
    reader = RequestReader()
    extra = "".join(line + "\r\n" for line in lines)
    reader.feed(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode("latin-1"))
    return reader.next_head()


PATHS = Router(None)
NAMES = Router("T.Example.")


@pytest.mark.parametrize(
    ("target", "agent", "prefix", "path", "out"),
    [
        ("/api/v1/proxy/a/x/y?q", "a", "/api/v1/proxy/a", "/x/y", "/api/v1/proxy/a/x/y?q"),
        ("/api/v1/proxy/a", "a", "/api/v1/proxy/a", "/", "/api/v1/proxy/a"),
        ("/api/v1/proxy/a/", "a", "/api/v1/proxy/a", "/", "/api/v1/proxy/a/"),
        ("/api/v1/proxy/a//b", "a", "/api/v1/proxy/a", "//b", "/api/v1/proxy/a//b"),
        ("/api/v1/proxy/a%2Eb/%2e%2e", "a.b", "/api/v1/proxy/a%2Eb", "/%2e%2e", "/api/v1/proxy/a%2Eb/%2e%2e"),
        ("http://hub.example/api/v1/proxy/a/x?q", "a", "/api/v1/proxy/a", "/x", "/api/v1/proxy/a/x?q"),
    ],
)
def test_path_routes(target, agent, prefix, path, out):
    route = PATHS.resolve(head(target))
    assert type(route) is Route
    assert (route.agent_id, route.prefix, route.path, route.target) == (
        agent, prefix.encode(), path.encode(), out.encode()
    )  # fmt: skip
    assert route.host is None


@pytest.mark.parametrize("host", ["a.t.example", "A.T.EXAMPLE:8443", "a.t.example."])
def test_b3_host_routes(host):
    route = NAMES.resolve(head("/api/v1/proxy/b/x?q", host))
    assert type(route) is Route
    assert (route.agent_id, route.prefix, route.path) == ("a", b"", b"/api/v1/proxy/b/x")


@pytest.mark.parametrize("host", ["t.example", "at.example", "a.t.example.org", "127.0.0.1", "[::1]:80"])
def test_other_hosts_are_routed_by_path(host):
    assert NAMES.resolve(head("/x", host)) is NOT_FOUND
    assert type(NAMES.resolve(head("/api/v1/proxy/b/x", host))) is Route


@pytest.mark.parametrize(
    ("query", "host", "rest"),
    [
        (b"x-proxy-host=a:1", b"a:1", b""),
        (b"a=1&x-proxy-host=a%3A1&b=%20&", b"a:1", b"a=1&b=%20&"),
        (b"x-proxy-host=a&x-proxy-host=a", b"a", b""),
        (b"x-proxy-host=", None, b""),
        (b"x-proxy-host", None, b"x-proxy-host"),
        (b"X-Proxy-Host=a", None, b"X-Proxy-Host=a"),
        (b"y=x-proxy-host=a", None, b"y=x-proxy-host=a"),
    ],
)
def test_target_in_the_query(query, host, rest):
    assert take_target(query) == (host, rest)


def test_two_targets_are_refused():
    assert PATHS.resolve(head("/api/v1/proxy/a/?x-proxy-host=a&x-proxy-host=b")) is BAD_TARGET
    assert PATHS.resolve(head("/api/v1/proxy/a/", "h", "GET", "X-Proxy-Host: a", "X-Proxy-Host: b")) is BAD_TARGET


@pytest.mark.parametrize("value", ["a%20b", "a%0d%0a", "%00", "%C3%A9", "a" * 256])
def test_targets_that_could_not_stand_in_a_field(value):
    assert PATHS.resolve(head(f"/api/v1/proxy/a/?x-proxy-host={value}")) is BAD_TARGET


def test_target_in_a_field_is_second_choice():
    route = PATHS.resolve(head("/api/v1/proxy/a/?x-proxy-host=q", "h", "GET", "X-Proxy-Host: f"))
    assert type(route) is Route and route.host == b"q" and route.target == b"/api/v1/proxy/a/"
    route = PATHS.resolve(head("/api/v1/proxy/a/", "h", "GET", "X-Proxy-Host: f"))
    assert type(route) is Route and route.host == b"f"


def test_what_the_hub_serves_itself():
    assert PATHS.resolve(head("/healthz")) is Local.HEALTH
    assert PATHS.resolve(head("/healthz?x")) is Local.HEALTH
    assert PATHS.resolve(head("/api/v1/hubs/a")) is Local.ATTACH
    assert PATHS.resolve(head("*", method="OPTIONS")) is Local.OPTIONS
    assert NAMES.resolve(head("/healthz", "a.t.example")) is not Local.HEALTH


def test_b17_trace_and_max_forwards():
    assert PATHS.resolve(head("/api/v1/proxy/a/", method="TRACE")) is TRACE
    for hops, kind in (("0", Local), ("00", Local), ("1", Route), ("x", Route), ("", Route)):
        found = PATHS.resolve(head("/api/v1/proxy/a/", "h", "OPTIONS", f"Max-Forwards: {hops}"))
        assert isinstance(found, kind), hops
    assert type(PATHS.resolve(head("/api/v1/proxy/a/", "h", "GET", "Max-Forwards: 0"))) is Route


@pytest.mark.parametrize(
    ("sni", "host", "fine"),
    [
        ("a.t.example", "a.t.example", True),
        ("A.T.example", "a.t.example:1", True),
        ("a.t.example", "b.t.example", False),
        ("a.t.example", "t.example", False),
        ("t.example", "a.t.example", True),
        ("other", "a.t.example", True),
        (None, "a.t.example", True),
    ],
)
def test_b5_server_name_and_host(sni, host, fine):
    assert (NAMES.resolve(head("/api/v1/proxy/x/", host), sni) is not MISDIRECTED) == fine
