"""tunnelctl on a real hub with real agents."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.harness import System, environment, free_port, wait_until

from tunnelctl import cli, locate


class Ctl:
    """Runs ``tunnelctl --hub ADDRESS …``."""

    def __init__(self, address: str, system: System) -> None:
        self.address = address
        self.system = system

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run a line in this process, since starting one costs more than all it does. Returns output and errors."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            ended = cli.run(["--hub", self.address, *arguments])
        assert ended == code, (ended, out.getvalue(), err.getvalue())
        return out.getvalue(), err.getvalue()

    def __call__(self, *arguments: str, code: int = 0) -> str:
        return self.run(*arguments, code=code)[0]

    def json(self, *arguments: str) -> list[dict[str, object]]:
        found = json.loads(self(*arguments, "-o", "json"))
        assert isinstance(found, list)
        return found

    def error(self, *arguments: str, code: int) -> list[str]:
        return self.run(*arguments, code=code)[1].splitlines()


@pytest.fixture(scope="module")
def ctl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ctl]:
    """A hub with two agents."""
    # pytest's folders are too deep for a socket's path.
    with tempfile.TemporaryDirectory() as short, System(tmp_path_factory.mktemp("ctl")) as system:
        address = f"unix://{short}/t/admin.sock"
        system.start_hub("--admin", address)
        for name in ("berlin", "paris"):
            # Berlin's owner lets the hub set one of its services, that of Paris lets it set none.
            allowed = ("--allow", "web") if name == "berlin" else ()
            system.start_agent(name, "http://127.0.0.1:9", arguments=("--label", f"city={name}", *allowed))
        yield Ctl(address, system)


def status(url: str, user: str = "", password: str = "") -> int:
    request = urllib.request.Request(url)
    if user:
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {secret}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def sessions(ctl: Ctl, agent: str) -> list[str]:
    return [str(row["name"]) for row in ctl.json("sessions", "list", "--agent", agent)]


def test_sessions_list_is_an_array_of_objects(ctl: Ctl) -> None:
    rows = ctl.json("sessions", "list")
    assert sorted(str(row["agent"]) for row in rows) == ["agents/berlin", "agents/paris"]
    for row in rows:
        assert str(row["name"]).startswith("sessions/")
        assert (row["state"], row["carrier"]) == ("ACTIVE", "websocket")
    table = ctl("sessions", "list").splitlines()
    assert table[0].split()[:2] == ["SESSION", "AGENT"]
    assert len(table) == 3
    (name,) = ctl("sessions", "list", "--label", "city=paris", "-o", "name").split()
    assert json.loads(ctl("sessions", "get", name, "-o", "json"))["labels"] == {"city": "paris"}


def test_the_line_as_a_process(ctl: Ctl) -> None:
    line = [sys.executable, "-m", "tunnelctl", "--hub", ctl.address, "sessions", "list", "-o", "json"]
    environ = environment(ctl.system.folder) | {"HOME": str(ctl.system.folder)}
    done = subprocess.run(line, env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert len(json.loads(done.stdout)) == 2
    assert done.stderr == ""


def test_drain_waits_and_the_agent_comes_back(ctl: Ctl) -> None:
    (before,) = sessions(ctl, "berlin")
    done = ctl("sessions", "drain", before, "--wait")
    assert done.startswith(f"{before} closed after ")
    wait_until(lambda: len(sessions(ctl, "berlin")) == 1, "the agent is back")
    assert sessions(ctl, "berlin") != [before]


def test_evict_and_the_agent_comes_back(ctl: Ctl) -> None:
    (before,) = sessions(ctl, "paris")
    assert ctl("sessions", "evict", before).startswith(f"evicted {before}: ")
    assert ctl("sessions", "evict", before) == f"evicted {before}: 0 streams reset\n", "again is no error"
    wait_until(lambda: sessions(ctl, "paris") not in ([], [before]), "the agent is back")


def test_stats_and_hub_and_status(ctl: Ctl) -> None:
    (row,) = ctl.json("stats")
    assert str(row["name"]).startswith("hubs/")
    assert row["sessions"] == 2
    assert {row["agent"] for row in ctl.json("stats", "--scope", "session")} == {"agents/berlin", "agents/paris"}
    assert json.loads(ctl("hub", "info", "-o", "json"))["dev"] is True
    assert {row["name"] for row in ctl.json("hub", "plugins")} == {"tcp", "tls", "websocket"}
    assert any(row["key"] == "dev" and row["value"] is True for row in ctl.json("hub", "config"))


def test_top_once(ctl: Ctl) -> None:
    lines = ctl("top", "--once", "--interval", "250ms").splitlines()
    assert lines[0].startswith("hub ")
    assert {line.split()[0] for line in lines[2:]} == {"berlin", "paris"}


def test_events(ctl: Ctl) -> None:
    kinds = {str(row["type"]) for row in ctl.json("events", "--topic", "session")}
    assert "session.attached" in kinds


def test_tokens(ctl: Ctl) -> None:
    secret, said = ctl.run("tokens", "create", "--kind", "agent", "--agent", "rome", "--comment", "lab")
    assert secret.startswith("tun_")
    assert secret.strip() not in said
    (row,) = ctl.json("tokens", "list", "--agent", "rome")
    assert (row["kind"], row["comment"]) == ("AGENT", "lab")
    assert ctl("tokens", "revoke", str(row["name"])).startswith(f"revoked {row['name']}")
    assert ctl.json("tokens", "list", "--agent", "rome") == []


def test_agents(ctl: Ctl) -> None:
    assert {(row["name"], row["state"]) for row in ctl.json("agents", "list")} >= {
        ("agents/berlin", "ONLINE"),
        ("agents/paris", "ONLINE"),
    }
    assert json.loads(ctl("agents", "limits", "berlin", "--streams", "50", "-o", "json"))["streams"] == 50
    assert "did you mean paris?" in ctl.error("agents", "get", "pairs", code=3)[1]


def test_who_may_visit(ctl: Ctl, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse battery\n")
    password.chmod(0o600)
    row = json.loads(
        ctl("agents", "visitors", "paris", "--mode", "basic", "--user", "ann", "--password-file", str(password),
            "--network", "127.0.0.0/8", "-o", "json")
    )  # fmt: skip
    assert row == {"name": "agents/paris", "mode": "BASIC", "allow_networks": ["127.0.0.0/8"], "users": ["ann"]}
    url = f"http://127.0.0.1:{ctl.system.port}/api/v1/proxy/paris/x"
    assert status(url) == 401
    assert status(url, "ann", "correct horse battery") == 502, "let in, and nobody is at the target"
    ctl("agents", "visitors", "paris", "--mode", "unspecified", "--remove-user", "ann", "--any-network")
    assert status(url) == 502


def test_an_agent_that_is_denied(ctl: Ctl) -> None:
    ctl.system.start_agent("rome", "http://127.0.0.1:9")
    assert ctl("agents", "deny", "rome", "--reason", "test") == "denied agents/rome: 1 session evicted\n"
    assert "denied: test" in ctl("agents", "list")
    assert sessions(ctl, "rome") == []
    assert ctl("agents", "allow", "rome") == "allowed agents/rome\n"
    assert ctl("agents", "delete", "rome").startswith("deleted agents/rome: ")


def test_a_configuration_is_applied_refused_and_rolled_back(ctl: Ctl, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[[services]]\nname = "web"\ntarget = "http://127.0.0.1:8001"\n')
    out, err = ctl.run("agents", "config", "set", "berlin", "-f", str(file), "--comment", "first")
    assert (out, err) == ("stored version 1\n", "applied by 1 session\n")
    assert file.read_text().strip() in ctl("agents", "config", "get", "berlin")
    file.write_text('[[services]]\nname = "db"\ntarget = "tcp://127.0.0.1:5432"\n')
    error, hint = ctl.error("agents", "config", "set", "berlin", "-f", str(file), code=6)[:2]
    assert "refused it: " in error
    assert "rollback" in hint
    newest, first = ctl.json("agents", "config", "history", "berlin")
    assert (newest["version"], first["last_error"]) == (2, "")
    assert newest["last_error"]
    out, err = ctl.run("agents", "config", "rollback", "berlin")
    assert (out, err) == ("stored version 3, which is version 1 again\n", "applied by 1 session\n")
    assert "refused it: " in ctl.error("agents", "config", "set", "paris", "-f", str(file), code=6)[0]
    file.write_text('[[services]]\nname = "a b"\ntarget = "nothing"\n[[services]]\nname = "c"\ntarget = "x://y"\n')
    faults = ctl.error("agents", "config", "set", "berlin", "-f", str(file), code=78)
    assert len(faults) >= 3
    assert all(line.startswith(f"error: {file}:") and ": services[" in line for line in faults)


def test_routes(ctl: Ctl) -> None:
    port = free_port()
    created = ctl("routes", "create", "app", "--host", "app.example.com", "--agent", "berlin", "--service", "web")
    assert created == "created routes/app\n"
    ctl("routes", "create", "ssh", "--tcp-port", str(port), "--agent", "paris")
    assert [row["name"] for row in ctl.json("routes", "list")] == ["routes/app", "routes/ssh"]
    assert "-> agent berlin service web /x " in ctl("routes", "test", "http://app.example.com/x")
    assert "-> agent paris" in ctl("routes", "test", f"tcp://:{port}")
    assert ctl("routes", "test", "http://nobody.example.com/", code=3).startswith("nobody: ")
    error = ctl.error("routes", "create", "--host", "app.example.com", "--agent", "paris", code=6)[0]
    assert error.endswith("(ROUTE_HOST_TAKEN)")
    assert ctl("routes", "delete", "app", "ssh", "--yes") == "deleted routes/app\ndeleted routes/ssh\n"


def test_the_hub_is_told(ctl: Ctl) -> None:
    assert ctl("hub", "reload").startswith("applied: ")
    assert ctl("hub", "log-level", "info", "--for", "1s").startswith("log level info, debug again at ")


def test_a_bundle_for_whoever_is_to_help(ctl: Ctl, tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar"
    ctl("diagnose", "-o", str(file), "--agent", "paris")
    with tarfile.open(file) as bundle:
        names = {Path(name).name for name in bundle.getnames()}
    assert {"hub.json", "sessions.json", "config.json", "events.json"} <= names
    assert "errors.json" not in names


def test_status_is_one_screen(ctl: Ctl) -> None:
    lines = ctl("status").splitlines()
    assert any(line.startswith("agents     ") for line in lines)
    assert len(lines) < 24


def test_the_only_hub_of_this_machine_is_found_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as short, System(tmp_path) as system:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setattr(locate, "folders", lambda environ: [Path(environ["XDG_RUNTIME_DIR"], "hubd")])
        system.start_hub()
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert cli.run(["hub", "info", "-o", "json"]) == 0
        assert json.loads(out.getvalue())["admin_addresses"] == [f"unix:{short}/hubd/admin.sock"]


def test_what_goes_wrong_is_one_line_and_a_code(ctl: Ctl, tmp_path: Path) -> None:
    assert ctl.error("sessions", "get", "none", code=3)[0].endswith("(SESSION_NOT_FOUND)")
    # Ids begin with the time, so these two begin alike.
    error, _ = ctl.error("sessions", "evict", sessions(ctl, "berlin")[0][: len("sessions/1m")], code=2)
    assert "is ambiguous: sessions/" in error
    assert ctl.error("sessions", "evict", "", code=2) == ["error: an empty name is none of sessions"]
    assert ctl.error("sessions", "list", "--nope", code=2)[0] == "error: no such option: --nope"
    away = Ctl(f"unix://{tmp_path}/none.sock", ctl.system)
    assert "there is no such socket" in away.error("sessions", "list", code=5)[0]
