"""The client package: addresses, errors, deadlines, tokens, paging, watches that go on by themselves."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme
from tests.tunnelctl.fakehub import T0, FakeHub

from tunnelpb.client import Address, Change, HubError, Retry, Tls, connect, watches
from tunnelpb.hub.v1 import hub_pb2, session_pb2, stats_pb2


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    # A watch's first wait, so that tests do not.
    monkeypatch.setattr(watches, "_FIRST_WAIT", 0.01)
    with tempfile.TemporaryDirectory() as folder:
        hub = FakeHub(Path(folder))
        yield hub
        hub.stop()


@pytest.mark.parametrize(
    ("text", "target", "shown"),
    [
        ("unix:///run/hubd/admin.sock", "unix:/run/hubd/admin.sock", "unix:///run/hubd/admin.sock"),
        ("unix:/run/hubd/admin.sock", "unix:/run/hubd/admin.sock", "unix:///run/hubd/admin.sock"),
        (" unix:/tmp/a%20b ", "unix:/tmp/a%2520b", "unix:///tmp/a%20b"),
        ("hub.example.com:7443", "dns:///hub.example.com:7443", "hub.example.com:7443"),
        ("https://hub.example.com:7443/", "dns:///hub.example.com:7443", "hub.example.com:7443"),
        ("[::1]:7443", "dns:///[::1]:7443", "[::1]:7443"),
    ],
)
def test_addresses(text: str, target: str, shown: str) -> None:
    address = Address.parse(text)
    assert (address.target, str(address)) == (target, shown)


def test_a_relative_socket_is_made_absolute() -> None:
    assert Address.parse("unix:admin.sock").socket == os.path.abspath("admin.sock")


@pytest.mark.parametrize(
    "text",
    ["", "hub", "hub:", ":7443", "hub:0", "hub:70000", "hub:x", "::1:7443", "http://hub:80", "tcp://hub:80", "unix:",
     "unix://admin.sock", "unix:/" + "x" * 107, "a b:1", "u@h:1", "[]:1"],
)  # fmt: skip
def test_addresses_that_are_none_say_so_in_one_line(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        Address.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [("unix:/x", True), ("localhost:1", True), ("127.0.0.2:1", True), ("[::1]:1", True), ("10.0.0.1:1", False),
     ("hub:1", False)],
)  # fmt: skip
def test_loopback(text: str, loopback: bool) -> None:
    assert Address.parse(text).is_loopback is loopback


@pytest.mark.parametrize("token", ["", "a b", " a", "a\n", "é"])
async def test_tokens_that_are_none(token: str) -> None:
    with pytest.raises(ValueError, match="token"):
        connect("unix:/x", token=token)


async def test_a_unix_socket_has_no_tls() -> None:
    with pytest.raises(ValueError, match="no TLS"):
        connect("unix:/x", tls=Tls())


async def test_a_key_without_a_certificate_does_not_end_the_process(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without cert_file"):
        connect("hub.example.com:1", tls=Tls(key_file=tmp_path / "own.key"))


async def test_a_call_brings_the_token_and_a_deadline(fake: FakeHub) -> None:
    fake.token = "tun_x"
    async with connect(fake.address, token="tun_x") as hub:
        answer = await hub.hub.GetHub(hub_pb2.GetHubRequest())
        assert answer.hub.name == "hubs/h1"
        assert [event async for event in hub.kept_events()] == []
    assert [metadata["authorization"] for _, metadata in fake.calls] == ["Bearer tun_x"] * 2


async def test_errors_are_typed(fake: FakeHub) -> None:
    async with connect(fake.address) as hub:
        with pytest.raises(HubError) as caught:
            await hub.sessions.GetSession(session_pb2.GetSessionRequest(name="sessions/none"))
        error = caught.value
        assert (error.status, error.code()) == (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.NOT_FOUND)
        assert (error.reason, error.metadata) == ("SESSION_NOT_FOUND", {"name": "sessions/none"})
        assert str(error) == "sessions/none is not known (SESSION_NOT_FOUND)"
        assert isinstance(error, grpc.aio.AioRpcError)
        with pytest.raises(HubError) as caught:
            await hub.sessions.ListSessions(session_pb2.ListSessionsRequest(page_size=-1))
        assert caught.value.fields == (("page_size", "negative"),)


async def test_a_wrong_token(fake: FakeHub) -> None:
    fake.token = "tun_x"
    async with connect(fake.address, token="tun_y") as hub:
        with pytest.raises(HubError) as caught:
            await hub.hub.GetHub(hub_pb2.GetHubRequest())
        assert (caught.value.status, caught.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
        with pytest.raises(HubError) as caught:
            async for _ in hub.watch_sessions():
                pass
        assert caught.value.reason == "TOKEN_INVALID"


async def test_nobody_there() -> None:
    async with connect("unix:///nowhere/admin.sock") as hub:
        with pytest.raises(HubError) as caught:
            await hub.hub.GetHub(hub_pb2.GetHubRequest())
        assert caught.value.status == grpc.StatusCode.UNAVAILABLE
        with pytest.raises(HubError):
            await anext(aiter(hub.watch_sessions()))


async def test_the_deadline_of_the_client_ends_a_call() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{folder}/silent.sock")
        silent.listen()
        async with connect(f"unix:{folder}/silent.sock", timeout=0.05) as hub:
            with pytest.raises(HubError) as caught:
                await hub.hub.GetHub(hub_pb2.GetHubRequest())
            assert caught.value.status == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_lists_come_page_by_page(fake: FakeHub) -> None:
    for number in range(5):
        fake.add_session(f"s{number}", agent=f"a{number % 2}", labels={"even": str(number % 2 == 0)})
    fake.unreachable = ["hubs/h2"]
    missing: set[str] = set()
    async with connect(fake.address) as hub:
        rows = [row.name async for row in hub.list_sessions(page_size=2, unreachable=missing)]
        assert rows == [f"sessions/s{number}" for number in range(5)]
        assert [name for name, _ in fake.calls] == ["ListSessions"] * 3
        assert missing == {"hubs/h2"}
        assert [row.name async for row in hub.list_sessions(agent="agents/a1")] == ["sessions/s1", "sessions/s3"]
        assert len([row async for row in hub.list_sessions(labels={"even": "True"})]) == 3
        assert [row.name async for row in hub.list_agents(page_size=1)] == ["agents/a0", "agents/a1"]
        assert [row.name async for row in hub.list_hubs()] == ["hubs/h1"]
        assert [row async for row in hub.list_routes()] == []
        assert [row async for row in hub.list_tokens()] == []
        assert [row async for row in hub.list_config_versions("agents/a0")] == []


async def upto(stream, count: int) -> list[tuple[str, str]]:
    """The next changes as (kind, name)."""
    found = []
    async with asyncio.timeout(20):
        while len(found) < count:
            change: Change = await anext(stream)
            found.append((change.kind, change.row.name if change.row is not None else ""))
    return found


async def test_a_watch_goes_on_over_cuts_and_sees_each_change_once(fake: FakeHub) -> None:
    fake.add_session("s0")
    retries: list[Retry] = []
    async with connect(fake.address) as hub:
        stream = hub.watch_sessions(told=retries.append)
        assert await upto(stream, 2) == [("upsert", "sessions/s0"), ("synced", "")]
        seen = []
        for number in range(1, 301):
            fake.add_session(f"s{number}")
            if number % 100 == 0:
                fake.cut()
        seen = await upto(stream, 300)
        assert seen == [("upsert", f"sessions/s{number}") for number in range(1, 301)]
        fake.cut()
        fake.add_session("last")
        assert await upto(stream, 1) == [("upsert", "sessions/last")]
        await stream.aclose()
    assert retries
    assert all(retry.error is not None and retry.error.status == grpc.StatusCode.UNAVAILABLE for retry in retries)


async def test_a_watch_of_a_hub_that_began_anew_starts_over_with_a_reset(fake: FakeHub) -> None:
    fake.add_session("s0")
    async with connect(fake.address) as hub:
        stream = hub.watch_sessions()
        await upto(stream, 2)
        fake.restart(forget=True)
        assert await upto(stream, 3) == [("reset", ""), ("upsert", "sessions/s0"), ("synced", "")]
        await stream.aclose()


async def test_a_watch_goes_on_from_a_token_kept_from_before(fake: FakeHub) -> None:
    fake.add_session("s0")
    async with connect(fake.address) as hub:
        stream = hub.watch_sessions()
        await anext(stream)
        token = (await anext(stream)).resume_token
        await stream.aclose()
        fake.add_session("s1")
        stream = hub.watch_sessions(resume_token=token)
        assert await upto(stream, 1) == [("upsert", "sessions/s1")]
        await stream.aclose()


async def test_a_snapshot_cut_in_the_middle_starts_over() -> None:
    answer = session_pb2.WatchSessionsResponse
    tokens = []

    class Call:
        def __init__(self, messages: list, error: bool) -> None:
            self.messages, self.error = messages, error

        async def __aiter__(self):
            for message in self.messages:
                yield message
            if self.error:
                raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())

        def cancel(self) -> None:
            pass

    row = answer(upsert=session_pb2.Session(name="sessions/s"), resume_token="t1")
    synced = answer(bookmark=answer.Bookmark(synced=True), resume_token="t1")
    calls = [Call([row], True), Call([row, synced], False), Call([synced], False)]

    def start(token: str):
        tokens.append(token)
        return calls.pop(0)

    stream = watches.resume(start, watches.accept_row)
    kinds = await upto(stream, 5)
    assert [kind for kind, _ in kinds] == ["upsert", "reset", "upsert", "synced", "synced"]
    assert tokens == ["", "", "t1"]
    await stream.aclose()


def test_waits_grow_at_random_and_heed_the_hub() -> None:
    patience = watches.Patience()
    waits = [patience.next(None).wait for _ in range(12)]
    assert 0.1 <= waits[0] <= 0.2
    assert 7.5 <= waits[-1] <= 15.0
    assert len(set(waits)) == len(waits)
    asked = HubError(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", retry_after=60.0)
    assert patience.next(asked).wait == 60.0


async def test_routes_and_events_are_watched_alike(fake: FakeHub) -> None:
    async with connect(fake.address) as hub:
        routes = hub.watch_routes()
        assert await upto(routes, 1) == [("synced", "")]
        await routes.aclose()
        fake.emit("session", "session.attached", "sessions/s0", "attached")
        fake.emit("auth", "auth.denied", "agents/x", "denied")
        kept = [event.type async for event in hub.kept_events(topics=["auth"])]
        assert kept == ["auth.denied"]
        since = dt.datetime.fromtimestamp(T0 + 2, dt.UTC)
        events = hub.watch_events(since=since)
        assert (await anext(events)).kind == "bookmark"
        assert (await anext(events)).row.type == "auth.denied"
        fake.emit("hub", "hub.draining", "hubs/h1", "draining")
        assert (await anext(events)).row.type == "hub.draining"
        fake.restart(forget=True)
        fake.emit("hub", "hub.started", "hubs/h1", "started")
        assert (await anext(events)).kind == "reset"
        while (change := await anext(events)).row is None:
            assert change.kind == "bookmark"
        assert change.row.type == "hub.started"
        await events.aclose()


async def test_counters_stream(fake: FakeHub) -> None:
    async with connect(fake.address) as hub:
        stream = hub.stream_stats(stats_pb2.STATS_SCOPE_HUB, interval=0.25)
        assert [(await anext(stream)).stats[0].requests for _ in range(3)] == [0, 10, 20]
        await stream.aclose()


async def test_tcp_is_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued, own = authority.issue_cert("localhost"), authority.issue_cert("me@example.com")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))

    class Hubs:
        async def GetHub(self, request, context):
            names = context.auth_context().get("x509_subject_alternative_name", [])
            return hub_pb2.GetHubResponse(hub=hub_pb2.Hub(name=names[0].decode()))

    server = grpc.aio.server()
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    credentials = grpc.ssl_server_credentials(
        [(issued.private_key_pem.bytes(), chain)], authority.cert_pem.bytes(), True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    handler = grpc.unary_unary_rpc_method_handler(
        Hubs().GetHub, hub_pb2.GetHubRequest.FromString, hub_pb2.GetHubResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("tunnelpb.hub.v1.HubService", {"GetHub": handler})]
    )
    await server.start()
    try:
        tls = Tls(ca_file=tmp_path / "ca.pem", cert_file=tmp_path / "own.pem", server_name="localhost")
        async with connect(f"127.0.0.1:{port}", tls=tls) as hub:
            assert (await hub.hub.GetHub(hub_pb2.GetHubRequest())).hub.name == "me@example.com"
        async with connect(f"127.0.0.1:{port}", tls=Tls(ca_file=tmp_path / "ca.pem"), timeout=2) as hub:
            with pytest.raises(HubError):
                await hub.hub.GetHub(hub_pb2.GetHubRequest())
    finally:
        await server.stop(0)
