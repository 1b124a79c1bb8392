"""Our session live with yamux by other authors, in both roles: go-yamux always, others by YAMUX_PEERS.

They differ from the reference in what it leaves open: go-yamux pings at the start and cuts data at 64 KiB; rust-yamux
and the JavaScript one acknowledge with their first frame only, end streams on Data frames, and end the session on a pong
nobody asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from conformance.children import Child
from conformance.peer import pattern
from conformance.peers import linepeer
from yamux import Config, Session, SessionClosed, Stream, StreamReset

KIB = 1 << 10
MIB = 1 << 20
# Longest wait for anything: far above what a loaded machine needs, below the limit of a test.
PATIENCE = 50.0


class Pair:
    """A session of ours and the program at its far end."""

    def __init__(self, name: str, session: Session, child: Child) -> None:
        self.name = name
        self.session = session
        self.child = child
        self._echoes = asyncio.ensure_future(self._echo_all())

    async def ask(self, line: str, *, end: bool = True) -> Stream:
        """Open a stream that the program serves as the line says; ``end`` ends our direction behind it."""
        stream = await self.session.open()
        stream.write(line.encode() + b"\n")
        if end:
            stream.write_eof()
        return stream

    async def answer(self, line: str) -> bytes:
        """Return all the program says to a line."""
        return await (await self.ask(line)).read()

    async def echo(self, size: int) -> None:
        """Send a body through the program's echo and see it come back whole."""
        stream = await self.ask("echo", end=False)
        body = pattern(size)

        async def send() -> None:
            for at in range(0, size, 64 * KIB):
                stream.write(body[at : at + 64 * KIB])
                await stream.drain()
            stream.write_eof()

        sending = asyncio.ensure_future(send())
        assert await stream.read() == body
        await sending

    async def _echo_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            async for stream in self.session:
                group.create_task(_echo(stream))

    async def empty(self) -> None:
        """Wait until no stream is left; the session must live."""
        async with asyncio.timeout(PATIENCE):
            while self.session.num_streams:
                await self.session.ping(PATIENCE)
        assert self.session.close_reason is None

    async def finish(self) -> None:
        """End the session as a program would, and see the peer end too."""
        await self.session.close()
        await self._echoes
        await self.child.ended()


async def _echo(stream: Stream) -> None:
    with suppress(StreamReset, SessionClosed):
        async for piece in stream:
            stream.write(piece)
            await stream.drain()
        stream.close()
        await stream.wait_closed()


async def _join(name: str, role: str, config: Config, *flags: str) -> Pair:
    other = "server" if role == "client" else "client"
    child = await Child.start(f"linepeer {name} {other}", [*linepeer.command(name), f"-role={other}", *flags])
    port = int((await child.wait_line(r"^listening .*:(\d+)$"))[1])
    session = Session(client=role == "client", config=config)
    await asyncio.get_running_loop().create_connection(lambda: session, "127.0.0.1", port)
    return Pair(name, session, child)


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> str:
    """Return our own yamux role."""
    value: str = request.param
    return value


@pytest.fixture(params=linepeer.wanted())
def name(request: pytest.FixtureRequest) -> str:
    """Return whose yamux is at the far end."""
    value: str = request.param
    linepeer.command(value)
    return value


@pytest_asyncio.fixture
async def pair(name: str, role: str) -> AsyncIterator[Pair]:
    """Give a session with keepalive at work, so that pings go both ways beside everything else."""
    pair = await _join(name, role, Config(keepalive_interval=0.2))
    async with pair.child, asyncio.timeout(PATIENCE):
        yield pair
        await pair.empty()
        await pair.finish()


async def test_echo(pair: Pair) -> None:
    await pair.echo(0)
    await pair.echo(1)
    await pair.echo(5 * MIB)


async def test_ping_pong_of_small_messages(pair: Pair) -> None:
    stream = await pair.ask("echo", end=False)
    for number in range(500):
        message = b"%d;" % number
        stream.write(message)
        assert await stream.readexactly(len(message)) == message
    stream.write_eof()
    assert await stream.read() == b""


async def test_bulk_to_the_peer(pair: Pair) -> None:
    stream = await pair.ask("count", end=False)
    body = pattern(32 * MIB)
    for at in range(0, len(body), MIB):
        stream.write(memoryview(body)[at : at + MIB])
        await stream.drain()
    stream.write_eof()
    assert await stream.read() == b"%d -1\n" % len(body)


async def test_bulk_from_the_peer(pair: Pair) -> None:
    assert await pair.answer(f"send {32 * MIB}") == pattern(32 * MIB)


async def test_read_byte_by_byte_first(pair: Pair) -> None:
    size = 2 * MIB
    stream = await pair.ask(f"send {size}")
    got = [await stream.readexactly(1) for _ in range(2000)]
    async for piece in stream:
        got.append(piece)
    assert b"".join(got) == pattern(size)


async def test_written_byte_by_byte(pair: Pair) -> None:
    assert await pair.answer("drip 5000") == pattern(5000)


async def test_our_end_before_any_data(pair: Pair) -> None:
    stream = await pair.session.open()
    stream.write_eof()
    with suppress(StreamReset):  # go-yamux's program resets what names no service
        assert await stream.read() == b""


async def test_reset_by_the_peer(pair: Pair) -> None:
    stream = await pair.ask("reset", end=False)
    with pytest.raises(StreamReset):
        await stream.read()


async def test_reset_by_us_in_mid_transfer(pair: Pair) -> None:
    for _ in range(30):
        stream = await pair.ask(f"send {MIB}", end=False)
        await stream.read(1000)
        stream.reset()
    await pair.echo(1000)


async def test_two_hundred_streams_at_once(pair: Pair) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(pair.echo(20_000))


async def test_two_thousand_streams_in_turn(pair: Pair) -> None:
    for _ in range(2000):
        await pair.echo(10)


async def test_streams_the_peer_opens(pair: Pair) -> None:
    assert await pair.answer(f"open 200 {30_000}") == b"ok 200\n"


async def test_bulk_on_streams_the_peer_opens(pair: Pair) -> None:
    assert await pair.answer(f"open 4 {8 * MIB}") == b"ok 4\n"


async def test_pings_both_ways(pair: Pair) -> None:
    for _ in range(50):
        assert await pair.session.ping() > 0
    assert await pair.answer("ping") == b"ok\n"


async def test_a_full_window_stops_only_its_own_stream(pair: Pair) -> None:
    stuck = await pair.ask("hold", end=False)
    stuck.write(pattern(4 * MIB))
    await pair.echo(2 * MIB)
    stuck.reset()
    await pair.echo(1000)


async def test_a_hundred_that_are_not_served_and_reset(pair: Pair) -> None:
    held = [await pair.ask("hold", end=False) for _ in range(100)]
    await pair.echo(1000)
    for stream in held:
        stream.reset()
    await pair.echo(1000)


async def test_a_late_acknowledgement_is_waited_for(name: str, role: str) -> None:
    """A lazy peer acknowledges when it has something to say, which may be long after it got the request."""
    pair = await _join(name, role, Config(keepalive_interval=0.1, stream_open_timeout=0.2))
    async with pair.child, asyncio.timeout(PATIENCE):
        held = await pair.ask("hold", end=False)
        loop = asyncio.get_running_loop()
        until = loop.time() + 10 * 0.2
        while loop.time() < until:
            await pair.session.ping()
        assert not held.transport.is_closing()
        held.reset()
        await pair.empty()
        await pair.finish()


async def test_the_peer_leaves(name: str, role: str) -> None:
    pair = await _join(name, role, Config())
    async with pair.child, asyncio.timeout(PATIENCE):
        held = await pair.ask("hold", end=False)
        await pair.ask("leave 7", end=False)
        await pair.session.wait_closed()
        # A JavaScript peer ends every stream before it goes.
        if name == "js":
            assert await held.read() == b""
        else:
            with pytest.raises((SessionClosed, StreamReset)):
                await held.read()


async def test_the_largest_frames_the_peer_sends(name: str, role: str) -> None:
    """A MiB from rust-yamux; go-yamux and js cut at 64 KiB."""
    flags = [f"-split={MIB}"] if name == "rust" else []
    pair = await _join(name, role, Config(stream_window=2 * MIB), *flags)
    async with pair.child, asyncio.timeout(PATIENCE):
        assert await pair.answer(f"send {32 * MIB}") == pattern(32 * MIB)
        await pair.empty()
        await pair.finish()
