"""The last good configuration of a hub, on disk: what the agent runs when it starts while no hub answers."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
    temporary = ""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes it readable for us alone.
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = ""
        _sync_folder(path.parent)
    except OSError as exc:
        raise KeptError(f"cannot keep the configuration in {path}: {exc.strerror}") from exc
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _sync_folder(folder: Path) -> None:
    """Have the new name itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
