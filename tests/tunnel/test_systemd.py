"""What the service manager is told, and the sockets it opens (rows L4, L8)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tunnel.systemd import Notifier, activated


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_l8_it_is_told_over_both_kinds_of_socket(tmp_path: Path, kind: str):
    name = str(tmp_path / "notify") if kind == "path" else f"\0notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        manager.settimeout(30)
        notifier = Notifier({"NOTIFY_SOCKET": name.replace("\0", "@"), "WATCHDOG_USEC": "30000000"})
        assert notifier.watchdog == 30.0
        notifier.ready("serving")
        notifier.reloading()
        notifier.alive()
        notifier.main_pid(42)
        notifier.stopping()
        told = [manager.recv(1024).decode() for _ in range(5)]
    assert told[0] == "READY=1\nSTATUS=serving"
    first, micros = told[1].split("\n")
    assert first == "RELOADING=1" and micros.startswith("MONOTONIC_USEC=") and int(micros[15:]) > 0
    assert told[2:] == ["WATCHDOG=1", "MAINPID=42", "STOPPING=1"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "relative", "WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "0"},
    ],
)
def test_l8_without_a_manager_nothing_happens(environ: dict[str, str]):
    notifier = Notifier(environ)
    assert notifier.watchdog is None
    notifier.ready()


def test_sockets_for_another_process_are_left_alone():
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x", "OTHER": "y"}
    assert activated(environ) == []
    assert environ == {"OTHER": "y"}


_CHILD = """
import os, sys
from tunnel.systemd import activated
os.environ["LISTEN_PID"] = str(os.getpid())
for name, sock in activated(os.environ):
    print(name, sock.getsockname()[1], os.get_inheritable(sock.fileno()))
print("LISTEN_FDS" in os.environ)
"""


def test_l4_sockets_are_taken_with_their_names():
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [sock.getsockname()[1] for sock in (one, two)]
        script = f"exec 3<&{one.fileno()} 4<&{two.fileno()}; exec \"$0\" -c '{_CHILD}'"
        done = subprocess.run(
            ["bash", "-c", script, sys.executable],
            pass_fds=(one.fileno(), two.fileno()),
            env=os.environ | {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "listen:tls", "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.splitlines()[:2] == [f"listen {ports[0]} False", f"tls {ports[1]} False"]
    assert done.stdout.splitlines()[-1] == "False"
