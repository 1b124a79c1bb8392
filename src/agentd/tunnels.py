"""CONNECT on a stream: a connection to a listed ``tcp://`` target, joined to the stream once it stands.

The hub sends ``CONNECT service HTTP/1.1`` with the service, or its host and port, in ``X-Proxy-Host`` as well; ``CONNECT
default`` without that field means the agent's first TCP target. Nothing but TCP targets is ever connected to, so a
CONNECT reaches no more than the owner of the agent has named.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from agentd.dial import DialError, dial
from agentd.heads import request_id_of
from agentd.reasons import (
    HEADER_TIMEOUT,
    INTERNAL,
    LEFT,
    STALLED,
    TARGET_NOT_ALLOWED,
    Reason,
    error_response,
    of_message,
)
from tunnel.http1 import BadMessage, Framing, Limits, RequestReader
from tunnel.splice import Waiting

if TYPE_CHECKING:
    from agentd.exchange import Exchange
    from agentd.serve import Server
    from tunnel.http1 import RequestHead
    from tunnel.targets import Target
    from yamux import StreamTransport

METHOD = b"CONNECT "
DEFAULT = b"default"
"""What a CONNECT asks for that names no service."""
# The hub writes a few hundred bytes.
LIMITS = Limits(target=1024, line=4 * 1024, head=16 * 1024, fields=64)

_LINE = re.compile(rb"CONNECT ([\x21-\x7e]{1,512}) HTTP/1\.1")
_GRANTED = b"HTTP/1.1 200 OK\r\n\r\n"


def begins_connect(data: bytes) -> bool:
    """Whether a stream that begins with ``data`` is, or may become, a CONNECT."""
    return data.startswith(METHOD) or METHOD.startswith(data)


class Opening(asyncio.Protocol):
    """A stream from the first bytes of its CONNECT until it is joined to the target, or refused.

    Args:
        server: whose list counts, and who owns this.
        exchange: had the stream, and gets it back if it is no CONNECT after all.
        stream: to be joined.

    Attributes:
        request_id: of the head, empty if there is none.
        target_name: for logs.
    """

    __slots__ = (
        "_data", "_eof", "_exchange", "_full", "_head_timer", "_server", "_stream", "_task", "over", "request_id",
        "target_name",
    )  # fmt: skip

    def __init__(self, server: Server, exchange: Exchange, stream: StreamTransport) -> None:
        self._server = server
        self._exchange: Exchange | None = exchange
        self._stream = stream
        self._data = b""
        self._eof = self._full = self.over = False
        self._task: asyncio.Task[None] | None = None
        self.request_id = b""
        self.target_name = ""
        loop = asyncio.get_running_loop()
        self._head_timer = loop.call_later(server.timeouts.header, self.refuse, HEADER_TIMEOUT)
        stream.set_protocol(self)

    def __repr__(self) -> str:
        return f"<Opening {self.target_name or 'head'}{' over' if self.over else ''}>"

    # -- the stream's calls ------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.over:
            return
        self._data += data
        if self._task is not None:
            # What the visitor says before there is a connection; the rest waits in the stream's window.
            if len(self._data) > self._server.hold:
                self._stream.pause_reading()
            return
        if not begins_connect(self._data):
            self._give_back()
            return
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > LIMITS.head:
                self.refuse(of_message(431, "head_too_large"))
            return
        head, self._data = self._data[: end + 4], self._data[end + 4 :]
        self._head_timer.cancel()
        self._exchange = None
        try:
            target = self._find(head)
        except BadMessage as fault:
            self.refuse(of_message(fault.status, fault.reason), fault.detail)
            return
        if target is None:
            self.refuse(TARGET_NOT_ALLOWED, "not in the list of TCP targets")
            return
        self.target_name = target.url
        self._task = asyncio.get_running_loop().create_task(self._connect(target))

    def eof_received(self) -> bool:
        self._eof = True
        if self._task is None and not self.over:
            self.give_up(LEFT)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over:
            self.give_up(LEFT)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False

    # -- the request -------------------------------------------------------------------------------------------------

    def _give_back(self) -> None:
        exchange, data = self._exchange, self._data
        assert exchange is not None
        self._leave()
        self._stream.set_protocol(exchange)
        self._server.open.add(exchange)
        exchange.data_received(data)

    def _find(self, head: bytes) -> Target | None:
        """The target a head asks for, None if it is not listed. Raises BadMessage."""
        line, _, fields = head.partition(b"\r\n")
        found = _LINE.fullmatch(line)
        if found is None:
            raise BadMessage(400, "bad_request_line")
        # Its fields follow the rules of every other request.
        reader = RequestReader(LIMITS, trusted=True)
        reader.feed(b"OPTIONS * HTTP/1.1\r\n" + fields)
        parsed = reader.next_head()
        assert parsed is not None
        self.request_id = request_id_of(parsed)
        if parsed.framing is not Framing.NONE or parsed.upgrade is not None:
            raise BadMessage(400, "connect_with_body")
        return self._listed(parsed, found[1])

    def _listed(self, head: RequestHead, authority: bytes) -> Target | None:
        asked = head.special.get(b"x-proxy-host")
        self.target_name = (asked[0] if asked is not None else authority).decode("latin-1")
        server = self._server
        if asked is not None:
            return server.find_tunnel(asked[0])
        return server.find_tunnel(authority) or (server.default_tunnel if authority == DEFAULT else None)

    # -- the connection ----------------------------------------------------------------------------------------------

    async def _connect(self, target: Target) -> None:
        server = self._server
        made: list[Waiting] = []

        def factory() -> Waiting:
            made.append(Waiting())
            return made[-1]

        try:
            await dial(target, factory, timeout=server.timeouts.dial, tls=server.target_tls, guard=server.guard)
        except DialError as error:
            self.refuse(error.reason, error.detail)
        except Exception as error:
            self.refuse(INTERNAL, str(error))
        else:
            self._join(made[-1])

    def _join(self, waiting: Waiting) -> None:
        if self.over:
            waiting.transport.abort()
            return
        self._leave()
        stream = self._stream
        stream.write(_GRANTED)
        early, self._data = self._data, b""
        self._server.tunnel(
            lambda on_end: waiting.join(stream, to_right=early, left_full=self._full, left_eof=self._eof, on_end=on_end)
        )

    # -- failing -----------------------------------------------------------------------------------------------------

    def refuse(self, reason: Reason, detail: str = "") -> None:
        """Answer with an error."""
        if self.over:
            return
        self._leave()
        self._server.failed(self, reason, detail)
        self._stream.write(error_response(reason, self.request_id, head_only=False))
        self._stream.close()

    def give_up(self, reason: Reason = STALLED, detail: str = "") -> None:
        """Reset the stream, and connect no more."""
        if self.over:
            return
        self._leave()
        self._server.failed(self, reason, detail)
        if self._task is not None:
            self._task.cancel()
        self._stream.abort()

    def _leave(self) -> None:
        self.over = True
        self._head_timer.cancel()
        self._server.leave_opening(self)
