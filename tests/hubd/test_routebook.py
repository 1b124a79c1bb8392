"""Host routes: which wins, and what the router makes of them."""

from __future__ import annotations

import pytest

from hubd.reasons import MISDIRECTED, NOT_FOUND
from hubd.routebook import RouteBook, Table
from hubd.routes import Local, Route, Router
from hubd.store import Database
from hubd.store.routes import RouteRecord, Routes
from tunnel.http1 import RequestReader


def rule(route_id: str, host: str, path: str = "", **fields) -> RouteRecord:
    return RouteRecord(route_id, host=host, path=path, agent=fields.pop("agent", route_id), **fields)


TABLE = Table(
    [
        rule("app", "app.example.com"),
        rule("api", "app.example.com", "/api"),
        rule("api2", "app.example.com", "/api/v2"),
        rule("any", "*.example.com"),
        rule("deep", "*.deep.example.com"),
        rule("only", "only.test", "/x"),
    ]
)


@pytest.mark.parametrize(
    ("host", "path", "wins"),
    [
        (b"app.example.com", b"/", "app"),
        (b"APP.example.com.:8080", b"/", "app"),
        (b"app.example.com", b"/api", "api"),
        (b"app.example.com", b"/api/", "api"),
        (b"app.example.com", b"/apix", "app"),
        (b"app.example.com", b"/api/v2/y", "api2"),
        (b"app.example.com", b"/api/v20", "api"),
        (b"x.example.com", b"/api", "any"),
        (b"x.y.example.com", b"/", "any"),
        (b"x.deep.example.com", b"/", "deep"),
        (b"deep.example.com", b"/", "any"),
        (b"example.com", b"/", False),
        (b"only.test", b"/y", True),
        (b"only.test", b"/x", "only"),
        (b"other", b"/", False),
        (b"", b"/", False),
    ],
)
def test_the_most_specific_host_and_the_longest_path_win(host, path, wins):
    found = TABLE.find(host, path)
    assert (found.id if isinstance(found, RouteRecord) else found) == wins


def head(target: str, host: str, method: str = "GET"):
    reader = RequestReader()
    reader.feed(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Proxy-Host: wish\r\n\r\n".encode())
    made = reader.next_head()
    assert made is not None
    return made


def test_the_router_asks_the_table_first():
    router = Router("example.com")
    assert router.resolve(head("/a", "app.example.com")).agent_id == "app"
    router.table = Table([rule("web", "app.example.com", "/shop", agent="berlin", service="web", strip_path=True)])
    route = router.resolve(head("/shop/cart?x-proxy-host=other", "app.example.com"))
    assert isinstance(route, Route)
    assert (route.agent_id, route.prefix, route.path, route.host) == ("berlin", b"/shop", b"/cart", b"web")
    assert route.target == b"/shop/cart?x-proxy-host=other", "the query is the application's"
    assert router.resolve(head("/shop", "app.example.com")).path == b"/"
    assert router.resolve(head("/else", "app.example.com")) is NOT_FOUND
    assert router.resolve(head("/x", "other.example.com")).agent_id == "other"
    assert router.resolve(head("/healthz", "hub")) is Local.HEALTH


def test_a_connection_for_one_name_is_not_used_for_another():
    router = Router(None)
    router.table = Table([rule("a", "a.test"), rule("b", "b.test")])
    assert router.resolve(head("/", "a.test"), "a.test").agent_id == "a"
    assert router.resolve(head("/", "b.test"), "A.test") is MISDIRECTED
    assert router.resolve(head("/", "b.test"), "hub.test").agent_id == "b"


def test_the_book_is_kept_and_tells_of_changes():
    database = Database()
    tables = []
    book = RouteBook(database, "h/b", tables.append)
    assert tables == [None]
    one = rule("one", "a.test", created=1.0)
    port = RouteRecord("port", tcp_port=2201, agent="a", created=1.0)
    book.put(one)
    book.put(port)
    assert tables[-1] is not None and tables[-1].find(b"a.test", b"/") == one
    assert book.holder(rule("two", "a.test")) == one and book.holder(one) is None
    assert book.of_port(2201) == port and book.of_port(0) is None
    assert [record.id for record in book.of_agent("a")] == ["port"]
    again = RouteBook(database, "h/b", tables.append)
    assert again.all() == [one, port] and again.get("one") == one
    book.delete(one)
    assert tables[-1] is None and Routes(database).all() == [port]
    assert [(change.before, change.after) for _, change in book.feed.kept()] == [(None, one), (None, port), (one, None)]
