"""Files that are written anew in one step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunnel import replacing
from tunnel.replacing import replace


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    replace(path, b"one")
    replace(path, b"two")
    assert path.read_bytes() == b"two"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert os.listdir(path.parent) == ["file"]


def test_mode_and_owner_can_be_anothers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, given = tmp_path / "file", []
    path.write_text("old")
    path.chmod(0o644)
    before = path.stat()
    monkeypatch.setattr(replacing.os, "fchown", lambda handle, *owner: given.append(owner))
    replace(path, b"new", like=before)
    assert path.read_bytes() == b"new" and path.stat().st_mode == before.st_mode and not given
    monkeypatch.setattr(replacing.os, "geteuid", lambda: before.st_uid + 1)
    replace(path, b"newer", like=before)
    assert given == [(before.st_uid, before.st_gid)]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_cannot_be_written_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(replacing.os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        replace(path, b"new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]
