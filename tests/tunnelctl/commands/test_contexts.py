"""``tunnelctl context``."""

from __future__ import annotations

import os
import stat
import tomllib


def test_contexts_are_made_used_and_deleted(alone, fake, home):
    fake.add_session("s1")
    file = home / ".config" / "tunnelctl" / "config.toml"
    assert "no contexts in" in alone("context", "list").err
    done = alone("context", "set", "lab", "--address", fake.address)
    assert done.err == f"context lab is in {file}, and current\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert alone("sessions", "list", "-o", "name").lines == ["sessions/s1"]
    alone(
        "context",
        "set",
        "prod",
        "--address",
        "hub.example.com:7443",
        "--token-file",
        "~/prod.token",
        "--ca-file",
        "ca.pem",
    )
    assert tomllib.loads(file.read_text()) == {
        "current": "lab",
        "context": {
            "lab": {"address": fake.address},
            "prod": {
                "address": "hub.example.com:7443",
                "token_file": "~/prod.token",
                "ca_file": os.path.abspath("ca.pem"),
            },
        },
    }
    alone("context", "set", "prod", "--server-name", "hub")
    assert alone("context", "show", "prod", "-o", "json").json["token_file"] == "~/prod.token"
    assert [(row["name"], row["current"]) for row in alone("context", "list", "-o", "json").json] == [
        ("lab", True), ("prod", False),
    ]  # fmt: skip
    alone("context", "use", "prod")
    assert alone("context", "show", "-o", "json").json["name"] == "prod"
    assert alone("--context", "lab", "sessions", "list", "-o", "name").lines == ["sessions/s1"]
    alone("context", "delete", "prod")
    assert alone("context", "list").lines[1].split() == ["lab", fake.address]
    assert alone("context", "show", code=3).err.splitlines()[0] == "error: no context is current"


def test_a_context_nobody_knows(alone):
    for verb in ("use", "show", "delete"):
        assert alone("context", verb, "x", code=3).err == "error: no context is called x (there are: none)\n"
