from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import trustme

from carrier_api import RAW_FRAMING, RawUpgrade
from carrier_tcp import TcpCarrier
from carrier_tls import TlsCarrier
from carrier_websocket import WebSocketCarrier, WebSocketTransport, WebSocketUpgrade
from carrier_websocket.upgrade import accept_key
from tunnel.attach import (
    Accepted,
    AttachFailed,
    AttachInfo,
    AttachRefused,
    attach,
    attach_path,
    check_upgrade,
    encode_101,
    parse_attach_path,
)
from tunnel.http1 import BadMessage, RequestHead, RequestReader
from yamux import Session
from yamux.carrier import Carrier, Fields, TlsOptions, Upgrade, UpgradeRefused
from yamux.testing import Recorder

TCP, WS = TcpCarrier(), WebSocketCarrier()
UPGRADES: dict[bytes, Upgrade] = {b"yamux": RawUpgrade(), b"websocket": WebSocketUpgrade()}
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class Hub(asyncio.Protocol):
    """The server's side, as a daemon would put it together; keeps what it was sent."""

    def __init__(self, answer: bytes | None = None, *, close: bool = False, after: bytes = b"") -> None:
        self.answer, self.close, self.after = answer, close, after
        self.session = Recorder()
        self.reader = RequestReader()
        self.raw = b""
        self.head: RequestHead | None = None
        self.accepted: Accepted | None = None
        self.transport: asyncio.Transport | None = None
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self.raw += data
        self.reader.feed(data)
        self.head = self.reader.next_head()
        if self.head is None:
            return
        if self.answer is not None:
            self.transport.write(self.answer)
            if self.close:
                self.transport.close()
            return
        self.accepted = check_upgrade(self.head, UPGRADES)
        fields: Fields = [*self.accepted.headers, (b"Tunnel-Hub", b"hubd/0.1; control=1"), (b"X-Extra", b"1")]
        self.transport.write(encode_101(self.accepted.token, fields) + self.after)
        self.accepted.framing.start(self.transport, self.session, self.reader.take_rest())

    def eof_received(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


class Site:
    def __init__(self, url: str, hubs: list[Hub]) -> None:
        self.url, self.hubs = url, hubs

    async def attach(
        self,
        session: Recorder,
        carrier: Carrier = TCP,
        *,
        base: str = "",
        token: str | None = None,
        headers: list[tuple[str, str]] | None = None,
        timeout: float = 10.0,
        tls: TlsOptions | None = None,
    ) -> AttachInfo:
        address = carrier.parse(self.url.replace("tcp://", f"{carrier.schemes[0]}://") + base)
        return await attach(
            carrier,
            address,
            "agent-1",
            session,
            tls=tls or TlsOptions(),
            token=token,
            headers=headers or [],
            timeout=timeout,
        )


@asynccontextmanager
async def site(make: Callable[[], Hub] = Hub) -> AsyncIterator[Site]:
    hubs: list[Hub] = []

    def accept() -> Hub:
        hubs.append(make())
        return hubs[-1]

    listener = await TCP.listen(TCP.parse("tcp://127.0.0.1:0"), accept, tls=None, backlog=8)
    try:
        yield Site(listener.addresses[0], hubs)
    finally:
        listener.close()
        for hub in hubs:
            if hub.transport is not None:
                hub.transport.abort()
        await listener.wait_closed()


def answering(answer: bytes, *, close: bool = False) -> Callable[[], Hub]:
    return lambda: Hub(answer, close=close)


@pytest.mark.parametrize("carrier", [TCP, WS], ids=["yamux", "websocket"])
async def test_attach_and_talk(carrier: Carrier) -> None:
    async with site() as place:
        session = Recorder()
        info = await place.attach(
            session, carrier, token="t0ken", headers=[("X-Agent-Instance", "i-1"), ("X-Agent-Label", "zone=a")]
        )
        (hub,) = place.hubs
        assert hub.head is not None and hub.accepted is not None
        assert hub.accepted.token == carrier.upgrade.token
        assert parse_attach_path(hub.head.path) == "agent-1"
        assert b"\r\nAuthorization: Bearer t0ken\r\n" in hub.raw
        assert b"\r\nX-Agent-Instance: i-1\r\nX-Agent-Label: zone=a\r\n" in hub.raw
        assert hub.raw.count(b"\r\nHost: 127.0.0.1:") == 1
        assert info.server == "hubd/0.1; control=1"
        assert info.offers("control")
        assert not info.offers("fold")
        assert not info.offers("hubd/0.1")
        assert (b"X-Extra", b"1") in info.response_headers
        session.transport.write(b"from the agent")
        hub.session.transport.write(b"from the hub")
        assert await hub.session.received(14) == b"from the agent"
        assert await session.received(12) == b"from the hub"
        assert isinstance(session.transport, WebSocketTransport) == (carrier is WS)
        session.transport.close()
        assert await session.lost() is None
        await hub.session.lost()


async def test_bytes_behind_the_101_reach_the_session() -> None:
    async with site(lambda: Hub(after=b"first bytes")) as place:
        session = Recorder()
        await place.attach(session)
        assert await session.received(11) == b"first bytes"
        session.transport.abort()


@pytest.mark.parametrize("size", [1, 7])
async def test_e15_a_101_in_small_pieces(size: int) -> None:
    answer = encode_101(b"yamux", []) + b"and more"

    class Slow(Hub):
        def data_received(self, data: bytes) -> None:
            self.loop = asyncio.get_running_loop()
            self.parts = [answer[i : i + size] for i in range(0, len(answer), size)]
            self.step()

        def step(self) -> None:
            assert self.transport is not None
            if self.parts:
                self.transport.write(self.parts.pop(0))
                self.loop.call_soon(self.step)

    async with site(Slow) as place:
        session = Recorder()
        info = await place.attach(session)
        assert info.server is None
        assert await session.received(8) == b"and more"
        session.transport.abort()


async def test_a_go_hub_that_agrees_on_no_subprotocol_gets_raw_bytes() -> None:
    class GoHub(Hub):
        def data_received(self, data: bytes) -> None:
            assert self.transport is not None
            if self.head is not None:
                self.raw += data
                self.transport.write(data.upper())
                return
            self.reader.feed(data)
            self.head = self.reader.next_head()
            assert self.head is not None
            (key,) = self.head.special[b"sec-websocket-key"]
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept_key(key) + b"\r\n\r\n"
            )

    async with site(GoHub) as place:
        session = Recorder()
        info = await place.attach(session, WS)
        assert info.server is None
        session.transport.write(b"raw")
        assert await session.received(3) == b"RAW"
        session.transport.abort()


async def test_informational_answers_are_skipped() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\n\r\n" + encode_101(b"yamux", [])
    async with site(answering(answer)) as place:
        session = Recorder()
        await place.attach(session)
        session.transport.abort()


def refusal(status: bytes, body: bytes, *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def refused(answer: bytes, *, close: bool = False, timeout: float = 10.0) -> AttachRefused:
    async with site(answering(answer, close=close)) as place:
        session = Recorder()
        with pytest.raises(AttachRefused) as caught:
            await place.attach(session, timeout=timeout)
        assert not session.connected
        await place.hubs[0].gone
        return caught.value


async def test_a_refusal_says_what_the_hub_said() -> None:
    body = json.dumps({"msg": "no such agent", "code": "unknown_agent", "request_id": "r"}).encode()
    error = await refused(refusal(b"404 Not Found", body))
    assert (error.status, error.code, error.message, error.retry_after) == (404, "unknown_agent", "no such agent", None)


@pytest.mark.parametrize(
    ("value", "seconds"), [(b"7", 7.0), (b"999999", 3600.0), (b"-1", None), (b"Wed, 21 Oct 2026 07:28:00 GMT", None)]
)
async def test_retry_after(value: bytes, seconds: float | None) -> None:
    error = await refused(refusal(b"503 Service Unavailable", b"", b"Retry-After: " + value))
    assert (error.status, error.code, error.retry_after) == (503, "http_503", seconds)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>\x1b[31m</html>",
        b"[1,2]",
        b'{"msg": 5, "code": ["x"]}',
        b'{"code": "Has Blanks"}',
        b"\xff\xfe",
        b"[" * 60_000,
        b"",
    ],
)
async def test_a_refusal_without_usable_json(body: bytes) -> None:
    error = await refused(refusal(b"403 Forbidden", body))
    assert (error.code, error.message) == ("http_403", "the hub gave no reason")


async def test_what_the_hub_wrote_is_never_repeated_as_it_is() -> None:
    body = json.dumps({"msg": "line\r\n\x1b[2Jx\u202e" + "y" * 2000, "code": "bad"}).encode()
    error = await refused(refusal(b"400 Bad Request", body))
    assert error.message.isprintable() and str(error).isprintable()
    assert error.message.startswith("line\\r\\n\\x1b[2Jx\\u202e")
    assert len(error.message) < 600


async def test_an_endless_error_body_is_cut() -> None:
    head = b"HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n"
    error = await refused(head + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 6)
    assert error.code == "http_500"


async def test_a_refusal_cut_short_is_still_a_refusal() -> None:
    answer = b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 500\r\n\r\n{"msg": "who'
    assert (await refused(answer, close=True)).status == 401
    assert (await refused(answer, timeout=2.0)).status == 401


async def test_a_redirect_is_not_followed() -> None:
    assert (await refused(refusal(b"302 Found", b"", b"Location: http://elsewhere/"))).code == "http_302"


async def failed(make: Callable[[], Hub], carrier: Carrier = TCP, *, timeout: float = 10.0) -> AttachFailed:
    async with site(make) as place:
        session = Recorder()
        with pytest.raises(AttachFailed) as caught:
            await place.attach(session, carrier, timeout=timeout)
        assert not session.connected
        assert str(caught.value).isprintable()
        for hub in place.hubs:
            await hub.gone
        return caught.value


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 101\nUpgrade: yamux\n\n",
        b"\x16\x03\x01",
        b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
    ],
)
async def test_a_server_that_is_no_hub(answer: bytes) -> None:
    assert (await failed(answering(answer + b"\r\n"))).code == "bad_response"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (encode_101(b"websocket", []), "upgrade_mismatch"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: yamux\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n", "bad_response"),
    ],
)
async def test_a_101_for_something_else(answer: bytes, code: str) -> None:
    assert (await failed(answering(answer))).code == code


async def test_a_websocket_101_with_the_wrong_proof() -> None:
    answer = encode_101(b"websocket", [(b"Sec-WebSocket-Accept", accept_key(KEY))])
    assert (await failed(answering(answer), WS)).code == "upgrade_mismatch"


async def test_a_connection_closed_without_an_answer() -> None:
    assert (await failed(answering(b"", close=True))).code == "closed"
    assert (await failed(answering(b"HTTP/1.1 101 Swi", close=True))).code == "closed"


async def test_a_connection_closed_right_behind_the_101() -> None:
    async with site(answering(encode_101(b"yamux", []) + b"x", close=True)) as place:
        session = Recorder()
        try:
            await place.attach(session)
        except AttachFailed as exc:
            # The end was there before the session could start.
            assert exc.code == "closed" and not session.connected
        else:
            await session.lost()


async def test_no_answer_has_a_deadline() -> None:
    assert (await failed(answering(b""), timeout=0.2)).code == "timeout"


async def test_cancellation_closes_the_connection_and_leaves_the_session_alone() -> None:
    async with site(answering(b"")) as place:
        session = Recorder()
        task = asyncio.ensure_future(place.attach(session))
        while not place.hubs or place.hubs[0].head is None:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await place.hubs[0].gone
        assert not session.connected


async def test_a_refused_dial_keeps_its_cause() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = Site(f"tcp://127.0.0.1:{unused.getsockname()[1]}", [])
        with pytest.raises(AttachFailed, match="connection refused") as caught:
            await place.attach(Recorder())
    assert caught.value.code == "dial_failed" and isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_an_untrusted_certificate_is_a_tls_failure(tmp_path: Path) -> None:
    tls = TlsCarrier()
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "s.pem"))
    options = TlsOptions(cert_file=str(tmp_path / "s.pem"))
    listener = await tls.listen(tls.parse("tls://127.0.0.1:0"), Recorder, tls=options, backlog=1)
    with pytest.raises(AttachFailed) as caught:
        await Site(listener.addresses[0], []).attach(Recorder(), tls)
    assert caught.value.code == "tls_failed" and isinstance(caught.value.__cause__, ssl.SSLError)
    with pytest.raises(AttachFailed) as caught:
        await Site(listener.addresses[0], []).attach(Recorder(), tls, tls=TlsOptions(ca_file="/nonexistent"))
    assert caught.value.code == "bad_tls"
    listener.close()
    await listener.wait_closed()


@pytest.mark.parametrize(("carrier", "url"), [(TCP, "tcp://hub.example:1"), (WS, "ws://10.0.0.1")])
async def test_f2_a_token_does_not_travel_in_the_clear(carrier: Carrier, url: str) -> None:
    with pytest.raises(AttachFailed) as caught:
        await attach(
            carrier, carrier.parse(url), "a", Recorder(), tls=TlsOptions(), token="s3cret", headers=[], timeout=1
        )
    assert caught.value.code == "insecure_carrier" and "s3cret" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "grüß", "x" * 5000])
async def test_a_token_that_is_no_token(token: str) -> None:
    with pytest.raises(AttachFailed) as caught:
        await Site("tcp://127.0.0.1:1", []).attach(Recorder(), token=token)
    assert caught.value.code == "bad_header" and (not token or token not in str(caught.value))


@pytest.mark.parametrize("header", [("X-A", "b\r\nX-Evil: 1"), ("X A", "b"), ("", "b"), ("X-A", "\x00"), ("X-A", "€")])
async def test_headers_that_cannot_be_sent(header: tuple[str, str]) -> None:
    with pytest.raises(AttachFailed) as caught:
        await Site("tcp://127.0.0.1:1", []).attach(Recorder(), headers=[header])
    assert caught.value.code == "bad_header"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("tcp://h:1", "/api/v1/hubs/me"),
        ("tcp://h:1/", "/api/v1/hubs/me"),
        ("tcp://h:1/base/", "/base/api/v1/hubs/me"),
        ("tcp://h:1/api/v1/hubs/other", "/api/v1/hubs/other"),
        ("tcp://h:1/base/api/v1/hubs/other", "/base/api/v1/hubs/other"),
        ("tcp://h:1/api/v1/hubs", "/api/v1/hubs/me"),
        ("tcp://h:1/base/api/v1/hubs/", "/base/api/v1/hubs/me"),
        ("tcp://h:1/api/v1/hubs/a/b", "/api/v1/hubs/a/b/api/v1/hubs/me"),
    ],
)
def test_where_to_attach(url: str, path: str) -> None:
    assert attach_path(TCP.parse(url), "me") == path


@pytest.mark.parametrize("agent_id", ["", ".", "..", ".hidden", "a/b", "a b", "ä", "a%62", "x" * 129, "a\r\n"])
def test_agent_ids_that_are_refused_on_both_sides(agent_id: str) -> None:
    with pytest.raises(AttachFailed) as caught:
        attach_path(TCP.parse("tcp://h:1"), agent_id)
    assert caught.value.code == "bad_agent_id"
    assert parse_attach_path(b"/api/v1/hubs/" + agent_id.encode()) is None


@pytest.mark.parametrize("agent_id", ["a", "7", "agent-1", "a.b_c~d", "-", "x" * 128])
def test_agent_ids(agent_id: str) -> None:
    assert parse_attach_path(attach_path(TCP.parse("tcp://h:1"), agent_id).encode()) == agent_id


@pytest.mark.parametrize("path", [b"/", b"/api/v1/hubs", b"/api/v1/hub/a", b"/API/v1/hubs/a", b"/x/api/v1/hubs/a"])
def test_other_paths(path: bytes) -> None:
    assert parse_attach_path(path) is None


def head_of(*lines: bytes, line: bytes = b"GET /api/v1/hubs/a HTTP/1.1") -> RequestHead:
    reader = RequestReader()
    reader.feed(b"\r\n".join([line, b"Host: h", *lines]) + b"\r\n\r\n")
    head = reader.next_head()
    assert head is not None
    return head


UPGRADE = (b"Connection: keep-alive, Upgrade",)
WEBSOCKET = (*UPGRADE, b"Upgrade: WebSocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY)


def test_the_server_takes_the_first_upgrade_it_knows() -> None:
    assert check_upgrade(head_of(*UPGRADE, b"Upgrade: yamux"), UPGRADES).framing is RAW_FRAMING
    accepted = check_upgrade(head_of(*WEBSOCKET), UPGRADES)
    assert (accepted.token, accepted.headers) == (b"websocket", [(b"Sec-WebSocket-Accept", accept_key(KEY))])
    # Go programs offer no subprotocol, and take the connection under the WebSocket.
    assert accepted.framing is RAW_FRAMING
    assert check_upgrade(head_of(*UPGRADE, b"Upgrade: h9, yamux"), UPGRADES).token == b"yamux"


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (lambda: head_of(), 426, "upgrade_required"),
        (lambda: head_of(b"Upgrade: yamux"), 426, "upgrade_required"),
        (lambda: head_of(*UPGRADE), 426, "upgrade_required"),
        (lambda: head_of(*UPGRADE, b"Upgrade: carrot"), 426, "upgrade_unknown"),
        (lambda: head_of(*UPGRADE, b"Upgrade: yamux", line=b"POST /api/v1/hubs/a HTTP/1.1"), 405, "method_not_allowed"),
        (lambda: head_of(*UPGRADE, b"Upgrade: yamux", line=b"GET /api/v1/hubs/a HTTP/1.0"), 505, "http_version"),
    ],
)
def test_requests_that_cannot_attach(head: Callable[[], RequestHead], status: int, code: str) -> None:
    with pytest.raises(UpgradeRefused) as caught:
        check_upgrade(head(), UPGRADES)
    assert (caught.value.status, caught.value.code) == (status, code)
    if status == 426:
        assert (b"Upgrade", b"websocket, yamux") in caught.value.headers


@pytest.mark.parametrize("extra", [(b"Origin: https://evil.example",), (b"oRiGiN: null",)])
def test_e14_origin_present(extra: tuple[bytes, ...]) -> None:
    with pytest.raises(UpgradeRefused) as caught:
        check_upgrade(head_of(*WEBSOCKET, *extra), UPGRADES)
    assert (caught.value.status, caught.value.code) == (403, "origin_not_allowed")


@pytest.mark.parametrize("query", [b"token=s3cret", b"a=1&token=s3cret", b"TOKEN=s3cret", b"token"])
def test_e14_token_in_query(query: bytes) -> None:
    with pytest.raises(UpgradeRefused) as caught:
        check_upgrade(head_of(*WEBSOCKET, line=b"GET /api/v1/hubs/a?" + query + b" HTTP/1.1"), UPGRADES)
    assert (caught.value.status, caught.value.code) == (400, "token_in_query")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("drop", "replace", "status"),
    [
        (b"Sec-WebSocket-Version", b"Sec-WebSocket-Version: 8", 426),
        (b"Sec-WebSocket-Key", b"X: y", 400),
        (b"Sec-WebSocket-Key", b"Sec-WebSocket-Key: abc", 400),
    ],
)
def test_e14_key_and_version(drop: bytes, replace: bytes, status: int) -> None:
    """The strict reader already refuses most of these; whatever passes it is refused here with the same status."""
    lines = [replace if line.startswith(drop) else line for line in WEBSOCKET]
    with pytest.raises((UpgradeRefused, BadMessage)) as caught:
        check_upgrade(head_of(*lines), UPGRADES)
    assert caught.value.status == status
    second = head_of(*(line.replace(b"Upgrade: W", b"Upgrade: other, W") for line in lines))
    with pytest.raises(UpgradeRefused) as refused:
        check_upgrade(second, UPGRADES)
    assert refused.value.status == status


def test_e13_compression_offered_is_declined() -> None:
    accepted = check_upgrade(head_of(*WEBSOCKET, b"Sec-WebSocket-Extensions: permessage-deflate"), UPGRADES)
    assert b"xtension" not in encode_101(accepted.token, accepted.headers)


def test_e16_unknown_handshake_fields_are_ignored() -> None:
    assert check_upgrade(head_of(*WEBSOCKET, b"X-Agent-Future: 7", b"Tunnel-New: x"), UPGRADES).token == b"websocket"


def test_the_101() -> None:
    assert encode_101(b"yamux", [(b"Tunnel-Hub", b"hubd/1")]) == (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: yamux\r\nTunnel-Hub: hubd/1\r\n\r\n"
    )


@pytest.mark.parametrize("carrier", [TCP, WS], ids=["yamux", "websocket"])
async def test_a_session_runs_over_an_attached_carrier(carrier: Carrier) -> None:
    class YamuxHub(Hub):
        def __init__(self) -> None:
            super().__init__()
            self.session = cast(Recorder, Session(client=False))

    async with site(YamuxHub) as place:
        agent = Session(client=True)
        await place.attach(cast(Recorder, agent), carrier)
        hub = cast(Session, place.hubs[0].session)
        question = await hub.open()
        question.write(b"question")
        answer = await agent.accept()
        assert await answer.read(100) == b"question"
        payload = bytes(range(256)) * 4000
        answer.write(payload)
        sending = asyncio.ensure_future(answer.drain())
        got = bytearray()
        while len(got) < len(payload):
            got += await question.read(1 << 20)
        await sending
        assert got == payload
        question.write_eof()
        answer.write_eof()
        assert await question.read() == b"" == await answer.read()
        await agent.close()
        await hub.wait_closed()
        assert hub.is_closed and agent.is_closed
