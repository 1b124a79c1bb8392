"""The settings of this machine's hub, as all commands read them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hubd.config import HubConfig
from tunnel import settingsfile
from tunnel.settings import Loaded, load


def file_of(given: Path | None) -> Path | None:
    """The file of settings: the one given, else the machine's, if there is one."""
    return settingsfile.find("hubd", given, os.environ)


def read(
    given: Path | None, flags: Mapping[str, object] | None = None, names: Mapping[str, str] | None = None
) -> Loaded[HubConfig]:
    """Read and check all layers.

    Args:
        given: file of the command line.
        flags: by dotted key. With ``dev`` among them the machine's file is left alone: it is a real hub's.
        names: of flags that are not called as their keys.

    Raises:
        SettingsError: with all that is wrong.
    """
    from hubd.handover import RESERVED

    flags = flags or {}
    file = given if flags.get("dev") else file_of(given)
    return load(
        HubConfig, prefix="HUBD_", file=file, flags=flags, environ=os.environ, flag_names=names,
        reserved=(*RESERVED, settingsfile.variable("hubd")),
    )  # fmt: skip
