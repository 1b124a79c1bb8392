"""``tunnelctl agents visitors``."""

from __future__ import annotations

import pytest

from tunnelpb.hub.v1.agent_pb2 import VisitorAccess


@pytest.fixture(autouse=True)
def agent(fake):
    fake.add_session("s1")
    return fake.agents["berlin"]


@pytest.fixture
def password(home):
    file = home / "password"
    file.write_text("correct horse\n")
    file.chmod(0o600)
    return str(file)


def test_nothing_given_shows_and_changes_nothing(ctl, fake):
    row = ctl("agents", "visitors", "berlin", "-o", "json").json
    assert row == {"name": "agents/berlin", "mode": None, "allow_networks": [], "users": []}
    assert fake.requests == []


def test_mode_and_networks(ctl, fake):
    line = ("agents", "visitors", "berlin", "--mode", "bearer", "--network", "10.0.0.0/8", "--network", "::1")
    row = ctl(*line, "-o", "json").json
    assert (row["mode"], row["allow_networks"]) == ("BEARER", ["10.0.0.0/8", "::1"])
    assert list(fake.requests[0].update_mask.paths) == ["visitors.mode", "visitors.allow_networks"]
    ctl("agents", "visitors", "berlin", "--any-network")
    assert list(fake.requests[1].agent.visitors.allow_networks) == []


def test_users_and_passwords_that_nobody_sees(ctl, fake, agent, password):
    agent.visitors.users["ann"] = ""
    done = ctl("agents", "visitors", "berlin", "--mode", "basic", "--user", "bob", "--password-file", password)
    assert "correct horse" not in done.out + done.err
    request = fake.requests[0]
    assert dict(request.agent.visitors.users) == {"ann": "", "bob": "correct horse"}
    assert request.agent.visitors.mode == VisitorAccess.MODE_BASIC
    ctl("agents", "visitors", "berlin", "--remove-user", "ann")
    assert "ann" not in fake.requests[1].agent.visitors.users
    error = ctl("agents", "visitors", "berlin", "--remove-user", "eve", code=3).err
    assert error == "error: --remove-user eve: there is no such user\n"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--network", "::1", "--any-network"), "give --network or --any-network, not both"),
        (("--user", "bob"), "--user needs --password-file, and the reverse"),
        (("--password-file", "x"), "--user needs --password-file, and the reverse"),
        (("--mode", "shut"), "--mode: shut is none of unspecified, open, bearer, basic, certificate"),
    ],
)
def test_flags_that_do_not_fit(ctl, flags, text):
    assert ctl("agents", "visitors", "berlin", *flags, code=2).err == f"error: {text}\n"


def test_a_password_others_can_read(ctl, home, password):
    (home / "password").chmod(0o644)
    done = ctl("agents", "visitors", "berlin", "--user", "bob", "--password-file", password, code=78)
    assert "others may read this secret" in done.err
