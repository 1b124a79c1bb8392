"""Routes in the store."""

from __future__ import annotations

import sqlite3

import pytest

from hubd.store import Database
from hubd.store.routes import RouteRecord, Routes


def test_they_come_back_as_they_went_in(tmp_path):
    database = Database(tmp_path / "hub.db")
    routes = Routes(database)
    web = RouteRecord("web", host="a.test", path="/x", agent="a", service="s", strip_path=True, created=1.5)
    ssh = RouteRecord("ssh", tcp_port=2201, agent="a", created=2.5, revision=4)
    for record in (web, ssh):
        routes.put(record)
    database.close()
    again = Routes(Database(tmp_path / "hub.db"))
    assert again.all() == [ssh, web]
    assert (web.place, ssh.place) == (("a.test", "/x", 0), ("", "", 2201))
    again.put(RouteRecord("web", host="b.test", agent="b", created=1.5, revision=2))
    again.delete("ssh")
    assert again.all() == [RouteRecord("web", host="b.test", agent="b", created=1.5, revision=2)]


def test_no_two_have_the_same_place():
    routes = Routes(Database())
    routes.put(RouteRecord("one", tcp_port=2201, agent="a"))
    with pytest.raises(sqlite3.IntegrityError):
        routes.put(RouteRecord("two", tcp_port=2201, agent="a"))
    routes.put(RouteRecord("three", host="a.test", agent="a"))
    with pytest.raises(sqlite3.IntegrityError):
        routes.put(RouteRecord("four", host="a.test", agent="a"))
