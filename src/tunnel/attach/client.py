"""The agent's side of attach: dial, upgrade, start the session."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from dataclasses import dataclass
from typing import cast

from tunnel.attach.server import AGENT_ID, ATTACH_PREFIX
from tunnel.http1 import BadMessage, ResponseHead, ResponseReader, encode_request
from yamux.carrier import Carrier, CarrierAddress, Fields, TlsOptions, UpgradeRefused

MAX_ERROR_BODY = 64 * 1024
"""Bytes of a refusal's body that are read; the hub's own are a few hundred."""
MAX_MESSAGE = 500
"""Characters of the refusal's message that are kept; it ends up in one log line."""
MAX_RETRY_AFTER = 3600.0
"""Seconds. A longer wait would take an agent out of service on the word of one answer."""

_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,4096}")
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class AttachFailed(Exception):
    """The attempt came to nothing for another reason than the server's word.

    Args:
        code: `bad_agent_id`, `bad_header`, `bad_tls`, `dial_failed`, `dial_timeout`, `timeout`, `closed`, `tls_failed`,
            `bad_response`, `upgrade_mismatch` or `insecure_carrier`.
        message: one line for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class AttachRefused(Exception):
    """The server answered with another status than 101.

    Args:
        status: HTTP status, 200 to 599.
        code: the error's `code` in the JSON body, else `http_<status>`.
        message: its `msg`: printable, at most 500 characters; else a text of our own.
        retry_after: seconds the server asks to wait, at most 3600, or None.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: float | None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class AttachInfo:
    """What the server's 101 said.

    Args:
        server: value of `Tunnel-Hub`; None is a hub that accepts no streams from the agent.
        response_headers: all fields of the 101 that are not the connection's own.
    """

    server: str | None
    response_headers: Fields

    def offers(self, name: str) -> bool:
        """Whether the hub said ``name=1`` behind its name and version."""
        _, *rest = (self.server or "").split(";")
        return any(part.strip() == f"{name}=1" for part in rest)


def attach_path(address: CarrierAddress, agent_id: str) -> str:
    """The request target to attach at.

    A URL whose path already is `…/api/v1/hubs/{id}` is used as it is, as users of other agents write it; one that ends
    before the id gets it.

    Raises:
        AttachFailed: the id has characters other than letters, digits, `.`, `_`, `~` and `-`, or is too long.
    """
    _, found, last = address.path.rpartition(ATTACH_PREFIX)
    if found and last and "/" not in last:
        return address.path
    if not AGENT_ID.fullmatch(agent_id):
        raise AttachFailed("bad_agent_id", "an agent id is 1 to 128 letters, digits, '.', '_', '~' or '-'")
    base = address.path.removesuffix("/").removesuffix(ATTACH_PREFIX.removesuffix("/"))
    return f"{base}{ATTACH_PREFIX}{agent_id}"


async def attach(
    carrier: Carrier,
    address: CarrierAddress,
    agent_id: str,
    session: asyncio.Protocol,
    *,
    tls: TlsOptions,
    token: str | None,
    headers: list[tuple[str, str]],
    timeout: float,
) -> AttachInfo:
    """Dial, upgrade, and start the session on the connection.

    Args:
        carrier: owner of the address' scheme.
        address: where to dial.
        agent_id: goes into the path unless the URL has it.
        session: becomes the connection's protocol; its `connection_made` has been called on return.
        tls: for the carrier.
        token: sent as Bearer; refused unless the carrier is secure or local.
        headers: further request fields (labels, instance, version).
        timeout: seconds for everything together.

    Raises:
        AttachRefused: the server said no.
        AttachFailed: anything else; `__cause__` has the particulars.

    Cancellation closes the connection; the session has then not been touched.
    """
    offer = carrier.upgrade.offer()
    request = _request(carrier.upgrade.token, address, agent_id, offer.headers, token, headers)
    shake = await _dial(carrier, address, tls, timeout, request)
    transport, head = shake.transport, shake.head
    assert head is not None
    try:
        if head.status != 101:
            raise _refusal(head, shake.body)
        _check_101(head, carrier.upgrade.token)
        framing = offer.confirm(head.fields)
        if shake.lost or transport.is_closing():
            raise AttachFailed("closed", f"{address.authority} closed the connection after the upgrade")
        framing.start(transport, session, shake.take_leftover())
    except UpgradeRefused as exc:
        transport.abort()
        raise AttachFailed("upgrade_mismatch", exc.message) from exc
    except BaseException:
        transport.abort()
        raise
    return _info(head)


async def _dial(
    carrier: Carrier, address: CarrierAddress, tls: TlsOptions, timeout: float, request: bytes
) -> _Handshake:
    """Connect, send the request, and wait for the answer's head (and body, of a refusal)."""
    where = address.authority
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    shake = _Handshake(loop.create_future(), where)
    try:
        transport, _ = await carrier.dial(address, lambda: shake, tls=tls, timeout=timeout)
    except TimeoutError as exc:
        raise AttachFailed("dial_timeout", f"no connection to {where} within {timeout:g} s") from exc
    except ssl.SSLError as exc:
        raise AttachFailed("tls_failed", _line(exc.strerror or str(exc))) from exc
    except OSError as exc:
        raise AttachFailed("dial_failed", _line(exc.strerror or str(exc))) from exc
    except ValueError as exc:
        raise AttachFailed("bad_tls", _line(str(exc))) from exc
    try:
        transport.write(request)
        async with asyncio.timeout_at(end):
            await shake.done
    except TimeoutError as exc:
        transport.abort()
        # A refusal whose body does not end in time is a refusal all the same.
        if shake.head is None:
            raise AttachFailed("timeout", f"no answer from {where} within {timeout:g} s") from exc
    except BaseException:
        transport.abort()
        raise
    if shake.failure is not None:
        transport.abort()
        raise shake.failure
    return shake


class _Handshake(asyncio.Protocol):
    """Protocol of the connection until the answer is read."""

    __slots__ = ("_leftover", "_reader", "_where", "body", "done", "failure", "head", "lost", "transport")

    transport: asyncio.Transport

    def __init__(self, done: asyncio.Future[None], where: str) -> None:
        self.done = done
        self.failure: AttachFailed | None = None
        self.head: ResponseHead | None = None
        self.body = bytearray()
        self.lost = False
        self._leftover = bytearray()
        self._reader = ResponseReader()
        self._reader.expect(b"GET")
        self._where = where

    def take_leftover(self) -> bytes:
        """Bytes behind the 101's head."""
        return bytes(self._leftover)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            # Between the 101 and the session's start; at most one turn of the loop.
            self._leftover += data
            return
        try:
            self._reader.feed(data)
            self._advance()
        except BadMessage as exc:
            self._finish(AttachFailed("bad_response", f"{self._where} does not answer as a hub: {exc.reason}"))

    def _advance(self) -> None:
        while self.head is None:
            head = self._reader.next_head()
            if head is None:
                return
            if head.status == 101:
                self.head = head
                self._leftover += self._reader.take_rest()
                self._finish()
                return
            if head.status >= 200:
                self.head = head
        for piece in self._reader.read_body():
            self.body += piece[: MAX_ERROR_BODY - len(self.body)]
        if self._reader.body_done or len(self.body) >= MAX_ERROR_BODY:
            self._finish()

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def _end(self, exc: Exception | None) -> None:
        self.lost = True
        if self.head is not None:
            self._finish()
            return
        code = "tls_failed" if isinstance(exc, ssl.SSLError) else "closed"
        failure = AttachFailed(code, f"{self._where} closed the connection without an answer")
        failure.__cause__ = exc
        self._finish(failure)

    def _finish(self, failure: AttachFailed | None = None) -> None:
        # The failure is no exception of the future: nobody may be waiting any more, and asyncio would complain.
        if not self.done.done():
            self.failure = failure
            self.done.set_result(None)


def _request(
    upgrade: bytes,
    address: CarrierAddress,
    agent_id: str,
    extra: Fields,
    token: str | None,
    headers: list[tuple[str, str]],
) -> bytes:
    fields: Fields = [
        (b"Host", address.authority.encode()),
        (b"Connection", b"Upgrade"),
        (b"Upgrade", upgrade),
        *extra,
    ]
    if token is not None:
        if not (address.secure or address.local):
            raise AttachFailed("insecure_carrier", f"{address.scheme}:// is not encrypted: the token stays here")
        if not _TOKEN.fullmatch(token):
            raise AttachFailed("bad_header", "the token has characters a token cannot have")
        fields.append((b"Authorization", b"Bearer " + token.encode()))
    for name, value in headers:
        if not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            raise AttachFailed("bad_header", f"header {_line(name)} cannot be sent: only printable characters may be")
        fields.append((name.encode(), value.encode("latin-1")))
    return encode_request(b"GET", attach_path(address, agent_id).encode(), fields)


def _check_101(head: ResponseHead, token: bytes) -> None:
    if head.upgrade != token:
        raise UpgradeRefused(502, "bad_response", f"the 101 is not for the upgrade {token.decode()}")


def _info(head: ResponseHead) -> AttachInfo:
    values = head.special.get(b"tunnel-hub", [])
    server = _line(values[0].decode("latin-1")) if values else None
    own = [(b"Tunnel-Hub", value) for value in values]
    return AttachInfo(server, [*head.fields, *own])


def _refusal(head: ResponseHead, body: bytes | bytearray) -> AttachRefused:
    code, message = f"http_{head.status}", ""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        if isinstance(answer.get("code"), str) and _CODE.fullmatch(answer["code"]):
            code = answer["code"]
        if isinstance(answer.get("msg"), str):
            message = _line(answer["msg"])
    return AttachRefused(head.status, code, message or "the hub gave no reason", _retry_after(head))


def _retry_after(head: ResponseHead) -> float | None:
    """Seconds only: the date form would trust two clocks."""
    for name, value in head.fields:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) <= 9:
            return min(float(value), MAX_RETRY_AFTER)
    return None


def _line(text: str) -> str:
    """One printable line: whatever the other side wrote ends up in logs and terminals."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:MAX_MESSAGE])
