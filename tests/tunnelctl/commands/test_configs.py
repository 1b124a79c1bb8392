"""``tunnelctl agents config``."""

from __future__ import annotations

import sys

import pytest

from tunnelctl.commands import configs

GOOD = """\
log_level = "debug"
[labels]
region = "eu"
[limits]
streams = 7
[[services]]
name = "web"
target = "http://127.0.0.1:8000"
health = { path = "/healthz", interval = "10s" }
"""


@pytest.fixture
def file(home):
    path = home / "berlin.toml"
    path.write_text(GOOD)
    return path


@pytest.fixture(autouse=True)
def agent(fake):
    fake.add_session("s1")


def test_set_and_get_are_each_others_reverse(ctl, fake, file):
    done = ctl("agents", "config", "set", "berlin", "-f", str(file), "--comment", "first")
    assert (done.out, done.err) == ("stored version 1\n", "applied by 1 session\n")
    done = ctl("agents", "config", "get", "berlin")
    assert done.lines[0] == "# agents/berlin/configs/1 by admin@unix: first"
    assert done.err.splitlines()[1].split()[:3] == ["s1", "1", "1"]
    again = file.with_name("again.toml")
    again.write_text(done.out)
    ctl("agents", "config", "set", "berlin", "-f", str(again))
    first, second = fake.configs["agents/berlin"]
    assert first.config == second.config
    row = ctl("agents", "config", "get", "berlin", "-o", "json").json
    assert row["config"]["services"][0]["health"] == {
        "path": "/healthz", "interval_seconds": 10.0, "timeout_seconds": None,
    }  # fmt: skip
    assert row["status"][0]["applied_version"] == 2


def test_a_file_with_three_faults(ctl, fake, file):
    file.write_text('pool = 3\nlog_level = 5\n[[services]]\nname = "web"\n')
    done = ctl("agents", "config", "set", "berlin", "-f", str(file), code=78)
    lines = done.err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"error: {file}:1: pool: unknown key")
    assert any(line.startswith(f"error: {file}:2: log_level: ") for line in lines)
    assert any("services[0].target" in line for line in lines)
    assert fake.configs == {}


def test_what_the_hub_finds_is_told_alike(ctl, fake, file):
    file.write_text('[[services]]\nname = "a"\ntarget = "x"\n[[services]]\nname = "b"\ntarget = "y"\n')
    for more in ((), ("--dry-run",)):
        done = ctl("agents", "config", "set", "berlin", "-f", str(file), *more, code=78)
        assert done.err.splitlines() == [
            f"error: {file}:3: services[0].target: no URL", f"error: {file}:6: services[1].target: no URL",
        ]  # fmt: skip
    error = ctl("agents", "config", "set", "berlin", "-f", str(file), "-o", "json", code=78).error
    assert [fault["field"] for fault in error["fields"]] == ["config.services[0].target", "config.services[1].target"]


def test_dry_run_only_checks(ctl, fake, file):
    assert "is good" in ctl("agents", "config", "set", "berlin", "-f", str(file), "--dry-run").err
    assert fake.configs == {}


def test_what_the_agent_refuses_is_an_error(ctl, fake, file):
    fake.refusal = "its setting remote.allow is empty"
    done = ctl("agents", "config", "set", "berlin", "-f", str(file), code=6)
    assert done.out == "stored version 1\n"
    assert done.err.splitlines()[0] == "error: sessions/s1 refused it: its setting remote.allow is empty"
    assert done.err.splitlines()[1] == "hint: the agent keeps what it ran before", "there is no version to go back to"
    done = ctl("agents", "config", "set", "berlin", "-f", str(file), code=6)
    assert "agents config rollback berlin" in done.err.splitlines()[1]
    assert ctl("agents", "config", "set", "berlin", "-f", str(file), "--no-wait").err == ""
    assert ctl("agents", "config", "rollback", "berlin", "-o", "json", code=6).error["reason"] == "CONFIG_REFUSED"


def test_an_agent_that_is_silent_or_away(ctl, fake, file, monkeypatch):
    monkeypatch.setattr(configs, "_ANSWERS", 0.0)
    fake.answers = False
    assert ctl("agents", "config", "set", "berlin", "-f", str(file)).err == "not answered yet: sessions/s1\n"
    assert "the agent is away" in ctl("agents", "config", "set", "paris", "-f", str(file)).err


def test_a_stale_etag_loses(ctl, file):
    ctl("agents", "config", "set", "berlin", "-f", str(file))
    done = ctl("agents", "config", "set", "berlin", "-f", str(file), "--etag", "old", code=6)
    assert "ETAG_MISMATCH" in done.err


def test_history_and_rollback(ctl, file):
    for _ in range(2):
        ctl("agents", "config", "set", "berlin", "-f", str(file))
    assert ctl("agents", "config", "rollback", "berlin").out == "stored version 3, which is version 1 again\n"
    rows = ctl("agents", "config", "history", "berlin", "-o", "json").json
    assert [(row["version"], row["rollback_of"]) for row in rows] == [(3, 1), (2, None), (1, None)]
    assert ctl("agents", "config", "history", "berlin").lines[1].split()[0] == "3"
    assert ctl("agents", "config", "history", "nobody", code=3).out == ""


def test_none_yet(ctl):
    done = ctl("agents", "config", "get", "berlin", code=3)
    assert done.err.splitlines() == [
        "error: agents/berlin has no configuration of the hub's, and runs its own file",
        "hint: tunnelctl agents config set berlin -f FILE gives it one",
    ]


def editor(home, monkeypatch, code):
    script = home / "editor.py"
    script.write_text(f"import pathlib, sys\npath = pathlib.Path(sys.argv[1])\n{code}")
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")


def test_edit(ctl, fake, file, home, monkeypatch):
    ctl("agents", "config", "set", "berlin", "-f", str(file))
    editor(home, monkeypatch, "path.write_text(path.read_text().replace('8000', '9000'))")
    assert ctl("agents", "config", "edit", "berlin").out == "stored version 2\n"
    assert fake.configs["agents/berlin"][1].config.services[0].target == "http://127.0.0.1:9000"
    assert fake.requests[-1].etag == "e1"
    editor(home, monkeypatch, "")
    assert ctl("agents", "config", "edit", "berlin").err == "nothing was changed\n"


def test_edit_begins_with_nothing_and_keeps_what_is_wrong(ctl, fake, home, monkeypatch):
    editor(home, monkeypatch, "path.write_text('pol = 1\\n')")
    done = ctl("agents", "config", "edit", "berlin", code=78)
    error, hint = done.err.splitlines()
    assert "pol: unknown key" in error
    assert "mend it" in hint
    monkeypatch.setenv("EDITOR", "/nowhere/editor")
    assert ctl("agents", "config", "edit", "berlin", code=78).err.startswith("error: /nowhere/editor: No such file")
    editor(home, monkeypatch, "sys.exit(3)")
    assert "ended with code 3" in ctl("agents", "config", "edit", "berlin", code=1).err
    assert fake.configs == {}
