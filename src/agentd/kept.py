"""The last good configuration of a hub, on disk: what the agent runs when it starts while no hub answers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunnel.replacing import replace

if TYPE_CHECKING:
    from tunnelpb.agent.v1 import config_pb2 as pb

FORMAT = 1
# The largest configuration is 256 KiB, and its text some times that.
MAX_BYTES = 4 * 1024 * 1024


class KeptError(Exception):
    """The file cannot be read or written; one line for people."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A configuration and whose it is.

    Args:
        version: as the hub numbered it.
        digest: SHA-256, as the hub said.
        config: the whole.
    """

    version: int
    digest: bytes
    config: pb.AgentConfig


def kept_path(state_dir: Path | None, agent_id: str, environ: Mapping[str, str]) -> Path:
    """Where the configuration of an agent is kept.

    Args:
        state_dir: of the settings; None is the system's place for it, or the user's.
        agent_id: of the first hub.
        environ: of the process.
    """
    if state_dir is None:
        # systemd gives several separated by colons.
        given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
        if given:
            state_dir = Path(given)
        elif os.geteuid() == 0:
            state_dir = Path("/var/lib/agentd")
        else:
            home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
            state_dir = Path(home, "agentd")
    return state_dir / f"{agent_id}.config.json"


def load(path: Path) -> Kept | None:
    """What is kept there; None if there is nothing.

    Raises:
        KeptError: it cannot be read, or is no such file.
    """
    from google.protobuf import json_format

    from tunnelpb.agent.v1 import config_pb2 as pb

    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise KeptError(f"cannot read the kept configuration {path}: {exc.strerror}") from exc
    try:
        content = json.loads(data)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}")
        config = json_format.ParseDict(content["config"], pb.AgentConfig())
        return Kept(int(content["version"]), bytes.fromhex(content["digest"]), config)
    except (ValueError, KeyError, TypeError, json_format.ParseError) as exc:
        raise KeptError(f"the kept configuration {path} is not valid: {exc}; remove the file") from exc


def save(path: Path, kept: Kept) -> None:
    """Keep a configuration: the file holds the old or the new one at any moment. Blocks for the disk.

    Raises:
        KeptError: it cannot be written; the old one is still there.
    """
    from google.protobuf import json_format

    content = {
        "format": FORMAT,
        "version": kept.version,
        "digest": kept.digest.hex(),
        "config": json_format.MessageToDict(kept.config, preserving_proto_field_name=True),
    }
    try:
        replace(path, json.dumps(content, indent=1).encode())
    except OSError as exc:
        raise KeptError(f"cannot keep the configuration in {path}: {exc.strerror}") from exc
