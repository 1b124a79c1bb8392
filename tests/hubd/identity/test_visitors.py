"""Who visits: by token, password, certificate, address and plugin."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import ssl
from pathlib import Path

import pytest

from hook_api import Deny
from hubd.identity.access import to_store

PATH = "/api/v1/proxy/demo/hello"


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def put(bench, agent_id: str, **rule) -> None:
    """Store an agent's rule as the API does."""
    given = {"mode": "", "allow_networks": [], "users": {}, "before": {}} | rule
    bench.app.hub.database.write(
        "INSERT OR REPLACE INTO agents (id, visitors, created) VALUES (?, ?, 1.0)",
        (agent_id, json.dumps(to_store(**given))),
    )
    bench.app.identity.visitors.changed(agent_id)


async def test_by_default_nothing_is_asked_and_nothing_stands_in_the_way(bench) -> None:
    agent = await bench.agent()
    assert bench.hub.guard is None
    visitor = await bench.visitor()
    assert (await visitor.get(PATH, "Authorization: Basic eDp5")).status == 200
    assert (await agent.stream()).field("authorization") == ["Basic eDp5"], "what is the target's goes to the target"


async def test_a_rule_holds_from_the_next_request_on(bench) -> None:
    await bench.agent()
    visitor = await bench.visitor()
    assert (await visitor.get()).status == 200
    put(bench, "demo", mode="bearer")
    assert (await visitor.get()).status == 401
    put(bench, "other", mode="bearer")
    put(bench, "demo")
    assert (await visitor.get()).status == 200
    put(bench, "other", mode="open")
    assert bench.hub.guard is None


async def test_a_token_lets_its_own_agents_visitors_in(bench) -> None:
    agent = await bench.agent()
    put(bench, "demo", mode="bearer")
    tokens = bench.app.identity.tokens
    row, secret = tokens.create("visitor", agent="demo")
    good = f"Authorization: bearer {secret.reveal()}"
    visitor = await bench.visitor()
    for _ in range(3):
        assert (await visitor.get(PATH, good)).status == 200
    assert agent.streams[0].field("authorization") == agent.streams[2].field("authorization") == []
    others = [
        (),
        ("Authorization: Bearer x",),
        (f"Authorization: Basic {secret.reveal()}",),
        (good, good),
        (f"Authorization: Bearer {tokens.create('visitor', agent='other')[1].reveal()}",),
        (f"Authorization: Bearer {tokens.create('agent', agent='demo')[1].reveal()}",),
    ]
    for lines in others:
        reply = await visitor.get(PATH, *lines)
        assert (reply.status, reply.one("www-authenticate")) == (401, 'Bearer realm="tunnel"')
    tokens.revoke(row.id)
    assert (await visitor.get(PATH, good)).status == 401


async def test_heads_that_differ_little_are_judged_each_by_itself(bench) -> None:
    agent, free = await bench.agent(), await bench.agent("free")
    put(bench, "demo", mode="bearer")
    line = f"Authorization: Bearer {bench.app.identity.tokens.create('visitor', agent='demo')[1].reveal()}"
    visitor = await bench.visitor()
    for path in ("demo/a", "demo/b", "free/c", "demo/d", "demo/d", "free/e"):
        assert (await visitor.get(f"/api/v1/proxy/{path}", line)).status == 200
    assert [stream.field("authorization") for stream in agent.streams] == [[]] * 4
    assert all(len(stream.field("authorization")) == 1 for stream in free.streams), "what is open gets what was sent"
    for path in ("demo/a", "demo/b"):
        assert (await visitor.get(f"/api/v1/proxy/{path}")).status == 401


async def test_a_credential_goes_on_where_the_settings_say_so(start) -> None:
    bench = await start(visitors={"mode": "bearer", "forward_credentials": True})
    agent = await bench.agent()
    line = f"Bearer {bench.app.identity.tokens.create('visitor', agent='demo')[1].reveal()}"
    visitor = await bench.visitor()
    assert (await visitor.get(PATH, f"Authorization: {line}")).status == 200
    assert (await agent.stream()).field("authorization") == [line]


async def test_a_password_is_checked_once_and_then_known(bench, monkeypatch) -> None:
    agent = await bench.agent()
    put(bench, "demo", mode="basic", users={"ann": "secret"})
    checks = []
    passwords = bench.app.identity.visitors._passwords
    check = passwords.check
    monkeypatch.setattr(passwords, "check", lambda *given: checks.append(1) or check(*given))
    visitor = await bench.visitor()
    reply = await visitor.get()
    assert (reply.status, reply.one("www-authenticate")) == (401, 'Basic realm="tunnel", charset="UTF-8"')
    for _ in range(3):
        assert (await visitor.get(PATH, basic("ann", "secret"))).status == 200
    assert len(checks) == 1 and agent.streams[0].field("authorization") == []
    for line in (basic("ann", "wrong"), basic("bob", "secret"), "Authorization: Basic ???", basic("ann", "")):
        assert (await visitor.get(PATH, line)).status == 401
    assert "secret" not in (await visitor.get(PATH, basic("ann", "secret2"))).body.decode()


async def test_a_body_waits_for_the_password_and_arrives_whole(bench) -> None:
    agent = await bench.agent()
    put(bench, "demo", mode="basic", users={"ann": "secret"})
    visitor = await bench.visitor()
    body = b"x" * 300_000
    head = f"POST {PATH} HTTP/1.1\r\nHost: hub\r\n{basic('ann', 'secret')}\r\nContent-Length: {len(body)}\r\n\r\n"
    assert (await visitor.ask(head.encode() + body, "POST")).status == 200
    assert agent.streams[0].body == body
    # A refusal in the same place leaves the connection in order.
    head = head.replace(basic("ann", "secret"), basic("ann", "wrong"))
    assert (await visitor.ask(head.encode() + body, "POST")).status == 401


async def test_c20_a_visitor_that_only_waits_is_answered_though_it_was_held(bench) -> None:
    await bench.agent()
    put(bench, "demo", mode="basic", users={"ann": "secret"})
    visitor = await bench.visitor()
    await visitor.send(f"GET {PATH} HTTP/1.1\r\nHost: hub\r\n{basic('ann', 'secret')}\r\n\r\n".encode())
    visitor.writer.write_eof()
    assert (await visitor.reply("GET")).status == 200


async def test_guessing_is_slow_and_does_not_lock_out_who_is_known(bench) -> None:
    await bench.agent()
    put(bench, "demo", mode="basic", users={"ann": "secret"})
    visitor = await bench.visitor()
    assert (await visitor.get(PATH, basic("ann", "secret"))).status == 200
    statuses = [(await visitor.get(PATH, "Authorization: Basic ???")).status for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    reply = await visitor.get(PATH, basic("ann", "guess"))
    assert reply.status == 429 and int(reply.one("retry-after")) > 0
    assert (await visitor.get(PATH, basic("ann", "secret"))).status == 200


async def test_addresses_decide_also_behind_a_proxy(start) -> None:
    bench = await start(trusted_proxies="127.0.0.1")
    await bench.agent()
    put(bench, "demo", allow_networks=["10.0.0.0/8"])
    visitor = await bench.visitor()
    assert (await visitor.get()).status == 403
    assert (await visitor.get(PATH, "X-Forwarded-For: 10.1.2.3")).status == 200
    assert (await visitor.get(PATH, "X-Forwarded-For: 10.1.2.3, 192.0.2.1")).status == 403
    assert (await visitor.get("/api/v1/proxy/nobody/")).status == 404


async def test_an_address_somebody_claims_does_not_count(bench) -> None:
    await bench.agent()
    put(bench, "demo", allow_networks=["10.0.0.0/8"])
    visitor = await bench.visitor()
    assert (await visitor.get(PATH, "X-Forwarded-For: 10.1.2.3")).status == 403


async def test_b6_with_a_rule_for_all_nobody_learns_which_agents_there_are(start) -> None:
    bench = await start(visitors={"mode": "bearer"})
    await bench.agent()
    visitor = await bench.visitor()
    answers = set()
    for name in ("demo", "nobody"):
        reply = await visitor.get(f"/api/v1/proxy/{name}/x")
        answers.add(re.sub(rb'"request_id":"\w+"|Date: [^\r]+', b"", reply.head + reply.body))
    assert len(answers) == 1 and reply.status == 401


async def test_a_rule_nobody_can_read_lets_nobody_in(bench, caplog) -> None:
    await bench.agent()
    bench.hub.database.write(
        "INSERT OR REPLACE INTO agents (id, visitors, created) VALUES ('demo', '{\"mode\": 7}', 1)"
    )
    bench.app.identity.visitors.configure()
    visitor = await bench.visitor()
    assert (await visitor.get()).status == 401
    assert "the rule for visitors of agent demo cannot be used" in caplog.text


async def over_tls(port: int, authority: Path, certificate: Path | None) -> list[int]:
    """Two requests on one connection."""
    context = ssl.create_default_context(cafile=str(authority))
    if certificate is not None:
        context.load_cert_chain(certificate)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    statuses = []
    try:
        for _ in range(2):
            writer.write(f"GET {PATH} HTTP/1.1\r\nHost: hub\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
            await reader.readexactly(length)
            statuses.append(int(head[9:12]))
    finally:
        writer.transport.abort()
    return statuses


async def test_certificates_of_visitors_and_of_agents_are_not_mixed_up(start, authority) -> None:
    agents, visitors = authority("agents"), authority("visitors")
    bench = await start(
        listen="127.0.0.1:0", tls_listen="127.0.0.1:0", auth={"agent_certificates": True},
        tls={"cert": agents.issue("127.0.0.1"), "client_ca": agents.file},
        visitors={"mode": "certificate", "client_ca": visitors.file},
    )  # fmt: skip
    await bench.agent()
    port = int(bench.app.urls[1].rpartition(":")[2])
    assert await over_tls(port, agents.file, visitors.issue("ann")) == [200, 200]
    assert await over_tls(port, agents.file, agents.issue("demo")) == [403, 403]
    assert await over_tls(port, agents.file, None) == [403, 403]
    assert bench.app.identity.agents.authorities.names(b"") == frozenset()
    visitor = await bench.visitor()
    assert (await visitor.get()).status == 403


async def test_a_plugin_decides_on_each_request(start, plugin, caplog) -> None:
    seen = []

    def authorize_visitor(visit):
        seen.append(visit)
        return Deny("closed\nfor today") if visit.path == "/no" else None

    plugin(authorize_visitor=authorize_visitor)
    bench = await start()
    await bench.agent()
    visitor = await bench.visitor()
    assert (await visitor.get(PATH, "Cookie: a=b")).status == 200
    assert (await visitor.get(PATH, "Cookie: a=b")).status == 200
    reply = await visitor.get("/api/v1/proxy/demo/no")
    body = json.loads(reply.body)
    assert (reply.status, body["code"], body["msg"]) == (403, "denied_by_hook", "closed for today")
    assert len(seen) == 3
    visit = seen[0]
    assert (visit.agent_id, visit.method, visit.path, visit.host, visit.address) == (
        "demo", "GET", "/hello", "hub", "127.0.0.1",
    )  # fmt: skip
    assert visit.header("cookie") == "a=b" and "a=b" not in repr(visit)


async def test_a_plugin_may_take_its_time_but_not_for_ever(start, plugin) -> None:
    gate = asyncio.Event()

    async def authorize_visitor(visit):
        if visit.path == "/stuck":
            await asyncio.Event().wait()
        await gate.wait()
        return Deny("no") if visit.path == "/no" else None

    plugin(authorize_visitor=authorize_visitor)
    bench = await start(timeouts={"authorize": 0.2})
    await bench.agent()
    visitor = await bench.visitor()
    assert (await visitor.get("/api/v1/proxy/demo/stuck")).status == 503
    gate.set()
    assert (await visitor.get("/api/v1/proxy/demo/no")).status == 403
    assert (await visitor.get()).status == 200


async def test_a_visitor_that_leaves_meanwhile_is_forgotten(start, plugin) -> None:
    gate = asyncio.Event()

    async def authorize_visitor(visit):
        await gate.wait()

    plugin(authorize_visitor=authorize_visitor)
    bench = await start()
    agent = await bench.agent()
    visitor = await bench.visitor()
    await visitor.send(f"GET {PATH} HTTP/1.1\r\nHost: hub\r\n\r\n".encode())
    guard = bench.app.identity.visitors
    await bench.wait(lambda: guard._tasks)
    visitor.reset()
    await bench.wait(lambda: not bench.hub.connections)
    gate.set()
    await bench.wait(lambda: not guard._tasks)
    assert not agent.streams


async def test_no_more_requests_wait_than_fit(start, plugin, monkeypatch) -> None:
    monkeypatch.setattr("hubd.identity.visitors.MAX_WAITING", 1)
    gate = asyncio.Event()

    async def authorize_visitor(visit):
        await gate.wait()

    plugin(authorize_visitor=authorize_visitor)
    bench = await start()
    await bench.agent()
    first, second = await bench.visitor(), await bench.visitor()
    await first.send(f"GET {PATH} HTTP/1.1\r\nHost: hub\r\n\r\n".encode())
    await bench.wait(lambda: bench.app.identity.visitors._tasks)
    assert (await second.get()).status == 503
    gate.set()
    assert (await first.reply("GET")).status == 200


@pytest.mark.parametrize("late", [False, True])
async def test_a_plugin_that_fails_is_a_no(start, plugin, caplog, late) -> None:
    async def later(visit):
        raise RuntimeError("database is gone")

    def at_once(visit):
        raise RuntimeError("database is gone")

    plugin(authorize_visitor=later if late else at_once)
    bench = await start()
    await bench.agent()
    visitor = await bench.visitor()
    with caplog.at_level(logging.ERROR):
        reply = await visitor.get()
    assert reply.status == 503 and b"database" not in reply.body
    assert "a hook failed" in caplog.text


@pytest.mark.parametrize("late", [False, True])
async def test_a_plugin_decides_on_agents(start, plugin, late) -> None:
    from tunnel.attach import AttachRefused

    def at_once(attach):
        return Deny("not on Sundays") if attach.labels.get("day") == "sunday" or attach.agent_id == "bad" else None

    async def later(attach):
        return at_once(attach)

    plugin(authorize_agent=later if late else at_once)
    bench = await start()
    assert bench.hub.guard is None, "a plugin for agents costs no request anything"
    await bench.agent("good")
    with pytest.raises(AttachRefused) as caught:
        await bench.agent("bad")
    assert (caught.value.status, caught.value.code, caught.value.message) == (403, "denied_by_hook", "not on Sundays")


async def test_a_plugin_that_cannot_be_loaded_stops_the_start(monkeypatch) -> None:
    from hook_api import HooksError
    from hubd.app import App
    from hubd.config import HubConfig

    def fail(disable):
        raise HooksError("hook plugin x: import failed")

    monkeypatch.setattr("hubd.identity.desk.load_hooks", fail)
    with pytest.raises(Exception, match="hook plugin x"):
        await App(HubConfig.model_validate({"dev": True, "listen": "127.0.0.1:0"})).start()
