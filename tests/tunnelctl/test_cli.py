"""The command line as a user types it: where options stand, what errors look like, how fast it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from tunnel.version import VERSION

# A start takes 0.3 s on an idle machine; this only notices a start that waits for something.
GENEROUS = 10.0


def test_version(alone):
    assert alone("version").out == f"tunnelctl {VERSION}\n"
    assert alone("-o", "json", "version").json == {"name": "tunnelctl", "version": VERSION}


@pytest.mark.parametrize(
    "line",
    [
        ("--hub", "{}", "sessions", "list", "-o", "json"),
        ("--hub", "{}", "-o", "json", "sessions", "list"),
        ("sessions", "--hub", "{}", "list", "-ojson"),
        ("sessions", "list", "--output=json", "--hub", "{}"),
        ("-o", "table", "sessions", "list", "-o", "json", "--hub", "{}"),
        ("--hub", "unix:///nowhere", "sessions", "-o", "yaml", "list", "-o", "json", "--hub", "{}"),
    ],
)
def test_shared_options_stand_anywhere_and_the_last_wins(alone, fake, line):
    fake.add_session("s1")
    done = alone(*(part.format(fake.address) for part in line))
    assert [row["name"] for row in done.json] == ["sessions/s1"]
    assert done.err == ""


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (("sessions", "list", "--nope"), "error: no such option: --nope"),
        (("sesions", "list"), "error: no such command 'sesions'. Did you mean 'sessions'"),
        (("sessions", "get"), "error: missing argument 'SESSION'"),
        (("sessions", "list", "-o", "xml"), "error: invalid value for '-o' / '--output': 'xml' is not one of 'table', 'wide',"),
        (("sessions", "list", "--timeout", "soon"), "error: --timeout: 'soon' is not a duration"),
        (("sessions", "list", "--label", "x"), "error: --label x: a label is KEY=VALUE"),
        (("sessions", "evict"), "error: which sessions?"),
        (("sessions", "evict", "s", "--agent", "a"), "error: name sessions, or give --agent or --label, not both"),
        (("sessions", "drain", "s", "--force", "--deadline", "3s"), "error: --force is a deadline of 0"),
        (("sessions", "drain", "s", "--deadline", "x"), "error: --deadline: 'x' is not a duration"),
        (("top", "--sort", "name"), "error: --sort: name is none of bytes, streams, requests, rtt"),
        (("top", "--interval", "1ms"), "error: --interval: from 250ms to 60s"),
        (("stats", "--scope", "x"), "error: --scope: x is none of hub, agent, session, stream"),
        (("stats", "--agent", "a", "--session", "s"), "error: give --agent or --session, not both"),
        (("agents", "list", "--state", "x"), "error: --state: x is none of online, offline, denied"),
        (("routes", "create", "--agent", "a"), "error: give --host, or --tcp-port, and not both"),
        (("tokens", "create", "--kind", "x"), "error: --kind: x is none of agent, join, admin, visitor"),
        (("--hub", "http://x", "sessions", "list"), "error: 'http://x': a hub is reached at"),
        (("--context", "prod", "sessions", "list"), "error: no context is called prod (there are: none)"),
        (("context", "set", "x"), "error: context x needs --address"),
        (("context", "set", "x", "--address", "x"), "error: --address: 'x' is no address"),
    ],
)  # fmt: skip
def test_a_bad_line_is_one_error_and_exit_2(alone, fake, line, text):
    where = [] if "--hub" in line or "--context" in line or "context" in line else ["--hub", fake.address]
    done = alone(*where, *line, code=2)
    assert done.out == ""
    first, *rest = done.err.splitlines()
    assert first.startswith(text)
    assert all(line.startswith("hint: ") for line in rest)


def test_bad_lines_are_json_for_programs(alone):
    assert alone("sessions", "list", "-o", "json", "--nope", code=2).error["message"] == "no such option: --nope"
    assert alone("-ojsonl", "sesions", code=2).error["exit_code"] == 2


def test_nobody_there(alone, short):
    done = alone("--hub", f"unix://{short}/none.sock", "sessions", "list", code=5)
    assert done.err.splitlines()[0] == (
        f"error: cannot reach the hub at unix://{short}/none.sock: there is no such socket"
    )
    assert done.err.splitlines()[1].startswith("hint: is hubd running?")
    assert len(done.err.splitlines()) == 2
    done = alone("--hub", "127.0.0.1:1", "sessions", "list", "-o", "json", code=5)
    assert (done.error["code"], done.error["reason"], done.error["exit_code"]) == ("UNAVAILABLE", "HUB_AWAY", 5)
    assert "connection refused" in done.error["message"]


def test_a_wrong_token(ctl, fake, home):
    fake.token = "tun_right"
    done = ctl("sessions", "list", code=4)
    assert done.err.splitlines()[0] == "error: the token is not known (TOKEN_INVALID)"
    secret = home / "token"
    secret.write_text("tun_right\n")
    secret.chmod(0o600)
    assert ctl("sessions", "list", "-o", "json", "--token-file", str(secret)).json == []
    secret.chmod(0o644)
    done = ctl("sessions", "list", "--token-file", str(secret), code=78)
    assert "others may read this secret" in done.err


def test_unknown_session(ctl):
    done = ctl("sessions", "get", "none", code=3)
    assert done.err.splitlines() == [
        "error: sessions/none is not known (SESSION_NOT_FOUND)",
        "hint: tunnelctl sessions list shows the sessions there are",
    ]
    error = ctl("sessions", "get", "none", "-o", "json", code=3).error
    assert (error["code"], error["reason"]) == ("NOT_FOUND", "SESSION_NOT_FOUND")
    assert error["metadata"] == {"name": "sessions/none"}


def test_ambiguous_prefix(ctl, fake):
    for ident in ("01aa", "01ab", "02"):
        fake.add_session(ident)
    done = ctl("sessions", "evict", "01", code=2)
    assert done.err == "error: 01 is ambiguous: sessions/01aa, sessions/01ab\nhint: give more of the name\n"
    assert ctl("sessions", "get", "02", "-o", "json").json["name"] == "sessions/02"


def test_a_contexts_file_with_three_faults(ctl, home):
    file = home / ".config" / "tunnelctl" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('curent = "x"\ntimeout = "soon"\n[context.prod]\nadress = "hub:1"\n')
    done = ctl("sessions", "list", code=78)
    lines = done.err.splitlines()
    assert lines[0] == f'error: {file}:1: curent: unknown key (did you mean "current"?)'
    assert f'error: {file}:4: context.prod.adress: unknown key (did you mean "address"?)' in lines
    assert any(line.startswith(f"error: {file}:2: timeout: 'soon' is not a duration") for line in lines)
    assert all(line.startswith("error: ") for line in lines)


def test_a_variable_nobody_knows(ctl, monkeypatch):
    monkeypatch.setenv("TUNNELCTL_HUP", "x")
    assert 'TUNNELCTL_HUP: unknown variable (did you mean "TUNNELCTL_HUB"?)' in ctl("stats", code=78).err


def test_it_starts_without_grpc():
    code = "import sys, tunnelctl.cli; print(sorted({'grpc', 'google', 'pydantic', 'yaml', 'rich.table'} & set(sys.modules)))"
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )  # fmt: skip
    assert done.stdout == "[]\n"
    assert time.monotonic() - begun < GENEROUS


def test_a_whole_call_as_a_process(ctl, fake):
    fake.add_session("s1")
    begun = time.monotonic()
    with ctl.start("sessions", "list", "-o", "json") as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)[0]["state"] == "ACTIVE"
    assert time.monotonic() - begun < GENEROUS


def test_a_reader_that_has_enough(ctl, fake):
    for number in range(3000):
        fake.add_session(f"s{number}")
    read, write = os.pipe()
    with ctl.start("sessions", "list", "-o", "jsonl", stdout=write) as process:
        os.close(write)
        os.close(read)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "Broken pipe" not in err
