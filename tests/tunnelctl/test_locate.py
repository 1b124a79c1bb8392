"""Which hub is meant, and with whose token."""

from __future__ import annotations

import socket

import pytest

from tunnelctl import locate, settings
from tunnelctl.options import Options
from tunnelctl.problems import Problem

FILE = """\
current = "lab"
[context.lab]
address = "unix:///lab.sock"
[context.prod]
address = "hub.example.com:7443"
token_file = "{}"
ca_file = "~/ca.pem"
"""


@pytest.fixture
def environ(home):
    secret = home / "prod.token"
    secret.write_text("tun_prod\n")
    secret.chmod(0o600)
    file = home / "config.toml"
    file.write_text(FILE.format(secret))
    return {"HOME": str(home), "TUNNELCTL_CONFIG": str(file)}


def place(environ, **options):
    return locate.locate(Options(**options), settings.read(environ), environ)


def test_the_current_context(environ):
    assert (place(environ).address, place(environ).origin) == ("unix:///lab.sock", "context lab")


def test_a_context_by_name_brings_its_token(environ, home):
    found = place(environ, context="prod")
    assert (found.address, found.token.reveal()) == ("hub.example.com:7443", "tun_prod")
    assert found.context.ca_file == str(home / "ca.pem")
    assert place(environ | {"TUNNELCTL_CONTEXT": "prod"}).address == "hub.example.com:7443"


def test_a_hub_named_by_itself_gets_no_token_of_a_context(environ):
    found = place(environ, hub="other:1")
    assert (found.address, found.token, found.context.ca_file) == ("other:1", None, None)
    assert place(environ | {"TUNNELCTL_HUB": "other:1"}).token is None


def test_flags_are_stronger_than_variables(environ):
    assert place(environ | {"TUNNELCTL_HUB": "other:1"}, context="prod").address == "hub.example.com:7443"
    assert place(environ | {"TUNNELCTL_HUB": "other:1"}, hub="this:1").address == "this:1"
    found = place(environ | {"TUNNELCTL_TOKEN": "tun_env\n"}, context="prod")
    assert found.token.reveal() == "tun_env"


def test_both_named_takes_the_address_of_one_and_the_rest_of_the_other(environ):
    found = place(environ, hub="10.0.0.1:7443", context="prod")
    assert (found.address, found.token.reveal()) == ("10.0.0.1:7443", "tun_prod")


def listening(folder, name):
    folder.mkdir(exist_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(folder / name))
    sock.listen()
    return sock


def test_the_only_hub_of_this_machine_is_found(short, monkeypatch):
    monkeypatch.setattr(locate.tempfile, "gettempdir", lambda: str(short / "tmp"))
    environ = {"XDG_RUNTIME_DIR": str(short)}
    folder = short / "hubd"
    with pytest.raises(Problem, match="none was found"):
        locate.find_local(environ)
    listening(folder, "admin-8882.sock").close()
    with pytest.raises(Problem, match="none was found"):
        locate.find_local(environ)
    with listening(folder, "admin.sock"):
        folder.chmod(0o777)
        with pytest.raises(Problem, match="none was found"):
            locate.find_local(environ)
        folder.chmod(0o700)
        assert locate.find_local(environ) == f"unix://{folder}/admin.sock"
        with listening(folder, "admin-9000.sock"), pytest.raises(Problem) as caught:
            locate.find_local(environ)
    assert caught.value.code == 2
    assert "admin-9000.sock" in str(caught.value)
