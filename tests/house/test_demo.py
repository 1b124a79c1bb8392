"""``make demo`` works, and ends without a trace of trouble."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tools import demo

COMMAND = [sys.executable, "-m", "tools.demo"]


@pytest.fixture
def running() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        COMMAND,
        cwd=demo.ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield process
    # Asked first: killed at once it could not stop the three it started.
    process.terminate()
    process.communicate(timeout=50)


def test_one_request_through_all_three() -> None:
    done = subprocess.run([*COMMAND, "--once"], cwd=demo.ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert re.search(r"^demo: answer +200 'Hello, there\\n' in ", done.stdout, re.MULTILINE)
    assert re.search(r"^demo: try it +curl http://127\.0\.0\.1:\d+/api/v1/proxy/demo/hello$", done.stdout, re.MULTILINE)
    assert "demo: stopped" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serves_until_told_to_stop_and_leaves_nothing_behind(
    running: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert running.stdout is not None
    lines: list[str] = []
    for line in running.stdout:
        lines.append(line)
        if line.startswith("demo: serving"):
            break
    (url,) = re.findall(r"curl (http://\S+)", "".join(lines))
    with urllib.request.urlopen(url, timeout=30) as response:
        assert response.read() == b"Hello, there\n"
    running.send_signal(number)
    rest, _ = running.communicate(timeout=50)
    assert running.returncode == 0, rest
    assert "demo: stopped" in rest
    assert "Traceback" not in rest
    assert demo.get(url) is None


def test_a_program_that_fails_is_told_with_its_own_words(tmp_path: demo.Path) -> None:
    program = demo.Program("hub", [sys.executable, "-c", "print('no such thing'); raise SystemExit(3)"], tmp_path)
    with pytest.raises(demo.DemoError, match=r"hub ended with code 3:\n    no such thing"):
        demo.wait_for("the hub", program, lambda: None)
    assert program.stop() == 3


def test_stopped_while_it_starts_it_complains_of_nothing(running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    # The hub is being started now, and does not know yet what to do about SIGTERM.
    assert running.stdout.readline().startswith("demo: target")
    running.send_signal(signal.SIGINT)
    rest, _ = running.communicate(timeout=50)
    assert running.returncode == 0, rest
    assert "ended with code" not in rest and "Traceback" not in rest


def test_an_interrupt_waits_until_a_started_program_is_known() -> None:
    started: list[str] = []
    before = signal.signal(signal.SIGINT, demo.Interrupt())
    try:
        with pytest.raises(KeyboardInterrupt):
            handler = signal.getsignal(signal.SIGINT)
            assert isinstance(handler, demo.Interrupt)
            with handler.held():
                signal.raise_signal(signal.SIGINT)
                started.append("the program")
            started.append("never")
        # The second one must not break the end that the first one began.
        signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGINT, demo.Interrupt())
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert started == ["the program"]
