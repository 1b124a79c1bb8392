"""``tunnelctl routes``."""

from __future__ import annotations

import json
import signal


def test_create_list_get_delete(ctl, fake):
    done = ctl(
        "routes",
        "create",
        "app",
        "--host",
        "app.example.com",
        "--path",
        "/api",
        "--agent",
        "berlin",
        "--service",
        "web",
    )
    assert done.out == "created routes/app\n"
    assert fake.requests[0].route.agent == "agents/berlin"
    row = ctl("routes", "create", "--tcp-port", "2201", "--agent", "paris", "-o", "json").json
    assert (row["name"], row["tcp_port"], row["host"]) == ("routes/1", 2201, "")
    assert ctl("routes", "list", "-o", "name").lines == ["routes/1", "routes/app"]
    assert ctl("routes", "list", "--agent", "paris", "-o", "name").lines == ["routes/1"]
    lines = ctl("routes", "list").lines
    assert lines[1].split()[:4] == ["1", "tcp", ":2201", "paris"]
    assert lines[2].split()[:4] == ["app", "app.example.com/api", "berlin", "web"]
    assert ctl("routes", "get", "app", "-o", "json").json["service"] == "web"
    assert ctl("routes", "delete", "app").out == "deleted routes/app\n"
    assert ctl("routes", "delete", "app", code=3).err.splitlines()[0] == (
        "error: routes/app is not known (ROUTE_NOT_FOUND)"
    )


def test_a_host_that_is_taken_names_the_holder(ctl):
    ctl("routes", "create", "app", "--host", "a.example.com", "--agent", "berlin")
    done = ctl("routes", "create", "--host", "a.example.com", "--agent", "berlin", "-o", "json", code=6)
    assert (done.error["reason"], done.error["metadata"]) == ("ROUTE_HOST_TAKEN", {"holder": "routes/app"})


def test_test_says_who_and_why(ctl):
    ctl("routes", "create", "app", "--host", "app.example.com", "--agent", "berlin", "--service", "web")
    assert ctl("routes", "test", "https://app.example.com/api").out == (
        "host app.example.com -> agent berlin service web /api   2 sessions in service\n"
    )
    assert ctl("routes", "test", "https://other.example.com/", code=3).out == "nobody: no route has this host\n"
    assert ctl("routes", "test", "https://other/", "-o", "json", code=3).json["agent"] is None


def test_list_watch(ctl):
    ctl("routes", "create", "app", "--host", "a.example.com", "--agent", "berlin")
    with ctl.start("routes", "list", "--watch", "-o", "jsonl") as process:
        assert json.loads(next(iter(process.stdout)))["route"]["name"] == "routes/app"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_a_route_to_an_agent_nobody_knows_is_made_and_told_of(ctl, fake):
    fake.add_session("s1", agent="paris")
    done = ctl("routes", "create", "web", "--host", "a.example.com", "--agent", "pari")
    assert done.out == "created routes/web\n"
    assert done.err == "but no agent pari is known yet; did you mean paris?\n"
