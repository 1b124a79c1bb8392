"""Which file a daemon's settings are in, where no flag names one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Where the service units and ``hubd init`` have it.
ETC = Path("/etc")


def variable(program: str) -> str:
    """Name of the variable that names the file; no setting, and so reserved."""
    return f"{program.upper()}_CONFIG"


def find(program: str, given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: what the flag names, else the variable, else ``/etc/PROGRAM/PROGRAM.toml`` if it is there.

    An empty variable means no file. A file that is there and may not be read is returned, for that is a fault to tell:
    a daemon on its defaults is not what was meant.
    """
    if given is not None:
        return given
    named = environ.get(variable(program))
    if named is not None:
        return Path(named).expanduser() if named else None
    usual = ETC / program / f"{program}.toml"
    try:
        usual.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass
    return usual
