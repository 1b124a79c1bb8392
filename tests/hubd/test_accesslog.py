"""The access log: lines, batches and what is dropped."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hubd import accesslog
from hubd.accesslog import AccessLog


def add(
    log: AccessLog, path: bytes = b"/a\x1b\xff", *, start: float = 1.0, end: float = 1.25, request_id: bytes = b"id",
    peer: str = "127.0.0.1", method: bytes = b"GET", agent: str = "demo", status: int = 200, size: int = 17, reason: str = "",
) -> None:  # fmt: skip
    log.add((start, end, request_id, (peer, method, path, agent, status), size, reason))


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_line(tmp_path):
    log = AccessLog(str(tmp_path / "log"))
    add(log)
    await log.flush()
    log.close()
    (line,) = lines(tmp_path / "log")
    assert line.pop("time").endswith("Z")
    assert line == {
        "request_id": "id", "peer": "127.0.0.1", "method": "GET", "path": "/a\x1b\xff", "agent": "demo", "status": 200,
        "bytes": 17, "seconds": 0.25,
    }  # fmt: skip
    assert b"\x1b" not in (tmp_path / "log").read_bytes()
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0


async def test_f12_long_paths_are_cut(tmp_path):
    log = AccessLog(str(tmp_path / "log"))
    add(log, b"/" + b"x" * 5000)
    log.close()
    assert len(lines(tmp_path / "log")[0]["path"]) == 1024


async def test_a_full_ring_drops_and_counts(tmp_path):
    log = AccessLog(str(tmp_path / "log"), ring=2)
    for _ in range(5):
        add(log)
    assert log.dropped == 3
    await log.flush()
    log.close()
    found = lines(tmp_path / "log")
    assert len(found) == 3 and found[2] == {"msg": "access log lines dropped", "count": 3}


async def test_l7_a_file_that_takes_nothing(tmp_path):
    log = AccessLog("/dev/full")
    add(log)
    await log.flush()
    assert log.dropped == 1 and log.written == 0
    log.close()


def test_l7_a_pipe_nobody_reads_does_not_hold_up_the_end_of_the_process():
    program = """
import asyncio
from hubd.accesslog import AccessLog

async def main():
    log = AccessLog("-")
    for _ in range(3000):
        log.add((1.0, 1.0, b"id", ("::1", b"GET", b"/", "a", 200), 1, ""))
    try:
        await asyncio.wait_for(log.end(), 0.1)
    except TimeoutError:
        return
    raise SystemExit("the pipe took more than a pipe takes")

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.wait(60) == 0, process.stderr and process.stderr.read()
        finally:
            process.kill()


async def test_where_there_is_no_thread_lines_are_lost_and_counted(tmp_path, monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    log = AccessLog(str(tmp_path / "log"))
    add(log)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        await log.flush()
    assert (log.dropped, log.written) == (1, 0)
    add(log)
    await log.end()
    assert [line.get("count") for line in lines(tmp_path / "log")] == [None, 1]


async def test_many_lines(tmp_path):
    log = AccessLog(str(tmp_path / "log"))
    for _ in range(3000):
        add(log)
    await log.flush()
    log.close()
    assert log.written == 3000 == len(lines(tmp_path / "log"))


async def test_lines_keep_their_order_and_their_own_figures(tmp_path):
    log = AccessLog(str(tmp_path / "log"))
    count = 2 * max(accesslog.OUTCOMES, accesslog.FIGURES)
    for number in range(count):
        agent, reason = f"a{number % 3}", "agent_lost" if number % 5 == 0 else ""
        start = number / 100
        add(log, b'/"%d' % (number % 1500), start=start, end=start + number / 1000, request_id=b"%d" % number, peer="::1",
            method=b"PUT", agent=agent, status=200 + number % 2, size=number, reason=reason)  # fmt: skip
    await log.flush()
    log.close()
    found = lines(tmp_path / "log")
    assert [line["request_id"] for line in found] == [str(number) for number in range(count)]
    for number, line in enumerate(found):
        assert (line["path"], line["agent"], line["status"], line["bytes"], line["seconds"], line.get("reason")) == (
            f'/"{number % 1500}', f"a{number % 3}", 200 + number % 2, number, number / 1000, None if number % 5 else "agent_lost",
        )  # fmt: skip
    times = [str(line["time"]) for line in found]
    assert times == sorted(times) and len(set(times)) == len(times)


async def test_a_flush_ends_though_lines_keep_coming(tmp_path, monkeypatch):
    log, writes = AccessLog(str(tmp_path / "log")), 0
    write = log._write

    def busy(count: int, batches: list[bytes]) -> None:
        nonlocal writes
        writes += 1
        # As under load: while one batch is written, a request ends.
        if writes < 50:
            add(log)
        write(count, batches)

    monkeypatch.setattr(log, "_write", busy)
    add(log)
    await log.flush()
    assert writes == 1
    await log.flush()
    assert writes == 2
    log.close()
    assert len(lines(tmp_path / "log")) == 3


async def test_the_end_waits_for_what_is_being_written(tmp_path, monkeypatch):
    log, begun, go_on = AccessLog(str(tmp_path / "log")), asyncio.Event(), threading.Event()
    write, loop = log._write, asyncio.get_running_loop()

    def slow(count: int, batches: list[bytes]) -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(60.0)
        write(count, batches)

    monkeypatch.setattr(log, "_write", slow)
    add(log)
    flushing = asyncio.create_task(log.flush())
    try:
        await begun.wait()
        ending = asyncio.create_task(log.end())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not ending.done()
    finally:
        go_on.set()
    await asyncio.gather(flushing, ending)
    assert len(lines(tmp_path / "log")) == log.written == 1


async def test_long_lines_do_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(accesslog, "HELD", 1_000_000)
    log = AccessLog(str(tmp_path / "log"))
    for number in range(2000):
        add(log, b"/%d" % number + b"\xff" * 1000)
    # A batch at most goes beyond it.
    assert log._held < 1_000_000 + accesslog.BATCH * 7000 and log.dropped > 1000
    await log.flush()
    assert log.written + log.dropped == 2000 and log._held == 0
    add(log)
    log.close()
    assert lines(tmp_path / "log")[-1]["path"] == "/a\x1b\xff"


async def test_standard_output(capfd):
    log = AccessLog("-")
    add(log)
    log.close()
    assert json.loads(capfd.readouterr().out)["status"] == 200
    os.write(1, b"")


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        AccessLog(str(tmp_path / "no" / "log"))


async def test_lines_of_real_requests(start, tmp_path):
    bench = await start(access_log=str(tmp_path / "log"))
    await bench.agent()
    visitor = await bench.visitor()
    await visitor.get("/api/v1/proxy/demo/a?secret=1")
    await visitor.get("/api/v1/proxy/nobody/")
    await visitor.get("/healthz")
    await bench.hub.access_log.flush()
    found = [(line["path"], line["agent"], line["status"], line.get("reason")) for line in lines(tmp_path / "log")]
    assert found == [
        ("/api/v1/proxy/demo/a", "demo", 200, None),
        ("/api/v1/proxy/nobody/", "nobody", 404, "agent_unknown"),
        ("/healthz", "", 200, None),
    ]
    gone = await bench.agent("gone", answer=None)
    await visitor.send(b"GET /api/v1/proxy/gone/ HTTP/1.1\r\nHost: hub\r\n\r\n")
    await gone.stream()
    visitor.reset()
    await bench.wait(lambda: not bench.hub.active)
    await bench.hub.access_log.flush()
    assert lines(tmp_path / "log")[-1]["status"] == 499
