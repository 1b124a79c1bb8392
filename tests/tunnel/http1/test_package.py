"""Rules for the package as a whole."""

from __future__ import annotations

import re
from pathlib import Path

import tunnel.http1

PACKAGE = Path(tunnel.http1.__file__).parent
SOURCES = sorted(path for path in PACKAGE.parents[1].rglob("*.py") if not path.name.endswith("_pb2.py"))


def test_the_parser_is_never_made_lenient() -> None:
    assert len(SOURCES) > 10
    for path in SOURCES:
        assert "lenienc" not in path.read_text(encoding="utf-8"), path


def test_the_parser_is_imported_in_one_place() -> None:
    users = [
        path for path in SOURCES if re.search(r"^\s*(from|import) httptools", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert users == [PACKAGE / "heads.py"]


def test_every_public_name_exists() -> None:
    assert all(hasattr(tunnel.http1, name) for name in tunnel.http1.__all__)
