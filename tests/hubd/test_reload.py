"""Reading the settings again while the hub runs (rows L2, L3)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from hubd.config import HubConfig
from hubd.reload import Reloader, differences, is_live
from tunnel.settings import load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hubd.toml"
    path.write_text("")
    return path


@pytest.fixture
async def reloader(start, file: Path):
    bench = await start()
    flags = {"dev": True, "listen": "127.0.0.1:0"}

    def settings():
        return load(HubConfig, prefix="HUBD_", file=file, flags=flags, environ={})

    made = Reloader(bench.app, settings)
    made.bench = bench
    return made


async def test_l2_a_bad_file_changes_nothing_and_names_the_field(reloader, file, caplog):
    hub = reloader.bench.hub
    before = hub.config
    file.write_text('policy = "random"\n[timeouts]\nidle = "soon"\ndrian = "1s"\n')
    result = await reloader.reload()
    assert len(result.faults) == 2 and not result.applied
    assert any("hubd.toml:3: timeouts.idle" in fault for fault in result.faults)
    assert any("hubd.toml:4: timeouts.drian: unknown key" in fault for fault in result.faults)
    assert hub.config is before and hub.stats.reloads_failed == 1 and hub.stats.reloads == 0
    assert "timeouts.idle" in caplog.text
    visitor = await reloader.bench.visitor()
    await reloader.bench.agent()
    assert (await visitor.get()).status == 200


async def test_l2_an_access_log_that_cannot_be_opened(reloader, file):
    file.write_text('access_log = "/nowhere/log"\npolicy = "random"\n')
    result = await reloader.reload()
    assert result.faults == ["access_log: cannot write /nowhere/log: No such file or directory"]
    assert reloader.bench.hub.config.policy == "least-streams"


async def test_l3_what_can_change_does_and_nothing_else_moves(reloader, file):
    bench = reloader.bench
    hub = bench.hub
    agent = await bench.agent()
    visitor = await bench.visitor()
    assert (await visitor.get()).status == 200
    servers = [door._servers for door in bench.app.doors.ports.values()]
    file.write_text(
        'domain = "tunnel.test"\npolicy = "round-robin"\nlog_level = "debug"\ntrusted_proxies = ["10.0.0.0/8"]\n'
        'carriers = ["tcp://127.0.0.1:0"]\n[timeouts]\nidle = "7s"\nresponse = "9s"\n[limits]\nbody = "10B"\nhead = "9 KiB"\nbacklog = 9\n'
    )
    level = logging.getLogger().level
    try:
        result = await reloader.reload()
        assert logging.getLogger().level == logging.DEBUG
    finally:
        logging.getLogger().setLevel(level)
    assert result.applied == [
        "domain", "limits.body", "limits.head", "log_level", "policy", "timeouts.idle", "timeouts.response", "trusted_proxies",
    ]  # fmt: skip
    assert result.need_restart == ["carriers", "limits.backlog"]
    assert (hub.idle_timeout, hub.response_timeout) == (7.0, 9.0)
    assert (hub.http_limits.body, hub.http_limits.head) == (10, 9 * 1024)
    assert hub.config.carriers == () and hub.limits.backlog == 4096 and hub.stats.reloads == 1
    assert [door._servers for door in bench.app.doors.ports.values()] == servers
    assert not agent.session.is_closed
    # The same connection goes on, and goes by the new settings.
    await visitor.send(b"GET /x HTTP/1.1\r\nHost: demo.tunnel.test\r\n\r\n")
    assert (await visitor.reply()).status == 200
    assert (await reloader.reload()).applied == []


async def test_l3_a_request_that_repeats_itself_is_routed_anew(reloader, file):
    await reloader.bench.agent()
    visitor = await reloader.bench.visitor()
    ask = b"GET /x HTTP/1.1\r\nHost: demo.tunnel.test\r\n\r\n"
    assert (await visitor.ask(ask)).status == 404
    file.write_text('domain = "tunnel.test"\n')
    await reloader.reload()
    assert (await visitor.ask(ask)).status == 200


async def test_l3_the_access_log_is_opened_anew(reloader, file, tmp_path):
    await reloader.bench.agent()
    visitor = await reloader.bench.visitor()
    log = tmp_path / "access.log"
    file.write_text(f'access_log = "{log}"\n')
    await reloader.reload()
    await visitor.get()
    await reloader.bench.hub.access_log.flush()
    log.rename(tmp_path / "access.log.1")
    await reloader.reload()
    await visitor.get("/api/v1/proxy/demo/after-it")
    await reloader.bench.hub.access_log.flush()
    assert "after-it" not in (tmp_path / "access.log.1").read_text()
    assert "after-it" in log.read_text()
    file.write_text("")
    await reloader.reload()
    assert reloader.bench.hub.access_log is None
    assert (await visitor.get()).status == 200


async def test_l3_reloads_queue_up(reloader, file):
    results = await asyncio.gather(*(reloader.reload() for _ in range(5)))
    assert all(not result.faults for result in results)
    assert reloader.bench.hub.stats.reloads == 5
    assert reloader.settings.origins["dev"] == "--dev"


def test_keys():
    assert differences(HubConfig(dev=True), HubConfig(dev=True, domain="a.b")) == ["domain"]
    assert is_live("limits.body") and is_live("tls.cert")
    assert not is_live("limits.backlog") and not is_live("listen") and not is_live("dev")


async def test_a_hub_made_by_hand_has_no_settings_to_read(start):
    assert (await start()).hub.reload is None


async def test_where_settings_came_from(reloader, file):
    file.write_text("not = [valid")
    assert reloader.origins() == {}, "a file with faults tells nothing, and breaks nothing"
    file.write_text('policy = "random"\n')
    assert reloader.origins()["policy"] == f"{file}:1"
