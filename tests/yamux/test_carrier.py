"""The interfaces between sessions and carriers: what the small values say, and that they stay small."""

from __future__ import annotations

import ast
import dataclasses
import sys
from pathlib import Path

import pytest

from yamux import carrier
from yamux.carrier import CarrierAddress, TlsOptions, UpgradeRefused


def address(host: str, port: int | None, *, secure: bool) -> CarrierAddress:
    return CarrierAddress("x://given", "x", host, port, "", secure, False)


@pytest.mark.parametrize(
    ("host", "port", "secure", "authority"),
    [
        ("hub.example", 8882, False, "hub.example:8882"),
        ("hub.example", 80, False, "hub.example"),
        ("hub.example", 443, True, "hub.example"),
        ("hub.example", 443, False, "hub.example:443"),
        ("hub.example", 80, True, "hub.example:80"),
        ("hub.example", None, False, "hub.example"),
        ("hub.example", 0, False, "hub.example:0"),
        ("::1", 8882, True, "[::1]:8882"),
        ("::1", 443, True, "[::1]"),
        ("192.0.2.1", 80, False, "192.0.2.1"),
        ("/run/hub.sock", None, False, "localhost"),
        ("/run/with:colon.sock", None, False, "localhost"),
        ("", None, False, "localhost"),
        ("", 8882, False, "localhost"),
    ],
)
def test_authority(host: str, port: int | None, secure: bool, authority: str) -> None:
    assert address(host, port, secure=secure).authority == authority


def test_addresses_and_options_are_frozen_values() -> None:
    one = address("hub.example", 1, secure=True)
    assert one == address("hub.example", 1, secure=True) != address("hub.example", 1, secure=False)
    assert len({one, address("hub.example", 1, secure=True)}) == 1
    # Options are a key of the cache of TLS contexts.
    assert len({TlsOptions(), TlsOptions(), TlsOptions(ca_file="ca.pem")}) == 2
    for value in (one, TlsOptions()):
        first = dataclasses.fields(value)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, first, "changed")
        assert not hasattr(value, "__dict__")


def test_tls_options_are_safe_unless_told_otherwise() -> None:
    assert dataclasses.astuple(TlsOptions()) == (None, None, None, None, False, False, None)


def test_a_refused_upgrade_carries_the_answer() -> None:
    fields = [(b"Upgrade", b"websocket, yamux")]
    refused = UpgradeRefused(426, "upgrade_required", "this path is for agents", fields)
    assert (refused.status, refused.code, refused.message) == (426, "upgrade_required", "this path is for agents")
    assert str(refused) == "this path is for agents"
    fields.append((b"X-Added", b"later"))
    assert refused.headers == [(b"Upgrade", b"websocket, yamux")]


def test_a_refused_upgrade_without_fields_has_a_list_of_its_own() -> None:
    first, second = UpgradeRefused(400, "a", "b"), UpgradeRefused(400, "a", "b")
    first.headers.append((b"X", b"1"))
    assert second.headers == []


def test_the_interfaces_need_the_standard_library_alone() -> None:
    tree = ast.parse(Path(carrier.__file__).read_text("utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert names and all(name.partition(".")[0] in sys.stdlib_module_names for name in names)


def test_everything_public_is_listed() -> None:
    tree = ast.parse(Path(carrier.__file__).read_text("utf-8"))
    made = {node.name for node in tree.body if isinstance(node, ast.ClassDef)} | {"Fields", "ProtocolFactory"}
    assert set(carrier.__all__) == made


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("Framing", {"start"}),
        ("Offer", {"headers", "confirm"}),
        ("Upgrade", {"token", "offer", "accept"}),
        ("Listener", {"addresses", "close", "wait_closed"}),
        ("Carrier", {"name", "schemes", "upgrade", "parse", "dial", "listen"}),
    ],
)
def test_what_plugins_implement_does_not_grow_unseen(name: str, members: set[str]) -> None:
    assert {member for member in vars(getattr(carrier, name)) if not member.startswith("_")} == members
