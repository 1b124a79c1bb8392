"""Sessions end with the tokens they live by."""

from __future__ import annotations

import logging

import pytest

from hubd.app import App
from hubd.config import HubConfig
from hubd.identity.desk import load_authorities
from hubd.identity.tokens import TokenBook
from hubd.store import Database


async def test_f3_revoking_cuts_the_session_and_says_so(start, closed, caplog) -> None:
    bench = await start(**closed)
    tokens = bench.app.identity.tokens
    row, secret = tokens.create("agent", agent="demo")
    agent = await bench.agent(token=secret.reveal(), answer=None)
    other = await bench.agent("other", token=tokens.create("agent", agent="other")[1].reveal())
    visitor = await bench.visitor()
    await visitor.send(b"GET /api/v1/proxy/demo/ HTTP/1.1\r\nHost: hub\r\n\r\n")
    await agent.stream()
    with caplog.at_level(logging.WARNING):
        assert tokens.revoke(row.id)[1] == 1
    assert (await visitor.reply("GET")).status == 503
    await bench.wait(lambda: agent.session.is_closed)
    assert not other.session.is_closed and len(bench.hub.pools) == 1
    (line,) = [record for record in caplog.records if "ending its session" in record.getMessage()]
    assert (line.agent, line.token) == ("demo", row.id)  # type: ignore[attr-defined]


async def test_f3_revoking_in_another_process_cuts_within_a_second(start, closed, monkeypatch) -> None:
    bench = await start(**closed)
    row, secret = bench.app.identity.tokens.create("agent", agent="demo")
    agent = await bench.agent(token=secret.reveal())
    monkeypatch.setattr("hubd.app.SWEEP_SECONDS", 0.01)
    bench.app._own(bench.app._sweep())
    elsewhere = Database(closed["store"]["path"])
    TokenBook(elsewhere).revoke(row.id)
    elsewhere.close()
    await bench.wait(lambda: agent.session.is_closed and not bench.hub.pools.sessions())


async def test_an_expired_token_lets_its_session_finish(start, closed, monkeypatch) -> None:
    bench = await start(**closed)
    identity = bench.app.identity
    now = [1e9]
    monkeypatch.setattr(identity.tokens, "_clock", lambda: now[0])
    _, secret = identity.tokens.create("agent", agent="demo", ttl=60.0)
    agent = await bench.agent(token=secret.reveal(), answer=None)
    visitor = await bench.visitor()
    await visitor.send(b"GET /api/v1/proxy/demo/ HTTP/1.1\r\nHost: hub\r\n\r\n")
    stream = await agent.stream()
    now[0] += 60.0
    identity.poll()
    (entry,) = bench.hub.pools.sessions()
    assert entry.draining
    stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (await visitor.reply("GET")).status == 200
    await visitor.close()
    bench.later(10.0)
    await bench.wait(lambda: agent.session.is_closed)


async def test_f3_only_an_admins_token_ends_what_watches(start, closed) -> None:
    bench = await start(**closed)
    identity = bench.app.identity
    calls: list[int] = []
    identity.on_admin_ended = lambda: calls.append(1)
    for kind, given in (("agent", {"agent": "a"}), ("join", {}), ("visitor", {"agent": "a"})):
        identity.tokens.revoke(identity.tokens.create(kind, **given)[0].id)
    assert not calls
    identity.tokens.revoke(identity.tokens.create("admin", role="viewer")[0].id)
    assert calls == [1]


async def test_f3_only_a_list_that_says_something_new_ends_what_watches(start, closed, authority) -> None:
    ours = authority("ours")
    bad, good = ours.issue("a"), ours.issue("b")
    tls = {"cert": ours.issue("127.0.0.1"), "client_ca": ours.file, "client_crl": ours.revoke(bad)}
    bench = await start(**closed, listen=None, tls_listen="127.0.0.1:0", tls=tls)
    identity = bench.app.identity
    calls: list[int] = []
    identity.on_admin_ended = lambda: calls.append(1)
    identity.configure(load_authorities(bench.hub.config))
    assert not calls
    ours.revoke(bad, good)
    identity.configure(load_authorities(bench.hub.config))
    assert calls == [1]


async def test_last_uses_are_in_the_store_after_the_end(start, closed) -> None:
    bench = await start(**closed)
    row, secret = bench.app.identity.tokens.create("agent", agent="demo")
    await bench.agent(token=secret.reveal())
    await bench.app.identity.close()
    assert bench.app.identity.tokens.get(row.id).last_use is not None


async def test_a_bad_file_of_authorities_stops_the_start(closed, authority, tmp_path) -> None:
    ours = authority("ours")
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    config = HubConfig.model_validate(
        closed | {"listen": None, "tls_listen": "127.0.0.1:0", "auth": {"agent_certificates": True},
                  "tls": {"cert": ours.issue("127.0.0.1"), "client_ca": bad}}
    )  # fmt: skip
    with pytest.raises(Exception, match=r"TLS: cannot use CA file .*bad\.pem: no certificate in PEM"):
        await App(config).start()
