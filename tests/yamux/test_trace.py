from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from yamux.frames import ACK, DATA, FIN, GO_AWAY, PING, RST, SYN, WINDOW_UPDATE, pack
from yamux.trace import CLIENT, SERVER, Frame, Relay, Tracer, read_capture, show_capture

SESSION = [
    (CLIENT, pack(WINDOW_UPDATE, SYN, 1, 0)),
    (CLIENT, pack(DATA, 0, 1, 5) + b"hello"),
    (SERVER, pack(WINDOW_UPDATE, ACK, 1, 0)),
    (CLIENT, pack(WINDOW_UPDATE, FIN, 1, 0)),
    (SERVER, pack(PING, SYN, 0, 7)),
    (SERVER, pack(WINDOW_UPDATE, FIN, 1, 0)),
]


def trace(records: list[tuple[str, bytes]], piece: int | None = None) -> list[Frame]:
    tracer = Tracer()
    frames: list[Frame] = []
    for direction, data in records:
        step = piece or len(data)
        for start in range(0, len(data), step):
            frames += tracer.feed(0.0, direction, data[start : start + step])
    return frames


def test_frames_are_the_same_whole_and_byte_by_byte() -> None:
    whole = trace(SESSION)
    assert trace(SESSION, 1) == whole
    assert [str(frame).split(maxsplit=2)[2] for frame in whole] == [
        "WINDOW_UPDATE SYN stream=1 length=0 window=262144",
        "DATA stream=1 length=5 window=262139",
        "WINDOW_UPDATE ACK stream=1 length=0 window=262144",
        "WINDOW_UPDATE FIN stream=1 length=0 window=262139",
        "PING SYN stream=0 length=7",
        "WINDOW_UPDATE FIN stream=1 length=0 window=262144",
    ]
    assert not any(frame.faults for frame in whole)


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        ([(CLIENT, pack(WINDOW_UPDATE, SYN, 2, 0))], "not the sender's id to open"),
        ([(SERVER, pack(WINDOW_UPDATE, SYN, 0, 0))], "not the sender's id to open"),
        ([(CLIENT, pack(WINDOW_UPDATE, SYN, 1, 0))] * 2, "id used before"),
        ([(CLIENT, pack(DATA, 0, 9, 0))], "stream was never opened"),
        ([(CLIENT, pack(DATA, SYN, 1, 262145))], "1 bytes over the window"),
        ([(CLIENT, pack(WINDOW_UPDATE, SYN, 1, 0xFFFFFFFF))], "window over 2^32-1"),
        ([(CLIENT, pack(WINDOW_UPDATE, SYN | FIN, 1, 0)), (CLIENT, pack(DATA, 0, 1, 0))], "after the sender's FIN"),
        ([(CLIENT, pack(WINDOW_UPDATE, SYN | 0x10, 1, 0))], "unknown flags"),
        ([(CLIENT, pack(PING, SYN, 3, 0))], "a stream id on a frame of the session"),
        ([(CLIENT, pack(GO_AWAY + 1, 0, 0, 0))], "bad type"),
        ([(CLIENT, pack(0x0100, 0, 0, 0))], "bad version"),
    ],
)
def test_a_fault_is_marked_on_its_frame(records: list[tuple[str, bytes]], fault: str) -> None:
    assert trace(records)[-1].faults == [fault]


def test_credit_follows_updates_and_a_reset_forgets_it() -> None:
    frames = trace(
        [
            (CLIENT, pack(WINDOW_UPDATE, SYN, 1, 0)),
            (CLIENT, pack(DATA, 0, 1, 2) + b"ab"),
            (SERVER, pack(WINDOW_UPDATE, 0, 1, 10)),
            (CLIENT, pack(DATA, 0, 1, 1) + b"c"),
            (SERVER, pack(WINDOW_UPDATE, RST, 1, 42)),
        ]
    )
    assert [frame.window for frame in frames] == [262144, 262142, 262144, 262151, None]


def test_nothing_is_read_behind_a_bad_version() -> None:
    assert len(trace([(CLIENT, pack(0x0100, 0, 0, 0) + pack(PING, SYN, 0, 1))])) == 1


def test_a_cut_is_told_with_its_place() -> None:
    tracer = Tracer()
    list(tracer.feed(0.0, CLIENT, pack(DATA, SYN, 1, 9) + b"ab"))
    list(tracer.feed(0.0, SERVER, b"\0\1"))
    assert (tracer.end(1.0, CLIENT) or "").endswith("7 bytes of a body are missing")
    assert (tracer.end(1.0, SERVER) or "").endswith("2 bytes of a header came")


def test_a_capture_is_read_back() -> None:
    shown: list[str] = []
    lines = ["# a comment", "", *(f"0.5 {direction} {data.hex()}" for direction, data in SESSION)]
    assert show_capture(lines, shown.append) == 0
    assert len(shown) == len(SESSION)
    with pytest.raises(ValueError, match="line 2: expected"):
        list(read_capture(["0 > 00", "0 = 00"]))


async def test_the_relay_passes_bytes_and_shows_frames() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    shown: list[str] = []
    target = await asyncio.start_server(echo, "127.0.0.1", 0)
    relay = await Relay(target.sockets[0].getsockname()[:2], None, shown.append).serve("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*relay.sockets[0].getsockname()[:2])
    ping = pack(PING, SYN, 0, 7)
    writer.write(ping)
    writer.write_eof()
    assert await reader.read() == ping
    writer.close()
    for server in (relay, target):
        server.close()
        await server.wait_closed()
    assert [line.split()[1:3] for line in shown] == [[">", "PING"], ["<", "PING"]]


def test_the_command_line_shows_a_capture_from_standard_input() -> None:
    text = "0 > " + pack(PING, SYN, 0, 7).hex() + "\n"
    done = subprocess.run(
        [sys.executable, "-m", "yamux.trace", "show", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "  0.000000 > PING SYN stream=0 length=7\n"
    done = subprocess.run(
        [sys.executable, "-m", "yamux.trace", "show", "-"], input="x\n", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "<stdin>: line 1: expected 'SECONDS > HEX' or 'SECONDS < HEX'\n"


PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "trace.md"
LINE = re.compile(r"^ +([\d.]+) ([<>]) (\S+)((?: \S+)*?) stream=(\d+) length=(\d+)", re.MULTILINE)
NAMES = {"DATA": DATA, "WINDOW_UPDATE": WINDOW_UPDATE, "PING": PING, "GO_AWAY": GO_AWAY}
FLAGS = {"SYN": SYN, "ACK": ACK, "FIN": FIN, "RST": RST}


def test_the_page_shows_what_the_tracer_says_of_its_frames() -> None:
    good, bad = PAGE.read_text("utf-8").split("## A session that does not")
    for text, faulty in ((good, False), (bad, True)):
        shown = [line for line in text.splitlines() if LINE.match(line)]
        assert len(shown) >= 10
        tracer = Tracer()
        said = []
        for line in shown:
            at, direction, kind, flags, stream, length = LINE.match(line).groups()  # type: ignore[union-attr]
            number = NAMES[kind] if kind in NAMES else int(kind.removeprefix("type="), 16)
            bits = sum(FLAGS[name] if name in FLAGS else int(name.removeprefix("flags="), 16) for name in flags.split())
            body = bytes(int(length)) if number == DATA else b""
            raw = pack(number, bits, int(stream), int(length)) + body
            said += [str(frame) for frame in tracer.feed(float(at), direction, raw)]
        assert said == shown
        assert any("!!" in line for line in said) == faulty
