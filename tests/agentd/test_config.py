from __future__ import annotations

import pytest

from agentd.config import AgentConfig
from tunnel.settings import SettingsError, load


def read(flags=None, environ=None, file=None):
    return load(AgentConfig, prefix="AGENTD_", file=file, flags=flags or {}, environ=environ or {}).value


def test_defaults():
    config = read({"hub": ["ws://h:1"]})
    assert (config.hub, config.id, config.target, config.keep_host) == (("ws://h:1",), None, (), False)
    assert (config.timeouts.response, config.timeouts.dial, config.timeouts.drain) == (60, 10, 30)


def test_all_faults_at_once():
    flags = {
        "id": "a b", "target": ["ftp://x", "http://h:1"], "label": ["no"], "log_format": "xml", "timeouts.dial": "soon",
    }  # fmt: skip
    with pytest.raises(SettingsError) as caught:
        read(flags, {"AGENTD_TARGETS": "x"})
    text = str(caught.value)
    for part in (
        "--id",
        "'a b'",
        "ftp://x",
        "'no' is not a label",
        "--log-format",
        "--timeouts-dial",
        "AGENTD_TARGETS",
        "hub",
    ):
        assert part in text


def test_layers(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(
        'hub = "tcp://h:1"\ntarget = ["http://a:1", "x=unix:///s"]\n[label]\nzone = "b"\n[timeouts]\nidle = "5m"\n'
    )
    config = read({"id": "flag"}, {"AGENTD_ID": "env", "AGENTD_TIMEOUTS__DIAL": "3s"}, file)
    assert (config.hub, config.id, config.label) == (("tcp://h:1",), "flag", ("zone=b",))
    assert (config.timeouts.idle, config.timeouts.dial) == (300, 3)
    assert config.target == ("http://a:1", "x=unix:///s")


@pytest.mark.parametrize(
    "targets", [["http://h:1", "https://h:1"], ["a=http://h:1", "a=http://h:2"], ["http://127.1:80"]]
)
def test_targets_that_cannot_be_listed(targets):
    with pytest.raises(SettingsError, match="--target"):
        read({"hub": ["ws://h:1"], "target": targets})


def test_labels_are_limited():
    with pytest.raises(SettingsError, match="--label"):
        read({"hub": ["ws://h:1"], "label": [f"k{n}=v" for n in range(40)]})
