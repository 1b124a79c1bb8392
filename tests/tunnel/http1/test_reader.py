"""One message after the other on a connection: rows A19 to A23 and A28, C10 to C12."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunnel.http1 import (
    BadMessage,
    Framing,
    RequestHead,
    RequestReader,
    ResponseReader,
    Truncated,
)

Read = Callable[..., Any]
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
NEXT_RESPONSE = OK + b"Content-Length: 4\r\n\r\nnext"


def post(fields: bytes, body: bytes = b"", minor: int = 1) -> bytes:
    return b"POST /p HTTP/1.%d\r\nHost: a\r\n%s\r\n%s" % (minor, fields, body)


def ok(*fields: bytes, body: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((line, *fields, b"", body))


@pytest.mark.parametrize("body", [b"", b"x", b"hello" * 20])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE"])
def test_a19_body_on_any_method_keeps_its_framing(req: Read, method: bytes, body: bytes) -> None:
    raw = b"%s / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (method, len(body), body)
    out = req(raw + NEXT)
    assert (out.head.framing, out.head.length) == (Framing.LENGTH, len(body))
    assert out.bodies == [body, b""]
    assert out.heads[1].path == b"/next"
    out = req(b"%s / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % method + NEXT)
    assert [head.framing for head in out.heads] == [Framing.CHUNKED, Framing.NONE]


@pytest.mark.parametrize(
    ("raw", "end"),
    [
        (post(b"Content-Length: 5\r\n", b"hell"), "truncated_body"),
        (post(b"Content-Length: 5\r\n"), "truncated_body"),
        (post(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n"), "truncated_body"),
        (post(b"Transfer-Encoding: chunked\r\n", b"5\r\nhel"), "truncated_body"),
        (b"POST / HTT", "truncated_head"),
        (NEXT, ""),
    ],
)
def test_a20_peer_closes_inside_a_request(req: Read, raw: bytes, end: str) -> None:
    out = req(raw)
    assert out.error is None
    assert out.end == end
    assert out.done is (end != "truncated_body")


def test_a20_end_behind_a_body_not_yet_read() -> None:
    reader = RequestReader()
    reader.feed(post(b"Content-Length: 5\r\n", b"hello"))
    assert reader.next_head() is not None
    reader.eof()
    assert reader.read_body() == [b"hello"]
    assert reader.body_done


def test_a21_pipelined_requests_come_one_at_a_time_in_order() -> None:
    reader = RequestReader()
    count = 2000
    reader.feed(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(count)))
    before = reader.buffered
    for i in range(count):
        head = reader.next_head()
        assert head is not None
        assert head.path == b"/%d" % i
        assert reader.buffered < before
        before = reader.buffered
    assert reader.next_head() is None
    assert reader.buffered == 0


def test_a21_next_request_waits_for_the_body_before_it() -> None:
    reader = RequestReader()
    reader.feed(post(b"Content-Length: 3\r\n", b"abc" + NEXT))
    assert reader.next_head() is not None
    assert reader.next_head() is None
    assert not reader.body_done
    assert reader.read_body() == [b"abc"]
    head = reader.next_head()
    assert head is not None
    assert head.path == b"/next"


def test_a21_pipelined_with_bodies(req: Read) -> None:
    out = req(
        post(b"Content-Length: 3\r\n", b"abc") + post(b"Transfer-Encoding: chunked\r\n", b"1\r\nd\r\n0\r\n\r\n") + NEXT
    )
    assert out.bodies == [b"abc", b"d", b""]


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        post(b"Content-Length: 3\r\nConnection: foo, CLOSE\r\n", b"abc"),
        post(b"Transfer-Encoding: chunked\r\nConnection: close\r\n", b"0\r\n\r\n"),
    ],
)
def test_a22_bytes_behind_the_last_request_are_ignored(req: Read, first: bytes) -> None:
    out = req(first + NEXT + b"\x00rubbish")
    assert len(out.heads) == 1
    assert out.head.keep_alive is False
    assert (out.rest, out.end) == (b"", "")


def test_a23_unread_body_shows() -> None:
    reader = RequestReader()
    reader.feed(post(b"Content-Length: 10\r\n", b"abc"))
    assert reader.next_head() is not None
    assert (reader.body_done, reader.buffered) == (False, 3)


def test_a28_nothing_behind_a_refused_request_is_parsed(req: Read) -> None:
    out = req(post(b"Content-Length: x\r\n", NEXT) + NEXT)
    assert out.error == (400, "bad_content_length")
    assert out.heads == []
    out = req(post(b"Transfer-Encoding: chunked\r\n", b"x\r\n" + NEXT))
    assert out.error == (400, "bad_chunk_size")
    assert len(out.heads) == 1


def test_truncated_and_refused_are_told_apart() -> None:
    reader = RequestReader()
    reader.feed(b"GET / HT")
    assert reader.next_head() is None
    with pytest.raises(Truncated):
        reader.eof()


def test_reprs_show_state_and_no_values() -> None:
    reader = RequestReader()
    reader.feed(b"POST /secret HTTP/1.1\r\nHost: a\r\nAuthorization: secret\r\nContent-Length: 3\r\n\r\na")
    head = reader.next_head()
    assert head is not None
    assert head.framing is Framing.LENGTH
    assert "secret" not in repr(head)
    assert repr(reader) == "<RequestReader BODY buffered=1 error=None>"
    answers = ResponseReader()
    answers.expect(b"GET")
    answers.feed(b"HTTP/1.1 200 OK\r\nSet-Cookie: secret\r\n\r\n")
    answer = answers.next_head()
    assert repr(answer) == "<ResponseHead 200 UNTIL_CLOSE minor=1 upgrade=None>"


def test_nothing_is_read_before_it_is_expected() -> None:
    reader = ResponseReader()
    reader.feed(NEXT_RESPONSE)
    assert reader.next_head() is None
    assert reader.buffered == len(NEXT_RESPONSE)
    reader.expect(b"GET")
    assert reader.next_head() is not None
    with pytest.raises(RuntimeError):
        reader.expect(b"GET")


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK"])
@pytest.mark.parametrize("body", [b"", b"abc", b"a" * 5000])
def test_c10_body_until_close(resp: Read, line: bytes, body: bytes) -> None:
    out = resp(ok(b"Connection: keep-alive", line=line, body=body))
    assert (out.head.framing, out.head.length, out.head.keep_alive) == (Framing.UNTIL_CLOSE, -1, False)
    assert (out.body, out.end) == (body, "")


def test_c10_end_ends_the_body_once_it_is_read() -> None:
    reader = ResponseReader()
    reader.expect(b"GET")
    reader.feed(ok(body=b"abc"))
    assert reader.next_head() is not None
    assert reader.read_body() == [b"abc"]
    assert not reader.body_done
    reader.feed(b"def")
    reader.eof()
    assert not reader.body_done
    assert reader.read_body() == [b"def"]
    assert reader.body_done


@pytest.mark.parametrize(
    ("raw", "end"),
    [
        (ok(b"Content-Length: 4", body=b"abc"), "truncated_body"),
        (ok(b"Content-Length: 9223372036854775807", body=b"abc"), "truncated_body"),
        (ok(b"Content-Length: 9999999999999999999", body=b"abc"), "truncated_body"),
        (ok(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n"), "truncated_body"),
        (ok(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n"), "truncated_body"),
        (ok(b"Transfer-Encoding: chunked"), "truncated_body"),
        (OK, "truncated_head"),
        (b"H", "truncated_head"),
        (ok(line=b"HTTP/1.1 100 Continue"), "no_response"),
    ],
)
def test_c11_response_cut_short(resp: Read, raw: bytes, end: str) -> None:
    assert resp(raw).end == end


def test_c11_no_response_at_all() -> None:
    reader = ResponseReader()
    reader.eof()
    reader.expect(b"GET")
    with pytest.raises(Truncated) as cut:
        reader.eof()
    assert cut.value.reason == "no_response"


@pytest.mark.parametrize(
    "body", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("extra", [b"", b"x", b"\r\n", NEXT_RESPONSE])
def test_c12_extra_bytes_show(body: bytes, extra: bytes) -> None:
    reader = ResponseReader()
    reader.expect(b"GET")
    reader.feed(OK + body + extra)
    assert reader.next_head() is not None
    assert b"".join(reader.read_body()) == b"abc"
    assert reader.body_done
    assert reader.next_head() is None
    assert reader.buffered == len(extra)


def test_a_head_repeated_byte_for_byte_is_the_same_object() -> None:
    reader = RequestReader()
    wire = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
    reader.feed(wire * 2 + wire.replace(b"/a", b"/b") + wire)
    first, second, other, last = (reader.next_head() for _ in range(4))
    assert first is not None and second is first
    assert other is not None and other.target == b"/b"
    assert last is not first and last is not None and last.target == b"/a"


def test_a_remembered_head_still_reads_its_own_body_and_closes_when_it_says_so() -> None:
    reader = RequestReader()
    wire = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"
    for body in (b"one", b"two"):
        reader.feed(wire + body)
        assert reader.next_head() is not None
        assert not reader.body_done
        assert b"".join(reader.read_body()) == body
        assert reader.body_done
    closing = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    reader.feed(closing * 2)
    assert reader.next_head() is not None
    assert reader.next_head() is None


def test_a_response_head_is_remembered_for_its_method_only() -> None:
    reader = ResponseReader()
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    heads = []
    for method, body in ((b"GET", b"ok"), (b"GET", b"ok"), (b"HEAD", b""), (b"GET", b"ok")):
        reader.expect(method)
        reader.feed(wire + body)
        heads.append(reader.next_head())
        assert b"".join(reader.read_body()) == body
        assert reader.body_done and not reader.buffered
    assert heads[0] is heads[1]
    assert heads[2] is not None and heads[2].framing is Framing.NONE
    assert heads[3] is not heads[2]


def test_interim_responses_are_counted_though_they_repeat() -> None:
    reader = ResponseReader()
    reader.expect(b"GET")
    reader.feed(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17)
    with pytest.raises(BadMessage, match="too_many_informational"):
        while reader.next_head() is not None:
            pass


def head_of(reader: RequestReader, wire: bytes) -> RequestHead:
    reader.feed(wire)
    head = reader.next_head()
    assert head is not None
    return head


def test_only_the_very_same_bytes_without_a_body_are_a_repetition() -> None:
    wire = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
    reader = RequestReader()
    assert reader.repeated(wire) is None
    head = head_of(reader, wire)
    assert reader.repeated(wire) is head
    assert reader.repeated(wire + wire) is None
    assert reader.repeated(wire[:-1]) is None
    reader.feed(wire[:5])
    assert reader.repeated(wire) is None, "bytes before it are not read yet"
    assert head_of(reader, wire[5:]) is head


@pytest.mark.parametrize(
    "more", [b"Content-Length: 1\r\n", b"Connection: close\r\n", b"Upgrade: x\r\nConnection: upgrade\r\n"]
)
def test_a_head_with_consequences_is_no_repetition(more: bytes) -> None:
    wire = b"GET /a HTTP/1.1\r\nHost: h\r\n%b\r\n" % more
    reader = RequestReader()
    head_of(reader, wire)
    assert reader.repeated(wire) is None
