"""Who attaches: tokens, join tokens, certificates."""

from __future__ import annotations

import json
import logging
import re
import ssl
from pathlib import Path

import pytest

from hubd.identity import texts
from hubd.identity.revocations import Revocations
from tunnel.attach import AttachRefused

ASK = b"GET /api/v1/hubs/%b HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: yamux\r\n%b\r\n"


def ask(agent_id: str = "demo", *lines: str) -> bytes:
    return ASK % (agent_id.encode(), "".join(f"{line}\r\n" for line in lines).encode("latin-1"))


def bearer(text: str) -> str:
    return f"Authorization: Bearer {text}"


async def test_a_token_opens_the_door_of_its_own_agent(start, closed) -> None:
    bench = await start(**closed)
    row, secret = bench.app.identity.tokens.create("agent", agent="demo")
    await bench.agent(token=secret.reveal())
    (entry,) = bench.hub.pools.sessions()
    assert (entry.agent_id, entry.token_id, entry.joining) == ("demo", row.id, False)
    visitor = await bench.visitor()
    assert (await visitor.get()).status == 200


async def test_f1_all_bad_tokens_look_alike_and_make_no_session(start, closed, monkeypatch) -> None:
    monkeypatch.setattr("hubd.identity.failures.ALLOWED", 1000)
    made = []
    monkeypatch.setattr("hubd.attach.Session", lambda **given: made.append(given))
    bench = await start(**closed)
    tokens = bench.app.identity.tokens
    good = tokens.create("agent", agent="demo")[1].reveal()
    revoked, gone = tokens.create("agent", agent="demo")
    tokens.revoke(revoked.id)
    tried = [
        ask(),
        ask("demo", "Authorization: Basic ZGVtbzpkZW1v"),
        ask("demo", "Authorization:"),
        ask("demo", bearer("")),
        ask("demo", bearer("nonsense")),
        ask("demo", bearer("x" * 4000)),
        ask("demo", bearer("\xff\xfe")),
        ask("demo", bearer(good[:-1])),
        ask("demo", bearer(good.swapcase())),
        ask("demo", bearer(texts.make("agent")[1].reveal())),
        ask("demo", bearer(gone.reveal())),
        ask("other", bearer(good)),
        ask("nobody", bearer(texts.make("agent")[1].reveal())),
        ask("demo", bearer(tokens.create("admin", role="admin")[1].reveal())),
        ask("demo", bearer(tokens.create("visitor", agent="demo")[1].reveal())),
        ask("demo", bearer(tokens.create("join", agent="other")[1].reveal())),
    ]
    answers = set()
    for data in tried:
        visitor = await bench.visitor()
        reply = await visitor.ask(data)
        assert reply.status == 401 and reply.one("www-authenticate") == "Bearer"
        answers.add(re.sub(rb'"request_id":"\w+"|Date: [^\r]+', b"", reply.head + reply.body))
    assert len(answers) == 1
    assert not made and not bench.hub.pools.sessions()
    assert bench.hub.stats.agents_refused == {"unauthorized": len(tried)}


async def test_f1_wrong_guesses_take_the_same_steps(start, closed, monkeypatch) -> None:
    """Time itself is noise on a shared machine, so the steps are counted: one digest and one comparison each."""
    import hashlib
    import hmac

    bench = await start(**closed)
    book = bench.app.identity.tokens
    good = book.create("agent", agent="demo")[1].reveal()
    steps: list[str] = []
    sha256, compare = hashlib.sha256, hmac.compare_digest
    monkeypatch.setattr(hashlib, "sha256", lambda data: steps.append("digest") or sha256(data))
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: steps.append("compare") or compare(a, b))
    for text in ("", "nonsense", good[:-1], texts.make("agent")[1].reveal(), good):
        steps.clear()
        book.verify(text, ("agent",))
        assert steps == ["digest", "compare"]


async def test_f1_ten_failures_a_minute_then_429(start, closed) -> None:
    bench = await start(**closed)
    secret = bench.app.identity.tokens.create("agent", agent="demo")[1].reveal()
    statuses = []
    for _ in range(12):
        visitor = await bench.visitor()
        reply = await visitor.ask(ask("demo", bearer("wrong")))
        statuses.append(reply.status)
    assert statuses == [401] * 10 + [429] * 2
    assert json.loads(reply.body)["code"] == "attach_limited" and int(reply.one("retry-after") or 0) > 0
    # Many agents share an address: one that is wrong does not keep the others out.
    await bench.agent(token=secret)
    assert len(bench.hub.pools) == 1


async def test_f1_agents_behind_a_proxy_are_told_apart(start, closed) -> None:
    bench = await start(**closed, trusted_proxies="127.0.0.1")
    for number in range(12):
        visitor = await bench.visitor()
        line = f"X-Forwarded-For: 192.0.2.99, 192.0.2.{number}"
        assert (await visitor.ask(ask("demo", bearer("wrong"), line))).status == 401


async def test_f2_a_token_is_not_taken_over_a_plain_line_from_elsewhere(start, closed) -> None:
    """A handshake that was captured holds the token, so it may cross no line that can be read."""
    bench = await start(**closed, trusted_proxies="127.0.0.1")
    secret = bench.app.identity.tokens.create("agent", agent="demo")[1].reveal()
    visitor = await bench.visitor()
    reply = await visitor.ask(ask("demo", bearer(secret), "X-Forwarded-Proto: http"))
    assert reply.status == 403 and json.loads(reply.body)["code"] == "attach_insecure"
    visitor = await bench.visitor()
    await visitor.send(ask("demo", bearer(secret), "X-Forwarded-Proto: https"))
    assert (await visitor.head()).status == 101


async def test_f2_unless_a_flag_says_so(start, closed) -> None:
    bench = await start(**closed, trusted_proxies="127.0.0.1", insecure_plain_agents=True)
    secret = bench.app.identity.tokens.create("agent", agent="demo")[1].reveal()
    visitor = await bench.visitor()
    await visitor.send(ask("demo", bearer(secret), "X-Forwarded-Proto: http"))
    assert (await visitor.head()).status == 101


async def test_f4_rotation_fails_no_request(start, closed) -> None:
    bench = await start(**closed)
    tokens = bench.app.identity.tokens
    visitor = await bench.visitor()
    old, secret = tokens.create("agent", agent="demo")
    await bench.agent(token=secret.reveal(), instance="one")
    statuses = [(await visitor.get()).status for _ in range(5)]
    new, secret = tokens.create("agent", agent="demo")
    await bench.agent(token=secret.reveal(), instance="one")
    statuses += [(await visitor.get()).status for _ in range(5)]
    assert tokens.revoke(old.id)[0].revoked
    statuses += [(await visitor.get()).status for _ in range(5)]
    assert statuses == [200] * 15
    assert {entry.token_id for entry in bench.hub.pools.sessions() if not entry.draining} == {new.id}


async def test_f5_an_agent_cannot_take_anothers_name(start, closed, caplog) -> None:
    bench = await start(**closed, domain="example.com")
    tokens = bench.app.identity.tokens
    await bench.agent("one", token=tokens.create("agent", agent="one")[1].reveal())
    thief = tokens.create("agent", agent="two")[1].reveal()
    with caplog.at_level(logging.INFO), pytest.raises(AttachRefused) as caught:
        await bench.agent("one", token=thief)
    assert caught.value.status == 401
    (line,) = [record for record in caplog.records if record.getMessage() == "agent refused"]
    assert (line.reason, line.agent, line.peer) == ("unauthorized", "one", "127.0.0.1")
    (told,) = [event for _, event in bench.hub.events.feed.kept() if event.type == "auth.denied"]
    assert (told.subject, told.attributes) == ("agents/one", {"reason": "unauthorized", "peer": "127.0.0.1"})
    assert [entry.agent_id for entry in bench.hub.pools.sessions()] == ["one"]


async def test_f10_loopback_is_no_credential(start, closed) -> None:
    bench = await start(**closed)
    with pytest.raises(AttachRefused) as caught:
        await bench.agent()
    assert caught.value.status == 401


async def test_with_dev_a_token_still_counts(start) -> None:
    bench = await start()
    row, secret = bench.app.identity.tokens.create("agent", agent="demo")
    await bench.agent(token=secret.reveal())
    await bench.agent("free")
    await bench.agent("wrong", token="wrong")
    assert {entry.agent_id: entry.token_id for entry in bench.hub.pools.sessions()} == {
        "demo": row.id, "free": "", "wrong": "",
    }  # fmt: skip


async def test_a_join_token_makes_a_guest_that_serves_nobody(start, closed, monkeypatch) -> None:
    monkeypatch.setattr("hubd.attach.MAX_GUESTS", 1)
    bench = await start(**closed)
    tokens = bench.app.identity.tokens
    secret = tokens.create("join", uses=5)[1].reveal()
    guest = await bench.agent("new", token=secret)
    (entry,) = bench.hub.pools.sessions()
    assert entry.joining and len(bench.hub.pools) == 0
    visitor = await bench.visitor()
    assert (await visitor.get("/api/v1/proxy/new/x")).status == 404
    second = await bench.agent("newer", token=secret)
    await bench.wait(lambda: second.session.is_closed)
    guest.session.abort()
    await bench.wait(lambda: not bench.hub.pools.sessions())


async def test_a_guest_that_does_not_enrol_is_shown_out(start, closed, monkeypatch) -> None:
    monkeypatch.setattr("hubd.attach.GUEST_SECONDS", 0.01)
    bench = await start(**closed)
    guest = await bench.agent("new", token=bench.app.identity.tokens.create("join")[1].reveal())
    await bench.wait(lambda: guest.session.is_closed and not bench.hub.pools.sessions())


async def test_a_join_token_for_anybody_takes_nobodys_id(start, closed) -> None:
    bench = await start(**closed)
    tokens = bench.app.identity.tokens
    tokens.create("agent", agent="demo")
    with pytest.raises(AttachRefused) as caught:
        await bench.agent(token=tokens.create("join")[1].reveal())
    assert (caught.value.status, caught.value.code) == (409, "agent_taken")
    await bench.agent(token=tokens.create("join", agent="demo")[1].reveal())


async def attach_with(
    port: int, agent_id: str, authority: Path, certificate: Path | None, token: str | None = None
) -> bytes:
    """The status line of an attach over TLS."""
    import asyncio

    context = ssl.create_default_context(cafile=str(authority))
    if certificate is not None:
        context.load_cert_chain(certificate)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(ask(agent_id, *([bearer(token)] if token is not None else [])))
        return await reader.readline()
    finally:
        writer.transport.abort()


async def test_a_certificate_does_as_well_as_a_token(start, closed, authority) -> None:
    ours = authority("ours")
    tls = {"cert": ours.issue("127.0.0.1"), "client_ca": ours.file, "clients": "optional"}
    bench = await start(**closed, listen=None, tls_listen="127.0.0.1:0", tls=tls, auth={"agent_certificates": True})
    mine = ours.issue("agent-1", "agent-2")
    assert b" 101 " in await attach_with(bench.port, "agent-1", ours.file, mine)
    assert b" 101 " in await attach_with(bench.port, "agent-2", ours.file, mine)
    assert b" 401 " in await attach_with(bench.port, "agent-3", ours.file, mine)
    assert b" 401 " in await attach_with(bench.port, "agent-1", ours.file, None)
    await bench.wait(lambda: not bench.hub.pools.sessions())


async def test_f6_bad_client_certificates_are_refused(start, closed, authority) -> None:
    import datetime as dt

    ours, theirs = authority("ours"), authority("theirs")
    tls = {"cert": ours.issue("127.0.0.1"), "client_ca": ours.file}
    bench = await start(**closed, listen=None, tls_listen="127.0.0.1:0", tls=tls, auth={"agent_certificates": True})
    expired = ours.issue("agent-1", not_after=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    for certificate in (expired, theirs.issue("agent-1"), None):
        try:
            line = await attach_with(bench.port, "agent-1", ours.file, certificate)
        except (ssl.SSLError, ConnectionError):
            line = b""
        assert line == b""
    assert b" 401 " in await attach_with(bench.port, "agent-1", ours.file, ours.issue("wrong-name"))
    assert not bench.hub.pools.sessions()


async def test_a_revoked_certificate_opens_nothing_whatever_comes_with_it(start, closed, authority) -> None:
    ours = authority("ours")
    tls = {"cert": ours.issue("127.0.0.1"), "client_ca": ours.file, "clients": "optional"}
    bad, good = ours.issue("agent-1"), ours.issue("agent-1")
    bench = await start(
        **closed, listen=None, tls_listen="127.0.0.1:0", tls=tls | {"client_crl": ours.revoke(bad)},
        auth={"agent_certificates": True},
    )  # fmt: skip
    assert b" 403 " in await attach_with(bench.port, "agent-1", ours.file, bad)
    assert b" 101 " in await attach_with(bench.port, "agent-1", ours.file, good)
    _, secret = bench.app.identity.tokens.create("agent", agent="agent-1")
    assert b" 403 " in await attach_with(bench.port, "agent-1", ours.file, bad, token=secret.reveal())
    assert b" 101 " in await attach_with(bench.port, "agent-1", ours.file, None, token=secret.reveal())
    assert bench.hub.stats.agents_refused["certificate_revoked"] == 2
    await bench.wait(lambda: not bench.hub.pools.sessions())


async def test_a_certificate_revoked_while_a_plugin_thinks_lets_nobody_in(start, closed, authority, plugin) -> None:
    import asyncio

    thinking, gate = asyncio.Event(), asyncio.Event()

    async def authorize_agent(attach):
        thinking.set()
        await gate.wait()

    plugin(authorize_agent=authorize_agent)
    ours = authority("ours")
    tls = {"cert": ours.issue("127.0.0.1"), "client_ca": ours.file}
    bench = await start(**closed, listen=None, tls_listen="127.0.0.1:0", tls=tls, auth={"agent_certificates": True})
    bad = ours.issue("agent-1")
    attach = asyncio.create_task(attach_with(bench.port, "agent-1", ours.file, bad))
    await thinking.wait()
    bench.app.identity.agents.revocations = Revocations([(ours.revoke(bad), ours.file)])
    gate.set()
    assert b" 403 " in await attach
    assert not bench.hub.pools.sessions()
