"""tunnelctl on a terminal: what fits, what is drawn again, what is asked."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest
from tests.tunnelctl.fakehub import FakeHub

from tunnelpb.hub.v1.session_pb2 import Session

DEADLINE = 30.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """A process with a terminal of its own."""

    def __init__(self, fake: FakeHub, *arguments: str, columns: int = 80, lines: int = 24) -> None:
        self.main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tunnelctl", "--hub", fake.address, *arguments],
            stdin=side, stdout=side, stderr=side, start_new_session=True,
            env=environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(side)
        self.raw = ""

    def read(self) -> bool:
        """Take what comes within a moment. Returns whether the other end is still there."""
        if not select.select([self.main], [], [], 0.2)[0]:
            return True
        # Linux answers so once the last process has closed its end.
        with contextlib.suppress(OSError):
            if data := os.read(self.main, 65536):
                self.raw += data.decode()
                return True
        return False

    def until(self, text: str) -> str:
        """Read until a text has come. Returns all that came, without escapes."""
        end = time.monotonic() + DEADLINE
        while text not in self.plain:
            assert time.monotonic() < end, self.plain
            assert self.read() or text in self.plain, self.plain
        return self.plain

    @property
    def plain(self) -> str:
        return _ESCAPES.sub("", self.raw).replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self.main, text.encode())

    def end(self) -> tuple[int, str]:
        """Read to the end. Returns the exit code and all that came."""
        end = time.monotonic() + DEADLINE
        while self.read():
            assert time.monotonic() < end, self.plain
        return self.process.wait(DEADLINE), self.plain

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.main)


@pytest.fixture
def screen(fake: FakeHub) -> Iterator[object]:
    opened: list[Screen] = []

    def start(*arguments: str, **size: int) -> Screen:
        opened.append(Screen(fake, *arguments, **size))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_a_list_fits_and_has_colours(fake, screen):
    fake.add_session("s1", agent="a-very-long-name-of-an-agent-that-goes-on")
    fake.add_session("s2", state=Session.STATE_DRAINING)
    shown = screen("sessions", "list", columns=60)
    code, text = shown.end()
    assert code == 0
    assert all(len(line) <= 60 for line in text.splitlines())
    assert "a-very-lo…" in text
    assert "\x1b[32mACTIVE\x1b[0m" in shown.raw
    assert "\x1b[33mDRAINING\x1b[0m" in shown.raw
    assert "\x1b[3" not in screen("--no-color", "sessions", "list").end()[1]


def test_top_draws_on_a_screen_of_its_own_and_gives_the_old_one_back(fake, screen):
    fake.add_session("s1")
    shown = screen("top", columns=70)
    text = shown.until("berlin")
    assert "hub h1" in text
    assert "\x1b[?1049h" in shown.raw
    os.kill(shown.process.pid, signal.SIGINT)
    code, _ = shown.end()
    assert code == 130
    assert "\x1b[?1049l" in shown.raw
    assert "Traceback" not in shown.plain


def test_a_watched_list_is_drawn_over(fake, screen):
    fake.add_session("s1")
    shown = screen("sessions", "list", "--watch")
    shown.until("s1")
    fake.add_session("s2", agent="paris")
    shown.until("paris")
    assert "\x1b[2A" in shown.raw
    os.kill(shown.process.pid, signal.SIGINT)
    assert shown.end()[0] == 130


def test_a_drain_counts_down_on_one_line(fake, screen):
    fake.add_session("s1", open_streams=3)
    code, text = screen("sessions", "drain", "s1").end()
    assert code == 0
    assert "draining s1: 3 streams" in text
    assert "sessions/s1 closed after" in text.splitlines()[-1]


@pytest.mark.parametrize(("answer", "code", "evicted"), [("y", 0, 2), ("n", 1, 0)])
def test_it_asks(fake, screen, answer, code, evicted):
    fake.add_session("s1")
    fake.add_session("s2")
    shown = screen("sessions", "evict", "--agent", "berlin")
    shown.until("evict 2 sessions? [y/N]")
    shown.type(f"{answer}\n")
    assert shown.end()[0] == code
    assert len(fake.requests) == evicted
