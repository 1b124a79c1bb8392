"""However the bytes are cut, the outcome is one: random damage, random cuts, small limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunnel.http1 import Limits

Read = Callable[..., Any]

REQUESTS = [
    b"GET /a?b=c HTTP/1.1\r\nHost: a.example:80\r\nUser-Agent: x\r\nConnection: keep-alive, X-Foo\r\nX-Foo: \xff\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        b'5\r\nhello\r\n3;a=b;c="d"\r\nabc\r\n0\r\nX: y\r\nZ: t\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'
    ),
    b"GET http://a.b/c HTTP/1.1\r\nHost: a.b\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    (
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\x81\x00abc"
    ),
]
RESPONSES = [
    (
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 204 No Content\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nX"
    ),
    b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nabc",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: yamux\r\nConnection: Upgrade\r\n\r\nabc",
]
DAMAGE = [
    b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b";", b"_", b"#", b",", b"\x7f", b"\xff", b"0", b"%", b"\\", b'"', b"\x0b",
    b"Content-Length: 3\r\n", b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"Upgrade: x\r\n",
    b"Connection: close\r\n", b"X_Forwarded_For: a\r\n", b"a" * 40, b"\r\n\r\n", b"HTTP/1.1", b"chunked",
]  # fmt: skip
SMALL = Limits(
    target=30,
    line=60,
    head=200,
    fields=8,
    body=9,
    chunk_overhead=20,
    response_head=150,
    response_fields=5,
    informational=1,
)


@st.composite
def damaged(draw: st.DrawFn, messages: list[bytes]) -> tuple[bytes, list[int], Limits]:
    raw = bytearray(draw(st.sampled_from(messages)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        kind = draw(st.sampled_from(["insert", "replace", "delete", "repeat"]))
        if kind == "insert":
            raw[at:at] = draw(st.sampled_from(DAMAGE))
        elif kind == "replace":
            raw[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "delete":
            del raw[at : at + draw(st.integers(1, 5))]
        else:
            raw[at:at] = raw[at : at + draw(st.integers(1, 80))]
    marks = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    return bytes(raw), marks, draw(st.sampled_from([Limits(), SMALL]))


def pieces(raw: bytes, marks: list[int]) -> list[bytes]:
    return [raw[a:b] for a, b in zip([0, *marks], [*marks, len(raw)], strict=True)]


@settings(max_examples=400, deadline=None)
@given(case=damaged(REQUESTS))
def test_e15_requests_read_the_same_however_cut(drive_req: Read, case: tuple[bytes, list[int], Limits]) -> None:
    raw, marks, limits = case
    whole = drive_req([raw], limits).verdict()
    assert drive_req(pieces(raw, marks), limits).verdict() == whole
    assert drive_req([raw[i : i + 1] for i in range(len(raw))], limits).verdict() == whole


@settings(max_examples=300, deadline=None)
@given(case=damaged(RESPONSES))
def test_e15_responses_read_the_same_however_cut(drive_resp: Read, case: tuple[bytes, list[int], Limits]) -> None:
    raw, marks, limits = case
    methods = [b"GET", b"GET", b"HEAD", b"GET"]
    whole = drive_resp([raw], methods, limits).verdict()
    assert drive_resp(pieces(raw, marks), methods, limits).verdict() == whole
    assert drive_resp([raw[i : i + 1] for i in range(len(raw))], methods, limits).verdict() == whole


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=200), marks=st.lists(st.integers(0, 200), max_size=5).map(sorted))
def test_rubbish_raises_nothing_but_its_own_error(
    drive_req: Read, drive_resp: Read, raw: bytes, marks: list[int]
) -> None:
    assert drive_req(pieces(raw, marks)).verdict() == drive_req([raw]).verdict()
    assert drive_resp(pieces(raw, marks), [b"GET"]).verdict() == drive_resp([raw], [b"GET"]).verdict()


# --- h11 as an oracle -----------------------------------------------------------------------------------------------

TOKENS = st.text("ABCDEFXYZabcxyz0189!#$%&'*+-.^`|~", min_size=1, max_size=12).map(lambda text: b"X-" + text.encode())
VALUES = st.text("abcXYZ 019!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~\u00e9", max_size=20).map(
    lambda text: text.strip().encode("latin-1")
)
TARGETS = st.text("abcXYZ019/?%&=-._~!$'()*+,;:@", max_size=30).map(lambda text: b"/" + text.encode())


@st.composite
def messages(draw: st.DrawFn) -> tuple[list[tuple[bytes, bytes]], bytes, bytes]:
    """Valid fields with framing, the body, and its bytes on the wire."""
    fields = draw(st.lists(st.tuples(TOKENS, VALUES), max_size=6))
    parts = draw(st.lists(st.binary(min_size=1, max_size=30), max_size=4))
    body = b"".join(parts)
    if draw(st.booleans()):
        framing, wire = (b"Content-Length", b"%d" % len(body)), body
    else:
        framing = (b"Transfer-Encoding", b"chunked")
        wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    fields.insert(draw(st.integers(0, len(fields))), framing)
    return fields, body, wire


def oracle(role: type[h11.CLIENT | h11.SERVER], raw: bytes) -> tuple[Any, bytes]:
    peer = h11.Connection(role)
    if role is h11.CLIENT:
        peer.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        peer.send(h11.EndOfMessage())
    peer.receive_data(raw)
    head, body = peer.next_event(), b""
    while not isinstance(event := peer.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += bytes(event.data)
    return head, body


HOPS = {b"content-length", b"transfer-encoding", b"host"}


@settings(max_examples=200, deadline=None)
@given(message=messages(), target=TARGETS, method=st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS"]))
def test_h11_reads_the_same_request(drive_req: Read, message: Any, target: bytes, method: bytes) -> None:
    fields, body, wire = message
    lines = [
        b"%b %b HTTP/1.1" % (method, target),
        b"Host: a.example",
        *[b"%b: %b" % field for field in fields],
        b"",
        wire,
    ]
    raw = b"\r\n".join(lines)
    ours = drive_req([raw])
    theirs, their_body = oracle(h11.SERVER, raw)
    assert (ours.head.method, ours.head.target) == (theirs.method, theirs.target)
    assert [(name.lower(), value) for name, value in ours.head.fields] == [
        (name, value) for name, value in theirs.headers if name not in HOPS
    ]
    assert ours.body == their_body == body


@settings(max_examples=200, deadline=None)
@given(message=messages(), status=st.sampled_from([200, 201, 299, 301, 404, 500, 599]))
def test_h11_reads_the_same_response(drive_resp: Read, message: Any, status: int) -> None:
    fields, body, wire = message
    raw = b"\r\n".join([b"HTTP/1.1 %d Some Words" % status, *[b"%b: %b" % field for field in fields], b"", wire])
    ours = drive_resp([raw], [b"GET"])
    theirs, their_body = oracle(h11.CLIENT, raw)
    assert (ours.head.status, ours.head.reason) == (theirs.status_code, theirs.reason)
    assert [(name.lower(), value) for name, value in ours.head.fields] == [
        (name, value) for name, value in theirs.headers if name not in HOPS
    ]
    assert ours.body == their_body == body


@pytest.mark.parametrize("raw", REQUESTS)
def test_the_undamaged_requests_are_good(req: Read, raw: bytes) -> None:
    assert req(raw).error is None


@pytest.mark.parametrize("raw", RESPONSES)
def test_the_undamaged_responses_are_good(resp: Read, raw: bytes) -> None:
    assert resp(raw, b"GET", b"GET", b"GET").error is None
