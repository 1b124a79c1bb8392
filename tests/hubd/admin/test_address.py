"""Addresses of the management API, and the sockets behind them."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from hubd.admin import address
from hubd.admin.address import (
    AddressError,
    AdminAddress,
    claimed,
    default_address,
    is_live,
    make_room,
    runtime_directory,
)


@pytest.mark.parametrize("text", ["unix:/run/x.sock", "unix:///run/x.sock"])
def test_sockets_in_either_spelling(text):
    parsed = AdminAddress.parse(text)
    assert str(parsed) == "unix:/run/x.sock" and parsed.tcp is None


def test_tcp():
    parsed = AdminAddress.parse("127.0.0.1:7443")
    assert parsed.path is None and str(parsed) == "127.0.0.1:7443"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("unix:x.sock", "write unix:/run"),
        ("unix:", "write unix:/run"),
        ("nonsense", "nor unix:/PATH"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
    ],
)
def test_what_is_no_address(text, said):
    with pytest.raises(AddressError, match=said) as caught:
        AdminAddress.parse(text)
    assert "\n" not in str(caught.value)


def test_107_bytes_are_allowed():
    assert AdminAddress.parse("unix:/" + "x" * 106).path is not None


def test_where_the_default_socket_is(monkeypatch):
    assert str(runtime_directory({"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/run/user/1"})) == "/run/a"
    assert str(runtime_directory({"XDG_RUNTIME_DIR": "/run/user/1"})) == "/run/user/1/hubd"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert str(runtime_directory({})) == "/run/hubd"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert runtime_directory({}).name == "hubd-1000"


def test_a_second_hub_gets_a_socket_of_its_own(folder):
    environ = {"XDG_RUNTIME_DIR": str(folder)}
    assert str(default_address(environ, 8882)) == f"unix:{folder}/hubd/admin.sock"
    assert (folder / "hubd").stat().st_mode & 0o777 == 0o700
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "hubd" / "admin.sock"))
        other.listen()
        assert str(default_address(environ, 8883)) == f"unix:{folder}/hubd/admin-8883.sock"
        # Any number of hubs may listen on a port of the system's choice.
        assert str(default_address(environ, 0)) == f"unix:{folder}/hubd/admin-{os.getpid()}.sock"


def test_f8_a_dead_socket_makes_room(folder):
    path = folder / "a.sock"
    make_room(path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert not is_live(path)
    make_room(path)
    assert not path.exists()


def test_f8_what_does_not_make_room(folder, monkeypatch):
    path = folder / "a.sock"
    path.write_text("mine")
    with pytest.raises(AddressError, match="is no socket"):
        make_room(path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen()
        with pytest.raises(AddressError, match="in use by another hub"):
            make_room(path)
        monkeypatch.setattr(address.os, "geteuid", lambda: 12345)
        with pytest.raises(AddressError, match="another user"):
            make_room(path)
    assert path.exists()


def test_f8_directories(folder):
    with pytest.raises(AddressError, match="does not exist"), claimed(folder / "a" / "b" / "c.sock"):
        pass
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    with pytest.raises(AddressError, match="chmod go-w"), claimed(folder / "open" / "c.sock"):
        pass
    (folder / "file").write_text("")
    with pytest.raises(AddressError, match="cannot use the directory"), claimed(folder / "file" / "c.sock"):
        pass


def test_two_hubs_that_start_together_take_turns(folder):
    order = []
    inside, waiting = threading.Event(), threading.Event()

    def other():
        waiting.set()
        with claimed(folder / "d" / "a.sock"):
            order.append("second")

    with claimed(folder / "d" / "a.sock"):
        thread = threading.Thread(target=other)
        thread.start()
        waiting.wait()
        order.append("first")
        inside.set()
    thread.join()
    assert order == ["first", "second"]
