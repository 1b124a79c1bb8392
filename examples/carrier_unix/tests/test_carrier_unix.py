from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from carrier_unix import UnixCarrier, tunnel_carriers

from carrier_api import Registry, kit
from yamux.carrier import TlsOptions
from yamux.testing import Recorder

CARRIER = UnixCarrier()


@pytest.mark.parametrize("check", kit.CHECKS, ids=kit.name_of)
async def test_compliance(check: kit.Check, tmp_path: Path) -> None:
    await kit.run(kit.Bench(CARRIER, f"unix://{tmp_path}/s"), [check])


def test_the_installed_plugin_is_found_by_its_scheme() -> None:
    carrier = Registry.load().for_url("unix:///run/hub.sock")
    assert isinstance(carrier, UnixCarrier)
    (mine,) = tunnel_carriers()
    assert (mine.name, mine.schemes) == (carrier.name, carrier.schemes)


def test_urls() -> None:
    address = CARRIER.parse("unix:///run/a%20b.sock")
    assert (address.host, address.port, address.path, address.authority) == ("/run/a b.sock", None, "", "localhost")
    assert address.local and not address.secure


@pytest.mark.parametrize("url", ["unix://run/s", "unix:///", "unix:///a?b", "unix:///a%00", "unix:///" + "a" * 107])
def test_bad_urls(url: str) -> None:
    with pytest.raises(ValueError, match="^[^\n]+$"):
        CARRIER.parse(url)


async def test_the_socket_is_private_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = await CARRIER.listen(CARRIER.parse(f"unix://{path}"), Recorder, tls=None, backlog=1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listener.close()
    await listener.wait_closed()
    assert not path.exists()


async def test_a_dead_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    address = CARRIER.parse(f"unix://{path}")
    listener = await CARRIER.listen(address, Recorder, tls=None, backlog=1)
    with pytest.raises(OSError, match=f"cannot listen on {path}: address already in use"):
        await CARRIER.listen(address, Recorder, tls=None, backlog=1)
    listener.close()
    await listener.wait_closed()


async def test_a_missing_socket_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"cannot connect to {tmp_path}/s: no such file or directory"):
        await CARRIER.dial(CARRIER.parse(f"unix://{tmp_path}/s"), Recorder, tls=TlsOptions(), timeout=1)
