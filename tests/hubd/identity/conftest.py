"""Authorities, certificates and tokens for hubs that let nobody in without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.hubd.identity.revoking import revocation_list, serial_of

from hook_api import Hooks, hookimpl


class Authority:
    """A certificate authority in a folder.

    Attributes:
        file: its own certificate, PEM.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.ca = trustme.CA()
        self.file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.file))

    def issue(self, *names: str, **given: Any) -> Path:
        """A certificate with its key in one file."""
        leaf = self.ca.issue_cert(*names, **given)
        path = self.folder / f"{len(list(self.folder.iterdir()))}.pem"
        leaf.private_key_and_cert_chain_pem.write_to_path(str(path))
        path.chmod(0o600)
        return path

    def revoke(self, *certificates: Path) -> Path:
        """The file of the authority's list, with these certificates on it."""
        path = self.folder / "revoked.crl"
        path.write_bytes(revocation_list(self.ca, map(serial_of, certificates)))
        return path


@pytest.fixture
def authority(tmp_path: Path) -> Callable[[str], Authority]:
    """Make authorities by name."""
    return lambda name: Authority(tmp_path / name)


@pytest.fixture
def closed(tmp_path: Path) -> dict[str, Any]:
    """Settings of a hub that wants tokens."""
    return {"dev": False, "store": {"path": tmp_path / "hub.db"}}


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a plugin for the hub that starts next."""

    def install(**hooks: Any) -> None:
        made = Hooks()
        made.add("test", type("Plugin", (), {name: staticmethod(hookimpl(hook)) for name, hook in hooks.items()}))
        monkeypatch.setattr("hubd.identity.desk.load_hooks", lambda disable: made)

    return install
