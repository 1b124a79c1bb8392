"""The servers: sockets and their modes, TLS, who is let in, health, reflection, keepalive, errors nobody foresaw."""

from __future__ import annotations

import asyncio
import logging
import socket
import stat

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.hubd.admin.apihelp import Api, Failure, failure
from tests.hubd.conftest import until

from hubd.admin.address import addresses_of
from hubd.admin.caller import Caller
from hubd.admin.errors import ApiError, Code
from hubd.admin.roles import ROLES, Role
from hubd.app import App
from hubd.config import HubConfig
from hubd.listeners import ListenError
from tunnelpb.hub.v1 import hub_pb2, session_pb2

GET = hub_pb2.GetHubRequest()
SECRETS = {"v": Role.VIEWER, "o": Role.OPERATOR, "a": Role.ADMIN}


def authenticate(secret: str) -> Caller | None:
    if secret == "old":
        raise ApiError(Code.UNAUTHENTICATED, "TOKEN_EXPIRED", "this token has expired")
    role = SECRETS.get(secret)
    return Caller(f"tokens/{secret}", role) if role is not None else None


def bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"),)


@pytest.fixture
def tcp(start, certificates, connect):
    """Start a hub with the API on TCP; gives a function that opens a channel to it."""

    async def begin(*, mutual: bool = False, **admin):
        settings = {
            "listen": ["127.0.0.1:0"],
            "tls": {"cert": str(certificates.cert), "key": str(certificates.key)},
            **({"client_ca": str(certificates.ca)} if mutual else {}),
            **admin,
        }
        bench = await start(admin=settings, authenticate=None if mutual else authenticate)
        (address,) = bench.app.api.addresses

        def channel(*names: str) -> Api:
            return Api(connect(address, certificates.credentials(*names)), bench)

        return channel

    return begin


async def test_f8_the_socket_is_ours_alone(start, folder, connect):
    path = folder / "d" / "admin.sock"
    bench = await start(admin={"listen": [f"unix://{path}"]})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert bench.app.api.addresses == [f"unix:{path}"]
    api = Api(connect(f"unix:{path}"))
    answer = await api.hub.GetHub(GET)
    assert answer.hub.admin_addresses == [f"unix:{path}"] and answer.hub.dev
    await bench.app.stop(0.0)
    assert not path.exists()


async def test_a_socket_somebody_has_is_left_alone(start, folder):
    path = folder / "a.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ListenError, match="in use by another hub"):
            await start(admin={"listen": [f"unix:{path}"]})
    assert path.exists()


async def test_a_hub_that_is_faster_gets_the_default_and_the_other_its_own(start, folder):
    first, second = f"unix:{folder}/admin.sock", f"unix:{folder}/admin-8883.sock"
    found = [addresses_of([text]) for text in (first, second)]
    with socket.socket(socket.AF_UNIX) as other:
        # It was free when this hub looked, and is not when it comes to listen.
        other.bind(f"{folder}/admin.sock")
        other.listen()
        app = App(HubConfig.model_validate({"dev": True, "listen": "127.0.0.1:0"}), admin=lambda: found.pop(0))
        await app.start()
        try:
            assert app.api.addresses == [second]
        finally:
            await app.stop(0.0)


async def test_a_taken_port_is_one_line(start, certificates):
    tls = {"cert": str(certificates.cert), "key": str(certificates.key)}
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ListenError, match=f"cannot listen on {where}.*--admin"):
            await start(admin={"listen": [where], "tls": tls}, authenticate=authenticate)


async def test_a_certificate_that_cannot_be_used_is_one_line(start):
    with pytest.raises(ListenError, match="TLS: "):
        await start(admin={"listen": ["127.0.0.1:0"], "tls": {"cert": "/nowhere.pem"}}, authenticate=authenticate)


async def test_f9_tcp_needs_a_token(tcp):
    channel = await tcp()
    api = channel()
    found = await failure(api.hub.GetHub(GET))
    assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING")
    for metadata in (bearer("wrong"), (("authorization", "Basic eA=="),)):
        found = await failure(api.hub.GetHub(GET, metadata=metadata))
        assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
    found = await failure(api.hub.GetHub(GET, metadata=bearer("old")))
    assert found.reason == "TOKEN_EXPIRED"
    assert (await api.hub.GetHub(GET, metadata=bearer("v"))).hub.name
    events = [event for _, event in api.bench.hub.events.feed.kept()]
    assert {event.type for event in events} == {"auth.denied"}
    assert "wrong" not in repr(events), "what was tried is no business of the log's readers"


async def test_f9_refusals_keep_the_shape_of_the_call(tcp):
    api = (await tcp())()
    watch = api.sessions.WatchSessions(session_pb2.WatchSessionsRequest())
    found = await failure(watch.read())
    assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING")
    reflect = reflection_pb2_grpc.ServerReflectionStub(api.channel).ServerReflectionInfo(iter(()))
    assert (await failure(reflect.read())).code is grpc.StatusCode.UNIMPLEMENTED, "no reflection on TCP"


async def test_f9_roles(tcp):
    api = (await tcp())()
    evict = session_pb2.EvictSessionRequest(name="sessions/none")
    found = await failure(api.sessions.EvictSession(evict, metadata=bearer("v")))
    assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert found.metadata == {"role": "VIEWER", "needed": "OPERATOR"}
    assert (await failure(api.sessions.EvictSession(evict, metadata=bearer("o")))).reason == "SESSION_NOT_FOUND"


@pytest.mark.parametrize("method", sorted(name for name, role in ROLES.items() if role is Role.ADMIN))
async def test_f9_what_is_the_administrators_is_refused_to_operators(tcp, method):
    api = (await tcp())()
    call = api.channel.unary_unary(method)(b"", metadata=bearer("o"))
    found = await failure(call)
    # Services that are not on this server have no methods to refuse.
    assert found.reason == "ROLE_REQUIRED" or found.code is grpc.StatusCode.UNIMPLEMENTED


async def test_mutual_tls_gives_the_role_of_the_name(tcp):
    channel = await tcp(mutual=True, clients={"ops.example": "operator", "root.example": "admin"})
    operator = channel("ops.example")
    assert (await operator.hub.GetHub(GET)).hub.name
    found = await failure(operator.hub.ReloadHub(hub_pb2.ReloadHubRequest()))
    assert found.reason == "ROLE_REQUIRED"
    found = await failure(channel("root.example").hub.ReloadHub(hub_pb2.ReloadHubRequest()))
    assert found.reason == "NO_SETTINGS"
    found = await failure(channel("nobody.example").hub.GetHub(GET))
    assert found.reason == "ROLE_REQUIRED" and "cert/nobody.example" in found.message
    assert (await failure(channel().hub.GetHub(GET))).code is grpc.StatusCode.UNAVAILABLE


async def test_a_new_certificate_needs_no_restart(tcp, certificates, connect, caplog):
    channel = await tcp()
    address = channel().bench.app.api.addresses[0]
    before = certificates.cert.read_bytes(), certificates.key.read_bytes()
    certificates.cert.write_text("half written")
    assert (await channel().hub.GetHub(GET, metadata=bearer("v"))).hub.name
    assert "keeping the certificate there is" in caplog.text
    cert, key = certificates.issue("localhost", "127.0.0.1", common="second")
    certificates.key.write_bytes(key.read_bytes())
    certificates.cert.write_bytes(cert.read_bytes())
    loop = asyncio.get_running_loop()

    def presented() -> bytes:
        import ssl

        host, port = address.split(":")
        return ssl.get_server_certificate((host, int(port))).encode()

    found = await loop.run_in_executor(None, presented)
    assert found.split() == cert.read_bytes()[: len(found)].split()
    assert before[0].split() != found.split()


async def test_admin_tokens_of_the_store_open_the_api(start, certificates, connect):
    tls = {"cert": str(certificates.cert), "key": str(certificates.key)}
    bench = await start(admin={"listen": ["127.0.0.1:0"], "tls": tls})
    api = Api(connect(bench.app.api.addresses[0], certificates.credentials()), bench)
    row, secret = bench.app.identity.tokens.create("admin", role="viewer")
    assert (await api.hub.GetHub(GET, metadata=bearer(secret.reveal()))).hub.name
    found = await failure(api.hub.ReloadHub(hub_pb2.ReloadHubRequest(), metadata=bearer(secret.reveal())))
    assert f"tokens/{row.id}" in found.message
    _, wrong = bench.app.identity.tokens.create("agent", agent="a")
    assert (await failure(api.hub.GetHub(GET, metadata=bearer(wrong.reveal())))).reason == "TOKEN_INVALID"


async def test_f3_a_watch_ends_with_its_token(start, certificates, connect):
    tls = {"cert": str(certificates.cert), "key": str(certificates.key)}
    bench = await start(admin={"listen": ["127.0.0.1:0"], "tls": tls})
    api = Api(connect(bench.app.api.addresses[0], certificates.credentials()), bench)
    tokens = bench.app.identity.tokens
    row, secret = tokens.create("admin", role="viewer")
    agents, _ = tokens.create("agent", agent="a")
    watch = api.sessions.WatchSessions(session_pb2.WatchSessionsRequest(), metadata=bearer(secret.reveal()))
    await watch.read()
    tokens.revoke(agents.id)
    tokens.revoke(row.id)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while True:
            assert await watch.read() is not grpc.aio.EOF
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    again = api.sessions.WatchSessions(session_pb2.WatchSessionsRequest(), metadata=bearer(secret.reveal()))
    assert (await failure(again.read())).reason == "TOKEN_INVALID"


async def test_health(api):
    stub = health_pb2_grpc.HealthStub(api.channel)
    for name in ("", "tunnelpb.hub.v1", "tunnel.ready"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    api.bench.hub.draining = True
    await api.bench.app.api.leave()
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_serves_a_client_that_knows_nothing(local):
    api = local
    stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="tunnelpb.hub.v1.SessionService"),
    ]
    listed, files = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    names = {service.name for service in listed.list_services_response.service}
    assert {"tunnelpb.hub.v1.SessionService", "grpc.health.v1.Health"} <= names
    assert b"WatchSessions" in b"".join(files.file_descriptor_response.file_descriptor_proto)


async def test_a_fault_of_ours_has_an_incident_and_no_more(api, monkeypatch, caplog):
    def broken(after=""):
        raise RuntimeError("secret innards")

    monkeypatch.setattr(api.bench.hub.roster, "rows", broken)
    found = await failure(api.sessions.ListSessions(session_pb2.ListSessionsRequest()))
    assert (found.code, found.reason) == (grpc.StatusCode.INTERNAL, "BUG")
    assert "secret innards" not in found.message
    incidents = [record.incident for record in caplog.records if hasattr(record, "incident")]
    assert incidents == [found.metadata["incident"]]


async def test_a_store_that_fails_may_be_tried_again(api):
    await api.bench.agent("one")
    await until(lambda: api.bench.hub.roster.live)
    (entry,) = api.bench.hub.roster.live.values()
    api.bench.hub.database.write("DROP TABLE agents")
    request = session_pb2.EvictSessionRequest(name=f"sessions/{entry.id}")
    request.deny_for.FromSeconds(5)
    found = await failure(api.sessions.EvictSession(request))
    assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")


async def test_calls_that_change_something_leave_a_line(api, caplog):
    caplog.set_level(logging.INFO, "hubd.audit")
    await failure(api.sessions.EvictSession(session_pb2.EvictSessionRequest(name="sessions/none")))
    await api.sessions.ListSessions(session_pb2.ListSessionsRequest())
    (line,) = [record for record in caplog.records if record.name == "hubd.audit"]
    assert (line.actor, line.subject, line.outcome) == (api.actor, "sessions/none", "SESSION_NOT_FOUND")
    assert line.call == "/tunnelpb.hub.v1.SessionService/EvictSession"


async def test_f9_unknown_methods_stay_unknown(api):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.channel.unary_unary("/tunnelpb.hub.v1.SessionService/Nothing")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["SessionService/ListSessions", "SessionService/WatchSessions"])
async def test_requests_that_are_no_messages_are_the_clients_fault(api, caplog, method):
    call = api.channel.unary_stream if "Watch" in method else api.channel.unary_unary
    answer = call(f"/tunnelpb.hub.v1.{method}")(b"\xff\xff")
    found = await failure(answer.read() if "Watch" in method else answer)
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_f9_strangers_are_refused_before_their_request_is_read(tcp):
    api = (await tcp())()
    found = await failure(api.channel.unary_unary("/tunnelpb.hub.v1.SessionService/ListSessions")(b"\xff\xff"))
    assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING")


async def test_f9_large_messages_are_refused(api):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.channel.unary_unary("/tunnelpb.hub.v1.HubService/GetHub")(bytes(5 << 20))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_watches_end_at_once_with_the_place_to_go_on(api):
    watch = api.sessions.WatchSessions(session_pb2.WatchSessionsRequest())
    synced = await watch.read()
    await api.bench.app.api.leave()
    found: Failure = await failure(watch.read())
    assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "HUB_DRAINING")
    assert found.retry_after is not None
    again = api.sessions.WatchSessions(session_pb2.WatchSessionsRequest(resume_token=found.trailing["resume-token"]))
    await api.bench.agent("late")
    assert (await again.read()).upsert.agent == "agents/late"
    assert synced.bookmark.synced
