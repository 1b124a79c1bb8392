"""The Go reference over TLS, where neither side can half-close the connection."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from conformance.peer import GoPeer, pattern
from yamux import Session

MIB = 1 << 20


@pytest.mark.parametrize("role", ["client", "server"])
async def test_e51_everything_arrives_before_the_end(role: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    other = "server" if role == "client" else "client"
    async with await GoPeer.listen(other, cert=certificate, key=key) as peer:
        loop = asyncio.get_running_loop()
        session = Session(client=role == "client")
        await loop.create_connection(lambda: session, "127.0.0.1", peer.port, ssl=context, server_hostname="127.0.0.1")
        await peer.opened.wait()
        seen = session.stats.frames_in
        # The reference counts whole microseconds, of a clock that may stand still.
        assert (await peer("ping"))["us"] >= 0
        assert session.stats.frames_in > seen
        stream = await session.open()
        number = (await peer("accept"))["id"]
        writing = peer.begin(f"write {number} {4 * MIB}")
        assert await stream.readexactly(4 * MIB) == pattern(4 * MIB)
        assert (await writing)["len"] == 4 * MIB
        reading = peer.begin(f"sha {number}")
        stream.write(pattern(4 * MIB))
        stream.write_eof()
        got = await reading
        assert (got["len"], got["bad"]) == (4 * MIB, -1)
        await peer(f"close {number}")
        assert await stream.read() == b""
        await session.close()
        await peer.closed.wait()
