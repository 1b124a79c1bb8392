"""The service unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubd.setup.unit import STATE, unit


def text(**given: Any) -> str:
    values: dict[str, Any] = {
        "program": "/opt/hubd",
        "config": Path("/etc/hubd/hubd.toml"),
        "key": Path("/etc/hubd/hub.key"),
        "state": STATE,
        "user": "ann",
        "low_port": False,
    }
    return unit(Path("/etc/hubd/hubd.service"), **(values | given))


def test_systemd_makes_up_a_user_and_hands_it_the_key() -> None:
    lines = text().splitlines()
    assert "ExecStart=/opt/hubd serve --config /etc/hubd/hubd.toml --tls-key %d/tls.key" in lines
    assert {"DynamicUser=yes", "StateDirectory=hubd", "LoadCredential=tls.key:/etc/hubd/hub.key"} <= set(lines)
    assert "CapabilityBoundingSet=" in lines and "RestartPreventExitStatus=78" in lines


def test_a_state_elsewhere_belongs_to_whoever_set_it_up() -> None:
    lines = text(state=Path("/srv/hub")).splitlines()
    assert {"User=ann", "ReadWritePaths=/srv/hub"} <= set(lines)
    assert "ExecStart=/opt/hubd serve --config /etc/hubd/hubd.toml" in lines and "DynamicUser" not in text(
        state=Path("/x")
    )


def test_a_low_port_takes_one_capability() -> None:
    lines = text(low_port=True).splitlines()
    assert "CapabilityBoundingSet=CAP_NET_BIND_SERVICE" in lines
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in lines and "PrivateUsers=yes" not in lines
    assert "PrivateUsers=yes" in text().splitlines()


def test_odd_paths_stay_one_word() -> None:
    odd = text(config=Path('/etc/my "hub" 100%/hubd.toml'))
    assert r'--config "/etc/my \"hub\" 100%%/hubd.toml" --tls-key' in odd
