"""Scenario 65: random legal scripts, played to our session against the reference and against itself."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.peer import GoError, GoPeer, pattern
from conformance.scenarios.support import KIB, PATIENCE, WINDOW, with_go
from yamux import Config, Session, Stream, StreamReset
from yamux.testing import Link, memory_pair

SIZES = [0, 1, 11, 12, 13, 1000, 16 * KIB, 64 * KIB + 1, WINDOW, WINDOW + 1, 400_000]
# Bytes received, their digest, and how the stream ended. A reset drops what was under way, so no bytes are told for it.
Outcome = tuple[int, str, str]


@dataclass(frozen=True)
class Script:
    """Streams, by the side that opens each, and what is done to them in this order: (stream, side, bytes to write, or
    -1 to end the side, or -2 to reset the stream)."""

    window: int
    openers: tuple[str, ...]
    steps: tuple[tuple[int, str, int], ...]


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Legal scripts: nobody writes after the end, both sides end at last unless reset. Only our side can reset: the
    reference has no call for it."""
    openers = tuple(draw(st.lists(st.sampled_from("ab"), min_size=1, max_size=4)))
    step = st.tuples(st.integers(0, len(openers) - 1), st.sampled_from("ab"), st.sampled_from([*SIZES, -1, -2]))
    steps: list[tuple[int, str, int]] = []
    over: set[tuple[int, str]] = set()
    for stream, side, what in draw(st.lists(step, max_size=12)):
        if (stream, side) in over or (what == -2 and (side == "b" or (stream, "b") in over)):
            continue
        steps.append((stream, side, what))
        if what < 0:
            over.add((stream, side))
        if what == -2:
            over.add((stream, "b"))
    for stream in range(len(openers)):
        steps.extend((stream, side, -1) for side in "ab" if (stream, side) not in over)
    return Script(draw(st.sampled_from([WINDOW, 1024 * KIB])), openers, tuple(steps))


def expected(script: Script) -> list[tuple[Outcome, Outcome]]:
    """What each side must have received of each stream: (a, b)."""
    out = []
    for number in range(len(script.openers)):
        mine = [(side, what) for stream, side, what in script.steps if stream == number]
        if ("a", -2) in mine:
            out.append(((0, "", "reset"), (0, "", "reset")))
            continue
        sizes = {side: sum(max(what, 0) for where, what in mine if where == side) for side in "ab"}
        # Each side receives what the other sent.
        out.append((_whole(sizes["b"]), _whole(sizes["a"])))
    return out


def _whole(size: int) -> Outcome:
    return size, hashlib.sha256(pattern(size)).hexdigest(), "end"


class Side(Protocol):
    """One end of a session, whoever made it."""

    async def open(self) -> int: ...
    async def accept(self) -> int: ...
    async def write(self, number: int, size: int) -> None: ...
    async def end(self, number: int) -> None: ...
    async def reset(self, number: int) -> None: ...
    async def outcome(self, number: int) -> Outcome: ...


async def _read(stream: Stream) -> Outcome:
    digest, size = hashlib.sha256(), 0
    try:
        while piece := await stream.read(64 * KIB):
            digest.update(piece)
            size += len(piece)
    except StreamReset:
        return 0, "", "reset"
    return size, digest.hexdigest(), "end"


@dataclass
class Ours:
    """Our session."""

    session: Session
    streams: dict[int, Stream] = field(default_factory=dict)
    reading: dict[int, asyncio.Task[Outcome]] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)

    def _keep(self, stream: Stream) -> int:
        self.streams[stream.id] = stream
        self.reading[stream.id] = asyncio.ensure_future(_read(stream))
        self.sent[stream.id] = 0
        return stream.id

    async def open(self) -> int:
        return self._keep(await self.session.open())

    async def accept(self) -> int:
        return self._keep(await self.session.accept())

    async def write(self, number: int, size: int) -> None:
        self.streams[number].write(pattern(size, self.sent[number]))
        self.sent[number] += size
        await self.streams[number].drain()

    async def end(self, number: int) -> None:
        self.streams[number].write_eof()

    async def reset(self, number: int) -> None:
        self.streams[number].reset()

    async def outcome(self, number: int) -> Outcome:
        return await self.reading[number]


@dataclass
class Theirs:
    """The reference."""

    peer: GoPeer
    reading: dict[int, asyncio.Future[dict[str, object]]] = field(default_factory=dict)

    async def _keep(self, command: str) -> int:
        number: int = (await self.peer(command))["id"]
        self.reading[number] = self.peer.begin(f"sha {number}")
        return number

    async def open(self) -> int:
        return await self._keep("open")

    async def accept(self) -> int:
        return await self._keep("accept")

    async def write(self, number: int, size: int) -> None:
        await self.peer(f"write {number} {size}")

    async def end(self, number: int) -> None:
        await self.peer(f"close {number}")

    async def reset(self, number: int) -> None:
        raise AssertionError("the reference has no reset")

    async def outcome(self, number: int) -> Outcome:
        try:
            got = await self.reading[number]
        except GoError as error:
            return 0, "", error.kind
        assert isinstance(got["len"], int)
        return got["len"], str(got["sha256"]), "end"


async def play(script: Script, a: Side, b: Side) -> list[tuple[Outcome, Outcome]]:
    """Do all steps and return what each side received."""
    async with asyncio.timeout(PATIENCE):
        numbers = []
        for opener in script.openers:
            opening, accepting = (a, b) if opener == "a" else (b, a)
            number = await opening.open()
            assert await accepting.accept() == number
            numbers.append(number)
        sides = {"a": a, "b": b}
        for stream, side, what in script.steps:
            if what == -2:
                await sides[side].reset(numbers[stream])
            elif what == -1:
                await sides[side].end(numbers[stream])
            else:
                await sides[side].write(numbers[stream], what)
        return [(await a.outcome(number), await b.outcome(number)) for number in numbers]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(script=scripts())
async def test_s65_random_scripts_against_the_reference(role: str, script: Script) -> None:
    async with with_go(role, Config(stream_window=script.window), window=script.window) as (session, peer):
        assert await play(script, Ours(session), Theirs(peer)) == expected(script)
        await session.ping()
        await peer("ping")
        assert session.num_streams == 0
        assert (await peer("num"))["num"] == 0


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(script=scripts(), chunk=st.sampled_from([None, 13, 100, 4096]), coalesce=st.booleans())
async def test_s65_random_scripts_against_itself(role: str, script: Script, chunk: int | None, coalesce: bool) -> None:
    config = Config(stream_window=script.window)
    ours = Session(client=role == "client", config=config)
    other = Session(client=role != "client", config=config)
    memory_pair(ours, other, Link(chunk=chunk, coalesce=coalesce))
    try:
        assert await play(script, Ours(ours), Ours(other)) == expected(script)
        await ours.ping()
        await other.ping()
        assert ours.num_streams == other.num_streams == 0
    finally:
        for session in (ours, other):
            session.abort()
        for session in (ours, other):
            await session.wait_closed()
