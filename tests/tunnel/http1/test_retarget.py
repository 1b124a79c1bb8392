from __future__ import annotations

import pytest

from tunnel.http1 import BadMessage, RequestHead, RequestReader


def head_of(reader: RequestReader, wire: bytes) -> RequestHead:
    reader.feed(wire)
    head = reader.next_head()
    assert head is not None
    return head


@pytest.mark.parametrize("target", [b"/b", b"/b?c=d", b"/", b"/%41?", b"/api/v1/proxy/a/x?x-proxy-host=h:1"])
@pytest.mark.parametrize(
    "rest", [b"Host: h\r\nA: b\r\n", b"Host: h\r\nVia: 1.1 x\r\nConnection: keep-alive, A\r\nA: b\r\n"]
)
def test_a_head_that_differs_in_its_target_reads_as_if_it_were_the_first(target: bytes, rest: bytes) -> None:
    wire = b"GET %b HTTP/1.1\r\n%b\r\n"
    reader = RequestReader()
    first = head_of(reader, wire % (b"/a?x", rest))
    second = head_of(reader, wire % (target, rest))
    fresh = head_of(RequestReader(), wire % (target, rest))
    assert second.kin is first.kin and second is not first
    for name in RequestHead.__slots__:
        if name != "kin":
            assert getattr(second, name) == getattr(fresh, name), name


@pytest.mark.parametrize(
    "line",
    [
        b"POST /b HTTP/1.1",
        b"GET /b HTTP/1.0",
        b"GET http://h/b HTTP/1.1",
        b'GET /b" HTTP/1.1',
        b"GET /b HTTP/1.1\r\nA: b",
    ],
)
def test_a_head_that_differs_in_more_is_read_anew(line: bytes) -> None:
    rest = b"\r\nHost: h\r\n\r\n"
    reader = RequestReader()
    first = head_of(reader, b"GET /a HTTP/1.1" + rest)
    second = head_of(reader, line + rest)
    fresh = head_of(RequestReader(), line + rest)
    assert second.kin is not first.kin
    for name in RequestHead.__slots__:
        assert getattr(second, name) == getattr(fresh, name), name


@pytest.mark.parametrize(
    "line",
    [
        b"GET /b HTTP/1.2",
        b"GET  /b HTTP/1.1",
        b"GET /b  HTTP/1.1",
        b"GET /b\t HTTP/1.1",
        b"GET /b#c HTTP/1.1",
        b"GET b HTTP/1.1",
        b"get /b HTTP/1.1",
        b"GET /b\x80 HTTP/1.1",
        b"GET /b\r HTTP/1.1",
        b"GET /b\n HTTP/1.1",
        b"GET /b",
        b"GET /" + b"b" * 9000 + b" HTTP/1.1",
    ],
)
def test_a_bad_request_line_is_as_bad_behind_a_good_one(line: bytes) -> None:
    rest = b"\r\nHost: h\r\n\r\n"
    reader = RequestReader()
    head_of(reader, b"GET /a HTTP/1.1" + rest)
    with pytest.raises(BadMessage) as second:
        head_of(reader, line + rest)
    with pytest.raises(BadMessage) as fresh:
        head_of(RequestReader(), line + rest)
    assert (second.value.status, second.value.reason) == (fresh.value.status, fresh.value.reason)
