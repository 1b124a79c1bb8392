"""The web port of those who look after the hub."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from pydantic import ValidationError

from hubd.config import HubConfig
from hubd.listeners import ListenError
from hubd.web import is_own_name


@pytest.fixture
async def web(start):
    bench = await start(web={"listen": "127.0.0.1:0"})
    async with aiohttp.ClientSession(bench.app.parts[-1].url) as session:
        yield bench, session


async def test_metrics_and_health(web):
    bench, session = web
    async with session.get("/metrics") as answer:
        text = await answer.text()
        assert answer.status == 200 and "hub_requests_total 0.0" in text
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert answer.headers["Server"] == "hubd"
    for path in ("/healthz", "/readyz"):
        async with session.get(path) as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})
    async with session.get("/nothing") as answer:
        assert answer.status == 404
    async with session.post("/metrics") as answer:
        assert answer.status == 405


async def test_l1_not_ready_comes_first(web):
    bench, session = web
    for attribute, owner, why in (
        ("draining", bench.hub, "draining"),
        ("holding", bench.hub.pressure, "buffers are full"),
    ):
        setattr(owner, attribute, True)
        async with session.get("/readyz") as answer:
            assert (answer.status, await answer.json()) == (503, {"status": why})
        setattr(owner, attribute, False)
    bench.hub.budget.looked(bench.hub.budget.limit)
    async with session.get("/readyz") as answer:
        assert (await answer.json())["status"] == "out of descriptors"
    bench.hub.budget.looked(0)
    async with session.get("/healthz") as answer:
        assert answer.status == 200


async def test_a_page_of_another_site_gets_nothing(web):
    _, session = web
    async with session.get("/metrics", headers={"Host": "rebound.example:9090"}) as answer:
        assert answer.status == 421 and "hub_requests" not in await answer.text()


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:9090", True), ("localhost", True), ("LOCALHOST:1", True), ("[::1]:9090", True), ("[::1]", True),
        ("evil.example", False), ("127.0.0.1.evil.example:9090", False), ("", False), ("localhost.evil:1", False),
    ],
)  # fmt: skip
def test_own_names(host, own):
    assert is_own_name(host) is own


def test_other_machines_are_refused():
    with pytest.raises(ValidationError, match=r"0\.0\.0\.0:9090 is open to other machines"):
        HubConfig.model_validate({"web": {"listen": "0.0.0.0:9090"}})


async def test_an_address_in_use_names_the_setting(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = "{}:{}".format(*taken.getsockname())
        with pytest.raises(ListenError, match=rf"web\.listen: {where} is in use"):
            await start(web={"listen": where})


async def test_it_can_be_stopped_and_started_again(start):
    bench = await start(web={"listen": "127.0.0.1:0"})
    await bench.app.stop_parts()
    await bench.app.stop_parts()
    await bench.app.start_parts()
    async with aiohttp.ClientSession() as session, session.get(bench.app.parts[-1].url + "/healthz") as answer:
        assert answer.status == 200
