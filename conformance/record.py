"""Recorded exchanges between our core and the Go reference, and their replay.

``python -m conformance.record`` plays every script to the reference and writes conformance/vectors/NAME.txt; ``--diff``
shows instead what another version of the reference would change. A vector is a capture as ``python -m yamux.trace show``
reads it: the time is the number of the step, ``>`` what our client core sent or ``<`` what came from its server (and the
other way round where the reference is the client). Comments hold the steps: ``# us`` ours, ``# go`` the reference's. Where
our own core in the reference's place answers otherwise, ``# ours`` holds its bytes; none means the same bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from conformance.peer import GoError, GoPeer, pattern
from yamux.config import Config
from yamux.connection import Connection
from yamux.corestream import CoreStream
from yamux.errors import YamuxError
from yamux.events import DataReceived, StreamOpened
from yamux.frames import ACK, PING, SYN, pack
from yamux.trace import CLIENT, SERVER

VECTORS: Final = Path(__file__).resolve().parent / "vectors"
# Never a value of a counted ping.
MARK: Final = 0x5EA1_0000
A_PING: Final = pack(PING, SYN, 0, 0)[:4]
VERSION: Final = "hashicorp/yamux v0.1.2"


@dataclass(frozen=True, slots=True)
class Script:
    """Steps of both sides, in order. ``us``/``go`` then: open, accept, write ID N, readfull ID N, close ID, reset ID,
    ping, goaway. ``role`` is the reference's."""

    name: str
    steps: tuple[str, ...]
    role: str = "server"
    window: int = 256 * 1024
    backlog: int = 256


def _both(name: str, steps: str, **options: int) -> tuple[Script, Script]:
    """The same with the reference as server and as client; O and G stand for the first ids of ours and of the
    reference's."""
    made = []
    for role, ours, theirs in (("server", "1", "2"), ("client", "2", "1")):
        words = steps.replace("O", ours).replace("G", theirs)
        lines = tuple(line.strip() for line in words.split(","))
        made.append(Script(f"{name}-{role}", lines, role, **options))
    return made[0], made[1]


SCRIPTS: Final = (
    *_both("we-open", "us open, go accept, us write O 11, go readfull O 11, go write O 7, us close O, go close O"),
    *_both("it-opens", "go open, us accept, go write G 11, us write G 7, go readfull G 7, go close G, us close G"),
    *_both("its-fin-before-accept", "go open, go write G 5, go close G, us accept, us write G 5, us close G"),
    *_both("our-fin-before-accept", "us open, us write O 5, us close O, go accept, go readfull O 5, go close O"),
    *_both("half-close", "us open, go accept, us close O, go write O 9, go write O 9, go close O"),
    *_both("reset", "us open, go accept, us write O 3, us reset O, us open, go accept"),
    *_both("refused", "us open, us open, go accept", backlog=1),
    *_both("pings", "us ping, go ping, us ping, go ping"),
    *_both("its-goaway", "us open, go accept, go goaway, us write O 4, go readfull O 4, go write O 4"),
    *_both("our-goaway", "us open, go accept, us goaway, go open, go write O 4, us write O 4"),
    *_both("wide", "us open, go accept, go open, us accept, us write O 2, go write G 2", window=512 * 1024),
    *_both("two-each", "us open, go open, go accept, us accept, us write O 1, go write G 1, us close G, go close O, "
           "go close G, us close O"),
)  # fmt: skip


@dataclass
class Player:
    """A core that does steps."""

    core: Connection
    waiting: deque[CoreStream] = field(default_factory=deque)
    streams: dict[int, CoreStream] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, script: Script, *, in_place_of_reference: bool) -> Player:
        """Make the side that talks to the reference, or one in its place."""
        client = (script.role == "client") == in_place_of_reference
        config = Config(keepalive_interval=0, stream_window=script.window, accept_backlog=script.backlog)
        return cls(Connection(client=client, config=config))

    def take(self, data: bytes) -> bytes:
        """Feed what came and return what it makes the core say."""
        for event in self.core.receive_data(data):
            if isinstance(event, StreamOpened):
                self.waiting.append(event.stream)
            elif isinstance(event, DataReceived):
                self.core.consume(event.stream, len(event.data))
        return self.output()

    def do(self, words: list[str]) -> bytes:
        """Do one step and return what it sends. What the session refuses sends nothing."""
        core = self.core
        number, size = (int(word) for word in (words[1:] + ["0", "0"])[:2])
        try:
            match words[0]:
                case "open":
                    self._keep(core.open_stream())
                case "accept":
                    core.accept(self._keep(self.waiting.popleft()))
                case "write":
                    core.send_data(self.streams[number], pattern(size, self.sent[number]))
                    self.sent[number] += size
                case "close":
                    core.end_stream(self.streams[number])
                case "reset":
                    core.reset_stream(self.streams[number])
                case "ping":
                    core.ping()
                case "goaway":
                    core.go_away()
        except YamuxError:
            pass
        return self.output()

    def _keep(self, stream: CoreStream) -> CoreStream:
        self.streams[stream.id] = stream
        self.sent[stream.id] = 0
        return stream

    def output(self) -> bytes:
        """Return what the core has to send."""
        return b"".join(self.core.data_to_send())


# One step: its text, and the bytes it led to, (ours, the reference's) in turn until both were silent.
Step = tuple[str, list[tuple[bytes, bytes]]]


class Live:
    """The reference at the far end of a connection, asked with a ping of its own whether it has said all."""

    def __init__(self, peer: GoPeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer = peer
        self._reader = reader
        self._writer = writer
        self._mark = MARK

    async def answers(self, data: bytes) -> bytes:
        """Send and return all that comes up to the pong of a ping behind it."""
        self._mark += 1
        self._writer.write(data + pack(PING, SYN, 0, self._mark))
        pong = pack(PING, ACK, 0, self._mark)
        came = b""
        async with asyncio.timeout(20):
            while pong not in came:
                came += await self._reader.read(65536)
        return came.replace(pong, b"")

    async def close(self) -> None:
        """Drop the connection."""
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


async def perform(script: Script, recorded: list[Step] | None = None) -> list[Step]:
    """Play a script to the reference; with a record, send what our side said there and not what our core says now."""
    us = Player.of(script, in_place_of_reference=False)
    steps: list[Step] = []
    async with await GoPeer.listen(script.role, window=script.window, backlog=script.backlog) as peer:
        live = Live(peer, *await asyncio.open_connection("127.0.0.1", peer.port))
        await peer.opened.wait()
        for index, text in enumerate(script.steps):
            side, *words = text.split()
            command = peer.begin(" ".join(words)) if side == "go" else None
            if command is not None and words[0] != "ping":
                # Only a ping needs an answer of ours; all else has been sent once the command is done.
                await asyncio.gather(command, return_exceptions=True)
            out = us.do(words) if side == "us" else b""
            rounds: list[tuple[bytes, bytes]] = []
            while True:
                if recorded is not None:
                    past = recorded[index][1]
                    out = past[len(rounds)][0] if len(rounds) < len(past) else b""
                came = await live.answers(out)
                # Each pong of the reference comes from a task of its own, so ours can be behind that of the mark.
                while not came and out[:4] == A_PING:
                    came = await live.answers(b"")
                if out or came:
                    rounds.append((out, came))
                elif command is None or command.done():
                    break
                out = us.take(came)
            if command is not None:
                await asyncio.gather(command, return_exceptions=True)
                if isinstance(error := command.exception(), GoError) and error.kind == "usage":
                    raise error
            steps.append((text, rounds))
        await live.close()
    return steps


def in_its_place(script: Script, steps: list[Step]) -> list[list[bytes]]:
    """Return, for each round of each step, what our core says in the reference's place; a step at which only ours speaks
    has one round more."""
    core = Player.of(script, in_place_of_reference=True)
    answers: list[list[bytes]] = []
    for text, rounds in steps:
        side, *words = text.split()
        said = core.do(words) if side == "go" else b""
        answers.append([])
        for ours, _ in rounds:
            answers[-1].append(said + core.take(ours))
            said = b""
        if said:
            answers[-1].append(said)
    return answers


def render(script: Script, steps: list[Step]) -> str:
    """Return the text of a vector."""
    us, go = (CLIENT, SERVER) if script.role == "server" else (SERVER, CLIENT)
    lines = [f"# {script.name}: {VERSION} as {script.role}, window {script.window}, backlog {script.backlog}"]
    answers = in_its_place(script, steps)
    for number, (text, rounds) in enumerate(steps):
        lines.append(f"# {text}")
        silent = [(b"", b"")] * (len(answers[number]) - len(rounds))
        for (ours, came), own in zip([*rounds, *silent], answers[number], strict=True):
            lines.extend(f"{number}.0 {who} {what.hex()}" for who, what in ((us, ours), (go, came)) if what)
            if own != came:
                lines.append(f"# ours {go} {own.hex()}")
    return "\n".join(lines) + "\n"


def parse(script: Script, text: str) -> list[Step]:
    """Return the steps of a vector, without what our core said in the reference's place."""
    us = CLIENT if script.role == "server" else SERVER
    steps: list[Step] = []
    for line in text.splitlines()[1:]:
        if not line.startswith("#"):
            _, who, what = line.split()
            rounds = steps[-1][1]
            if who == us or not rounds or rounds[-1][1]:
                rounds.append((b"", b""))
            rounds[-1] = (bytes.fromhex(what), b"") if who == us else (rounds[-1][0], bytes.fromhex(what))
        elif not line.startswith("# ours "):
            steps.append((line.removeprefix("# "), []))
    return steps


async def main(arguments: argparse.Namespace) -> int:
    """Record all, or show the differences."""
    VECTORS.mkdir(exist_ok=True)
    different = 0
    for script in SCRIPTS:
        path = VECTORS / f"{script.name}.txt"
        text = render(script, await perform(script))
        if arguments.diff:
            old = path.read_text("utf-8") if path.exists() else ""
            lines = list(difflib.unified_diff(old.splitlines(), text.splitlines(), path.name, "now", lineterm=""))
            different += bool(lines)
            print(*lines, sep="\n", end="\n" if lines else "")
        else:
            path.write_text(text, "utf-8")
    print(f"{len(SCRIPTS)} vectors" + (f", {different} differ" if arguments.diff else " written"))
    return bool(different)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--diff", action="store_true", help="write nothing, show what would change; exit code 1 if so")
    sys.exit(asyncio.run(main(parser.parse_args())))
