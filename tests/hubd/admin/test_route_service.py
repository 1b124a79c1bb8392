"""RouteService over its socket."""

from __future__ import annotations

import asyncio
import socket

import grpc
import pytest
from google.protobuf import field_mask_pb2
from tests.hubd.admin.apihelp import failure
from tests.hubd.conftest import until

from hubd.admin.route_rows import SETTABLE
from tunnelpb.hub.v1 import agent_pb2
from tunnelpb.hub.v1 import route_pb2 as pb


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


async def create(api, route_id="web", request_id="", **fields):
    fields.setdefault("agent", "agents/demo")
    request = pb.CreateRouteRequest(route=pb.Route(**fields), route_id=route_id, request_id=request_id)
    return (await api.routes.CreateRoute(request)).route


async def update(api, *paths, **fields):
    mask = field_mask_pb2.FieldMask(paths=paths)
    return (await api.routes.UpdateRoute(pb.UpdateRouteRequest(route=pb.Route(**fields), update_mask=mask))).route


async def resolve(api, url):
    return await api.routes.ResolveRoute(pb.ResolveRouteRequest(url=url))


async def test_a_host_route_serves_at_once_and_no_more_when_it_is_gone(api):
    await api.bench.agent("demo")
    visitor = await api.bench.visitor()
    ask = b"GET /shop HTTP/1.1\r\nHost: App.Test\r\n\r\n"
    assert (await visitor.ask(ask)).status == 404
    made = await create(api, host="App.Test.", path="/shop/", strip_path=True)
    assert (made.name, made.host, made.path, made.origin, made.etag) == ("routes/web", "app.test", "/shop", "api", "1")
    assert (await visitor.ask(ask)).status == 200, "also on a connection that has asked before"
    assert api.bench.agents[0].streams[0].field("x-proxy-path") == ["/"]
    assert api.bench.agents[0].streams[0].field("x-forwarded-prefix") == ["/shop"]
    await api.routes.DeleteRoute(pb.DeleteRouteRequest(name="routes/web", etag="1"))
    assert (await visitor.ask(ask)).status == 404
    assert (await failure(api.routes.GetRoute(pb.GetRouteRequest(name="routes/web")))).reason == "ROUTE_NOT_FOUND"
    types = [event.type for _, event in api.bench.hub.events.feed.kept() if event.topic == "route"]
    assert types == ["route.created", "route.deleted"]


async def test_what_is_taken_names_its_holder(api):
    port = free()
    await create(api, "one", host="a.test")
    await create(api, "two", tcp_port=port)
    found = await failure(create(api, "other", host="A.test"))
    assert (found.code, found.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ROUTE_HOST_TAKEN")
    assert found.metadata == {"holder": "routes/one", "agent": "agents/demo"}
    found = await failure(create(api, "other", tcp_port=port))
    assert (found.reason, found.metadata["holder"]) == ("ROUTE_PORT_TAKEN", "routes/two")
    assert (await failure(create(api, "one", host="b.test"))).reason == "ROUTE_EXISTS"
    await create(api, "path", host="a.test", path="/x")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        found = await failure(create(api, "other", tcp_port=sock.getsockname()[1]))
    assert (found.reason, found.metadata["holder"]) == ("ROUTE_PORT_TAKEN", "another program")
    assert api.bench.hub.routes.get("other") is None


async def test_a_port_opens_moves_and_closes(api):
    first, second = free(), free()
    agent = await api.bench.agent("demo", answer=None)
    agent.raw = True
    await create(api, "ssh", tcp_port=first, service="ssh")
    reader, writer = await asyncio.open_connection("127.0.0.1", first)
    await until(lambda: agent.streams and b"\r\n\r\n" in agent.streams[0].raw)
    agent.streams[0].transport.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert await reader.readexactly(5) == b"hello"
    moved = await update(api, name="routes/ssh", tcp_port=second)
    assert (moved.tcp_port, moved.service, moved.etag) == (second, "ssh", "2")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", first)
    writer.write(b"still")
    await until(lambda: bytes(agent.streams[0].raw).endswith(b"still"))
    await update(api, "service", name="routes/ssh", service="other")
    other, more = await asyncio.open_connection("127.0.0.1", second)
    await until(lambda: len(agent.streams) > 1 and b"X-Proxy-Host: other" in agent.streams[1].raw)
    await update(api, "tcp_port", "host", name="routes/ssh", host="now.test")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", second)
    for stream in agent.streams:
        stream.transport.abort()
    await until(lambda: not api.bench.hub.active)
    for one in (writer, more):
        one.close()
    assert other is not reader


async def test_update_by_mask_and_etag(api):
    await create(api, host="a.test", path="/x", service="s")
    got = await update(api, "agent", "path", name="routes/web", agent="agents/two")
    assert (got.agent, got.path, got.service) == ("agents/two", "", "s")
    found = await failure(update(api, name="routes/web", service="t", etag="1"))
    assert (found.code, found.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert (await failure(update(api, "name", name="routes/web"))).fields == ["update_mask.paths[0]"]
    assert (await failure(update(api, name="routes/none"))).reason == "ROUTE_NOT_FOUND"
    found = await failure(api.routes.DeleteRoute(pb.DeleteRouteRequest(name="routes/web", etag="9")))
    assert found.reason == "ETAG_MISMATCH" and len(SETTABLE) == 6


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, ["route.host"]),
        ({"host": "a.test", "tcp_port": 1}, ["route.host"]),
        ({"host": "a b", "path": "x", "agent": "demo", "service": "a b"}, ["route.host", "route.path", "route.service", "route.agent"]),
        ({"host": "a.test:80"}, ["route.host"]),
        ({"host": "*"}, ["route.host"]),
        ({"tcp_port": 70_000}, ["route.tcp_port"]),
        ({"tcp_port": 2201, "path": "/x"}, ["route.path"]),
        ({"host": "a.test", "strip_path": True}, ["route.strip_path"]),
        ({"host": "a.test", "route_id": "A!", "request_id": "a b"}, ["route_id", "request_id"]),
        ({"host": "a.test", "agent": ""}, ["route.agent"]),
    ],
)  # fmt: skip
async def test_faults_come_together(api, fields, wrong):
    assert (await failure(create(api, **fields))).fields == wrong


async def test_a_request_is_not_done_twice(api):
    first = await create(api, "", "r1", host="a.test")
    assert await create(api, "", "r1", host="a.test") == first
    assert (await api.routes.ListRoutes(pb.ListRoutesRequest())).total_size == 1


async def test_lists_and_watches(api):
    for number in range(3):
        await create(api, f"r{number}", host=f"h{number}.test", agent=f"agents/a{number % 2}")
    page = await api.routes.ListRoutes(pb.ListRoutesRequest(page_size=2))
    rest = await api.routes.ListRoutes(pb.ListRoutesRequest(page_size=2, page_token=page.next_page_token))
    assert [row.name for row in (*page.routes, *rest.routes)] == ["routes/r0", "routes/r1", "routes/r2"]
    assert (await api.routes.ListRoutes(pb.ListRoutesRequest(agent="agents/a0"))).total_size == 2
    assert (await failure(api.routes.ListRoutes(pb.ListRoutesRequest(agent="x")))).fields == ["agent"]
    watch = api.routes.WatchRoutes(pb.WatchRoutesRequest())
    seen = [await watch.read() for _ in range(4)]
    assert seen[3].bookmark.synced and seen[0].upsert.name == "routes/r0"
    watch.cancel()
    await update(api, name="routes/r0", service="s")
    await api.routes.DeleteRoute(pb.DeleteRouteRequest(name="routes/r1"))
    watch = api.routes.WatchRoutes(pb.WatchRoutesRequest(resume_token=seen[3].resume_token))
    assert (await watch.read()).upsert.service == "s"
    assert (await watch.read()).removed.name == "routes/r1"
    watch = api.routes.WatchRoutes(pb.WatchRoutesRequest(resume_token=seen[1].resume_token))
    assert (await watch.read()).upsert.name == "routes/r2", "within the snapshot"
    found = await failure(api.routes.WatchRoutes(pb.WatchRoutesRequest(resume_token="x")).read())
    assert found.fields == ["resume_token"]


async def test_who_would_get_it_and_why(api):
    port = free()
    await api.bench.agent("demo")
    await create(api, "web", host="*.app.test", path="/api", service="web", strip_path=True)
    await create(api, "ssh", tcp_port=port, agent="agents/away")
    got = await resolve(api, "https://x.app.test/api/v1?q=1")
    assert (got.agent, got.service, got.route.name, got.sessions, got.path) == (
        "agents/demo",
        "web",
        "routes/web",
        1,
        "/v1",
    )
    assert "'web'" in got.reason
    got = await resolve(api, "http://hub/api/v1/proxy/demo/x")
    assert (got.agent, got.path, got.HasField("route")) == ("agents/demo", "/x", False)
    got = await resolve(api, f"tcp://:{port}")
    assert (got.agent, got.sessions) == ("agents/away", 0) and "no agent is known" in got.reason
    assert "no route has the port" in (await resolve(api, "tcp://:1")).reason
    assert "404" in (await resolve(api, "http://x.app.test/other")).reason
    assert "itself" in (await resolve(api, "http://hub/healthz")).reason
    for url in ("nonsense", "ftp://x/", "http://a b/", "http://x:99999/", "tcp://x"):
        assert (await failure(resolve(api, url))).fields == ["url"], url


async def test_an_agent_that_is_deleted_takes_its_routes_along(api):
    await api.bench.agent("demo")
    port = free()
    await create(api, host="a.test")
    await create(api, "ssh", tcp_port=port)
    await api.agents.DeleteAgent(agent_pb2.DeleteAgentRequest(name="agents/demo"))
    assert api.bench.hub.routes.all() == [] and api.bench.hub.router.table is None
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_routes_survive_a_restart(start, tmp_path):
    store = {"path": str(tmp_path / "hub.db")}
    port = free()
    first = await start(store=store)
    from hubd.store.routes import RouteRecord

    first.hub.routes.put(RouteRecord("ssh", tcp_port=port, agent="a", created=1.0))
    second = await start(store=store)
    assert second.hub.routes.of_port(port) is not None
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
