"""Live names for the shell, and silence where there are none."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from tunnelctl import complete


def offered(line: str, **environ: str) -> list[str]:
    """What bash would be given for a line whose last word is being typed."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-m", "tunnelctl"], capture_output=True, text=True, check=False, timeout=30,
        env={
            **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "_TUNNELCTL_COMPLETE": "complete_bash",
            "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), **environ,
        },
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def patiently(line: str, **environment: str) -> list[str]:
    """What is offered once the hub answers within the half second a completion waits: a busy machine may need a few tries."""
    for _ in range(20):
        if found := offered(line, **environment):
            return found
    return []


def test_names_come_from_the_hub(fake):
    fake.add_session("01ab", agent="berlin")
    fake.add_session("01cd", agent="paris")
    fake.add_session("02", agent="paris")
    hub = f"tunnelctl --hub {fake.address}"
    assert patiently(f"{hub} sessions evict 01") == ["01ab", "01cd"]
    assert patiently(f"{hub} sessions evict sessions/02") == ["sessions/02"]
    assert patiently(f"{hub} agents get ") == ["berlin", "paris"]
    assert patiently("tunnelctl sessions get ", TUNNELCTL_HUB=fake.address) == ["01ab", "01cd", "02"]
    assert offered("tunnelctl ses") == ["sessions"]


def test_nobody_there_offers_nothing(short):
    assert offered(f"tunnelctl --hub unix://{short}/none sessions evict ") == []
    assert offered("tunnelctl --hub nonsense sessions evict ") == []


def test_a_hub_that_is_silent_is_not_waited_for(short, monkeypatch):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{short}/silent.sock")
        silent.listen()
        monkeypatch.setenv("TUNNELCTL_HUB", f"unix://{short}/silent.sock")

        class Context:
            params: dict[str, object] = {}
            parent = None

        given, timeout = [], asyncio.timeout
        monkeypatch.setattr(complete.asyncio, "timeout", lambda seconds: given.append(seconds) or timeout(seconds))
        assert complete.sessions(Context(), "") == []
        assert given[0] == complete._DEADLINE <= 0.5


@pytest.mark.parametrize("content", ['[context.lab]\naddress = "x"\n[context.prod]\naddress = "y"\n', "broken"])
def test_contexts(home, content):
    file = home / ".config" / "tunnelctl" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert complete.contexts("l") == (["lab"] if "lab" in content else [])
