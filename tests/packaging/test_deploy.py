"""The files in deploy fit the programs: command lines exist, numbers agree. systemd's own word is in make interop."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from agentd import cli as agent_cli
from agentd.config import AgentConfig
from hubd import cli as hub_cli
from hubd.config import HubConfig
from hubd.handover import _PORTS
from tunnel.fields import parse_duration
from tunnel.settings import EXIT_CONFIG, HostPort

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


class Unit:
    """A unit file; keys may be given several times."""

    def __init__(self, name: str) -> None:
        parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
        parser.optionxform = str
        parser.read_string((DEPLOY / name).read_text())
        self.sections = {section: dict(parser[section]) for section in parser.sections()}

    def __getitem__(self, key: str) -> str:
        section, _, name = key.partition(".")
        return self.sections[section][name]


def options(app, command: str) -> set[str]:
    """Flags of one command."""
    return {flag for parameter in get_command(app).commands[command].params for flag in parameter.opts}


@pytest.mark.parametrize(
    ("name", "app", "config"), [("hubd", hub_cli.app, HubConfig), ("agentd", agent_cli.app, AgentConfig)]
)
def test_services(name, app, config):
    unit = Unit(f"{name}.service")
    program, command, *words = shlex.split(unit["Service.ExecStart"])
    assert program.endswith(f"/{name}")
    flags = [word for word in words if word.startswith("--")]
    assert flags and set(flags) <= options(app, command)
    assert unit["Service.Type"] == "notify" and unit["Service.WatchdogSec"] == "30"
    assert int(unit["Service.RestartPreventExitStatus"]) == EXIT_CONFIG
    assert "HUP" in unit["Service.ExecReload"]
    drain = config.model_fields["timeouts"].default.drain
    assert parse_duration(unit["Service.TimeoutStopSec"] + "s") > drain
    for key in ("NoNewPrivileges", "DynamicUser", "MemoryDenyWriteExecute", "ProtectHome", "PrivateUsers"):
        assert unit[f"Service.{key}"] == "yes", key
    assert unit["Service.ProtectSystem"] == "strict" and unit["Service.CapabilityBoundingSet"] == ""


def test_the_socket_is_the_setting_of_its_name():
    unit = Unit("hubd.socket")
    assert unit["Socket.FileDescriptorName"] in _PORTS
    assert HostPort.parse(unit["Socket.ListenStream"]) == HubConfig(dev=True).listen
    assert int(unit["Socket.Backlog"]) == HubConfig(dev=True).limits.backlog


def test_the_image():
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    steps = re.findall(r"^([A-Z]+) +(.*)$", text, re.MULTILINE)
    last = max(index for index, (word, _) in enumerate(steps) if word == "FROM")
    final = dict(steps[last:])
    assert final["USER"] == "65532:65532"
    check = json.loads(re.search(r"HEALTHCHECK .*? CMD (\[.*\])", text)[1])
    entry, command = json.loads(final["ENTRYPOINT"]), json.loads(final["CMD"])
    for program, name, *words in (check, [*entry, *command]):
        assert program == "hubd"
        assert {word for word in words if word.startswith("--")} <= options(hub_cli.app, name)
    assert "--require-hashes" in text
    # What is copied into the build is let through to it.
    let = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    copied = [words.split()[0] for word, words in steps if word == "COPY" and not words.startswith("--from")]
    assert copied and all(f"!{path}" in let for path in copied)
