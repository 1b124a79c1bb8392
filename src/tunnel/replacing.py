"""A file's content exchanged in one step: after a crash or a power cut it is the old one or the new one, whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace(path: Path, content: bytes, *, like: os.stat_result | None = None) -> None:
    """Write a file anew. Blocks for the disk.

    Args:
        path: the file; its folder is made if missing, for its owner alone.
        content: all of it.
        like: whose mode and owner it gets; by default it is readable and writable for us alone.

    Raises:
        OSError: it cannot be written; what was there is still there, and nothing beside it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes it readable for us alone.
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            if like is not None:
                os.fchmod(descriptor, like.st_mode & 0o777)
                if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, like.st_uid, like.st_gid)
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have the new name itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
