"""``tunnelctl tokens``."""

from __future__ import annotations

import stat

import pytest

from tunnelpb.hub.v1.token_pb2 import Token


def test_the_secret_is_alone_on_standard_output(ctl, fake):
    done = ctl("tokens", "create", "--kind", "agent", "--agent", "berlin", "--ttl", "1h", "--comment", "lab")
    assert done.out == "tun_secret1\n"
    assert "tun_" not in done.err
    assert done.err.startswith("tokens/t1: agent token for agents/berlin, good until ")
    request = fake.requests[0]
    assert (request.kind, request.agent, request.ttl.seconds) == (Token.KIND_AGENT, "agents/berlin", 3600)
    row = ctl("tokens", "create", "--kind", "admin", "--role", "viewer", "-o", "json").json
    assert (row["kind"], row["role"], row["secret"]) == ("ADMIN", "VIEWER", "tun_secret2")


def test_out_keeps_it_off_the_terminal(ctl, home):
    file = home / "secret"
    done = ctl("tokens", "create", "--kind", "join", "--out", str(file))
    assert done.out == ""
    assert file.read_text() == "tun_secret1\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"its secret is in {file}" in done.err
    done = ctl("tokens", "create", "--kind", "join", "--out", str(file), code=1)
    assert done.err == f"error: --out {file}: File exists\n"
    assert "secret" not in ctl("tokens", "create", "--kind", "join", "--out", str(home / "b"), "-o", "json").json


def test_a_token_that_was_not_made_leaves_no_file(alone, home):
    file = home / "secret"
    alone("--hub", "unix:///nowhere", "tokens", "create", "--kind", "join", "--out", str(file), code=5)
    assert not file.exists()


def test_list_and_revoke(ctl, fake):
    for kind in ("agent", "join"):
        ctl("tokens", "create", "--kind", kind)
    rows = ctl("tokens", "list", "-o", "json").json
    assert [(row["name"], row["kind"]) for row in rows] == [("tokens/t1", "AGENT"), ("tokens/t2", "JOIN")]
    assert "tun_" not in ctl("tokens", "list", "-o", "wide").out
    assert ctl("tokens", "revoke", "t", code=2).err.startswith("error: t is ambiguous: tokens/t1, tokens/t2")
    assert ctl("tokens", "revoke", "t1").out == "revoked tokens/t1: 1 session evicted\n"
    assert ctl("tokens", "revoke", "t1", "t2", "--dry-run").lines == ["tokens/t1", "tokens/t2"]
    assert ctl("tokens", "revoke", "t1", "t2", "--yes", "-o", "json").json[1]["revoke_time"]
    assert ctl("tokens", "revoke", "x", code=3).err.startswith("error: tokens/x is not known (TOKEN_NOT_FOUND)")


@pytest.mark.parametrize("role", ["boss", ""])
def test_roles_there_are_not(ctl, role):
    done = ctl("tokens", "create", "--kind", "admin", "--role", role, code=2)
    assert done.err == f"error: --role: {role} is none of viewer, operator, admin\n"
