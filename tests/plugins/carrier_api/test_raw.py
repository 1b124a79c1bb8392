"""Upgrade `yamux`: nothing is asked for beside the token, and the session gets every byte behind the head, in order."""

from __future__ import annotations

import asyncio

import pytest

from carrier_api.raw import RAW_FRAMING, RawFraming, RawUpgrade
from yamux.testing import TINY, Recorder, memory_pair


class Told(asyncio.Protocol):
    """Writes down the calls, and which protocol the transport had at each."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.calls.append(("made", transport.get_protocol() is self))

    def data_received(self, data: bytes) -> None:
        self.calls.append(("data", data))


def test_the_client_offers_nothing_but_the_token() -> None:
    upgrade = RawUpgrade()
    assert upgrade.token == b"yamux"
    assert upgrade.offer().headers == []
    assert upgrade.offer() is not upgrade.offer()


@pytest.mark.parametrize("fields", [[], [(b"Upgrade", b"yamux"), (b"Tunnel-Hub", b"1")], [(b"X-Unknown", b"\xff")]])
def test_any_101_confirms_and_any_request_is_accepted(fields: list[tuple[bytes, bytes]]) -> None:
    assert isinstance(RawUpgrade().offer().confirm(fields), RawFraming)
    answer, framing = RawUpgrade().accept(fields)
    assert answer == [] and isinstance(framing, RawFraming)


def test_answers_are_not_shared_between_connections() -> None:
    upgrade = RawUpgrade()
    offered, (answered, _) = upgrade.offer().headers, upgrade.accept([])
    offered.append((b"X-Added", b"1"))
    answered.append((b"X-Added", b"1"))
    assert upgrade.offer().headers == [] and upgrade.accept([])[0] == []


def test_carriers_may_share_it_or_take_another_token() -> None:
    assert RawUpgrade() == RawUpgrade(b"yamux")
    assert RawUpgrade(b"other").token == b"other" and RawUpgrade(b"other") != RawUpgrade()
    with pytest.raises(AttributeError):
        RawUpgrade().token = b"changed"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("leftover", "calls"),
    [(b"", [("made", True)]), (b"\0\1behind the head", [("made", True), ("data", b"\0\1behind the head")])],
)
async def test_start_hands_over_the_connection_then_the_leftover(leftover: bytes, calls: list[object]) -> None:
    head, session = Recorder(), Told()
    pair = memory_pair(head, Recorder())
    RAW_FRAMING.start(pair.left, session, leftover)
    assert session.calls == calls
    assert session.transport is pair.left and pair.left.get_protocol() is session
    assert head.data == b"" and not head.closed


async def test_leftover_comes_before_what_is_read_later_and_both_ways_work() -> None:
    client_head, server_head = Recorder(), Recorder()
    pair = memory_pair(client_head, server_head, TINY)
    client, server = Recorder(), Recorder()
    client_framing = RawUpgrade().offer().confirm(RawUpgrade().accept([])[0])
    client_framing.start(pair.left, client, b"")
    client.transport.write(b"first frame")
    await server_head.received(5)
    RawUpgrade().accept([])[1].start(pair.right, server, bytes(server_head.data))
    server.transport.write(b"answer")
    assert await server.received(11) == b"first frame"
    assert await client.received(6) == b"answer"
    client.transport.close()
    assert await server.lost() is None and await client.lost() is None
    assert server.eof and not server_head.eof and client_head.size == 0


async def test_a_loss_is_told_to_the_session_alone() -> None:
    head, session = Recorder(), Recorder()
    pair = memory_pair(head, Recorder())
    RAW_FRAMING.start(pair.left, session, b"")
    pair.cut()
    assert isinstance(await session.lost(), ConnectionResetError)
    assert not head.closed
