"""The checks. Each opens what it needs and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

from carrier_api.kit.bench import Bench, Check, ComplianceError, expect, site
from yamux.testing import Recorder

BLOCK = bytes(range(256)) * 256
"""64 KiB, in which a lost, doubled or swapped byte shows."""
BIG = 16 * 1024 * 1024
"""Bytes of the big transfer: several times what kernel buffers on both sides hold."""
MOST_BUFFERED = 1024 * 1024
"""Bytes a transport may hold unsent for a writer that stops when asked to: the high mark, one block, and framing."""


async def check_address(bench: Bench) -> None:
    """URLs are parsed, and bad ones refused in one line without repeating a secret."""
    carrier, address = bench.carrier, bench.address
    expect(address.scheme in carrier.schemes, f"{bench.url} parsed to scheme {address.scheme!r}")
    expect(address.url == bench.url, "the address does not keep the URL it was parsed from")
    expect(not address.path.endswith("/"), "the base path ends in /")
    scheme = address.scheme
    for url in ("", "//", "nosuchscheme://host:1", f"{scheme}:", f"{scheme}://user:s3cret@host:1/", f"{scheme}://"):
        try:
            carrier.parse(url)
        except ValueError as exc:
            expect("\n" not in str(exc) and str(exc) != "", f"the error for {url!r} is not one line")
            expect("s3cret" not in str(exc), "the error repeats the URL's password")
        else:
            raise ComplianceError(f"{url!r} was accepted")


async def check_order(bench: Bench) -> None:
    """Bytes arrive in order, both ways, both at once."""
    async with site(bench) as place:
        client, server = await place.pair()
        there = b"".join(i.to_bytes(4, "big") for i in range(50_000))
        back = there[::-1]
        for start in range(0, len(there), 1000):
            client.transport.write(there[start : start + 1000])
            server.transport.write(back[start : start + 1000])
        expect(await server.received(len(there)) == there, "bytes from the client changed on the way")
        expect(await client.received(len(back)) == back, "bytes from the server changed on the way")


async def check_tiny_writes(bench: Bench) -> None:
    """Single-byte writes arrive as written."""
    async with site(bench) as place:
        client, server = await place.pair()
        text = bytes(i % 251 for i in range(2000))
        for i in range(len(text)):
            client.transport.write(text[i : i + 1])
        client.transport.write(b"")
        expect(await server.received(len(text)) == text, "bytes written one by one changed on the way")


async def check_gathered_writes(bench: Bench) -> None:
    """`writelines` takes pieces of all sizes and kinds, empty ones included."""
    async with site(bench) as place:
        client, server = await place.pair()
        pieces: list[bytes | bytearray | memoryview] = [
            b"a",
            bytearray(b"bc"),
            memoryview(b"xxdefyy")[2:5],
            b"",
            BLOCK,
            memoryview(BLOCK)[7:],
            b"z",
        ] * 3
        client.transport.writelines(pieces)
        whole = b"".join(pieces)
        expect(await server.received(len(whole)) == whole, "gathered pieces changed on the way")


async def check_backpressure(bench: Bench) -> None:
    """A reader that stops makes the writer pause with bounded memory, and loses nothing by it."""
    async with site(bench) as place:
        client, server = await place.pair()
        client.transport.write(b"!")
        await server.received(1)
        server.transport.pause_reading()
        digest = hashlib.sha256(b"!")
        written, most = 1, 0
        while written < BIG and not client.paused:
            client.transport.write(BLOCK)
            digest.update(BLOCK)
            written += len(BLOCK)
            most = max(most, client.transport.get_write_buffer_size())
            # Lets the transport hand over what the kernel takes; pausing itself needs no turn of the loop.
            await asyncio.sleep(0)
        expect(client.paused, f"no pause_writing after {written} bytes nobody read")
        expect(most <= MOST_BUFFERED, f"{most} bytes buffered before the writer was asked to pause")
        server.transport.resume_reading()
        while written < BIG:
            await client.writable()
            client.transport.write(BLOCK)
            digest.update(BLOCK)
            written += len(BLOCK)
            most = max(most, client.transport.get_write_buffer_size())
        expect(most <= MOST_BUFFERED, f"{most} bytes buffered for a writer that pauses when asked")
        got = await server.received(written)
        expect(hashlib.sha256(got).digest() == digest.digest(), "the big transfer changed on the way")
        await client.writable()


async def check_pause_reading(bench: Bench) -> None:
    """Nothing is delivered while reading is paused, everything afterwards."""
    async with site(bench) as place:
        client, server = await place.pair()
        client.transport.write(b"1")
        await server.received(1)
        server.transport.pause_reading()
        client.transport.write(b"2")
        # The answer to something sent later the other way shows that time has passed for the "2" as well.
        server.transport.write(b"ping")
        await client.received(4)
        for _ in range(10):
            await asyncio.sleep(0)
        expect(server.size == 1, "data was delivered while reading was paused")
        server.transport.resume_reading()
        await server.received(2)


async def check_half_close(bench: Bench) -> None:
    """Half close works, or is said not to exist."""
    async with site(bench) as place:
        client, server = await place.pair(keep_open=True)
        if not client.transport.can_write_eof():
            try:
                client.transport.write_eof()
            except NotImplementedError:
                return
            raise ComplianceError("can_write_eof() is False, but write_eof() does not raise NotImplementedError")
        client.transport.write(b"question")
        client.transport.write_eof()
        await server.until(lambda: server.eof)
        expect(bytes(server.data) == b"question", "bytes before the half close are missing")
        server.transport.write(b"answer")
        await client.received(6)
        server.transport.close()
        await client.until(lambda: client.eof)
        client.transport.close()
        expect(await client.lost() is None, "an orderly end was reported as an error")


async def check_close_flushes(bench: Bench) -> None:
    """`close` sends all that was written, and its other end sees an orderly end."""
    async with site(bench) as place:
        client, server = await place.pair()
        for _ in range(64):
            client.transport.write(BLOCK)
        client.transport.close()
        expect(client.transport.is_closing(), "is_closing() is False after close()")
        client.transport.close()
        error = await server.lost()
        expect(server.size == 64 * len(BLOCK), f"{server.size} of {64 * len(BLOCK)} bytes arrived")
        expect(server.eof and error is None, f"an orderly end was reported as {error!r}")
        await client.lost()


async def check_abort(bench: Bench) -> None:
    """`abort` ends both sides soon, with an error where the carrier can tell; what arrived before it is right."""
    async with site(bench) as place:
        client, server = await place.pair()
        client.transport.write(b"before")
        await server.received(6)
        client.transport.abort()
        expect(client.transport.is_closing(), "is_closing() is False after abort()")
        await client.lost()
        error = await server.lost()
        expect(error is not None or not bench.marks_end, "the other end of an abort saw no error")
        expect(not (server.eof and bench.marks_end), "the other end of an abort saw an orderly end")
        expect(bytes(server.data) == b"before", "bytes before the abort changed")


async def check_peer_death(bench: Bench) -> None:
    """A peer that vanishes in the middle of a transfer is reported, not waited for."""
    async with site(bench) as place:
        client, server = await place.pair()
        client.transport.write(b"!")
        await server.received(1)
        server.transport.write(b"!")
        await client.received(1)
        client.transport.pause_reading()
        written = 1
        while not server.paused:
            server.transport.write(BLOCK)
            written += len(BLOCK)
        server.transport.abort()
        client.transport.resume_reading()
        error = await client.lost()
        expect(client.size < written, "the peer vanished, yet everything arrived")
        expect(error is not None or not bench.marks_end, "a cut transfer was reported as complete")


async def check_several(bench: Bench) -> None:
    """Connections do not mix."""
    async with site(bench) as place:
        count = 20
        clients = await asyncio.gather(*(place.dial() for _ in range(count)))
        for number, client in enumerate(clients):
            client.transport.write(bytes([number]) * 5000)
        servers = [await place.accepted.get() for _ in range(count)]
        seen = set()
        for server in servers:
            data = await server.received(5000)
            expect(len(set(data)) == 1, "bytes of two connections were mixed")
            seen.add(data[0])
            server.transport.write(bytes([data[0]]) * 3)
        expect(seen == set(range(count)), "a connection's bytes did not arrive")
        for number, client in enumerate(clients):
            expect(await client.received(3) == bytes([number]) * 3, "an answer reached another connection")


async def check_listener_close(bench: Bench) -> None:
    """A closed listener takes no more, but what it accepted goes on."""
    async with site(bench) as place:
        client, server = await place.pair()
        address = place.address()
        place.listener.close()
        place.listener.close()
        await place.listener.wait_closed()
        expect(place.listener.addresses == [], "a closed listener still names addresses")
        client.transport.write(b"still here")
        await server.received(10)
        try:
            await place.dial(address)
        except OSError as exc:
            expect(not isinstance(exc, TimeoutError), "a refused dial must not wait for the deadline")
            expect("\n" not in str(exc) and str(exc) != "", "the error of a refused dial is not one line")
            return
        raise ComplianceError("a connection was made to a closed listener")


async def check_dial_deadline(bench: Bench) -> None:
    """`dial` gives up in time, and can be cancelled."""
    if bench.silent_url is None:
        return
    carrier, address = bench.carrier, bench.carrier.parse(bench.silent_url)
    try:
        await carrier.dial(address, Recorder, tls=bench.client_tls, timeout=0.2)
    except TimeoutError as exc:
        expect("\n" not in str(exc) and str(exc) != "", "the error of a late dial is not one line")
    else:
        raise ComplianceError("a connection was made to an address that never answers")
    dialling = asyncio.ensure_future(carrier.dial(address, Recorder, tls=bench.client_tls, timeout=bench.deadline))
    await asyncio.sleep(0.05)
    dialling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await dialling
    expect(dialling.cancelled(), "dial swallowed its cancellation")


CHECKS: tuple[Check, ...] = (
    check_address,
    check_order,
    check_tiny_writes,
    check_gathered_writes,
    check_backpressure,
    check_pause_reading,
    check_half_close,
    check_close_flushes,
    check_abort,
    check_peer_death,
    check_several,
    check_listener_close,
    check_dial_deadline,
)
"""Everything, in the order in which failures are easiest to understand."""
