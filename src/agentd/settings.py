"""The settings of this machine's agent, as all commands read them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from agentd.config import AgentConfig
from tunnel import settingsfile
from tunnel.settings import Loaded, load


def file_of(given: Path | None) -> Path | None:
    """The file of settings: the one given, else the machine's, if there is one."""
    return settingsfile.find("agentd", given, os.environ)


def read(
    given: Path | None, flags: Mapping[str, object] | None = None, names: Mapping[str, str] | None = None
) -> Loaded[AgentConfig]:
    """Read and check all layers.

    Args:
        given: file of the command line.
        flags: by dotted key.
        names: of flags that are not called as their keys.

    Raises:
        SettingsError: with all that is wrong.
    """
    return load(
        AgentConfig, prefix="AGENTD_", file=file_of(given), flags=flags or {}, environ=os.environ, flag_names=names,
        reserved=(settingsfile.variable("agentd"),),
    )  # fmt: skip
