"""The bill of materials, and an audit that never passes by not looking."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tools import audit, sbom

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(180)
def test_the_bill_names_every_locked_requirement_with_its_hashes(tmp_path: Path):
    content = sbom.bill(tmp_path / "bill.json")
    locked = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / sbom.LOCKED).read_text(), re.MULTILINE)
    found = {(part["name"], part["version"]) for part in content["components"]}
    assert {(name, version) for name, version in locked} == found and len(found) > 10
    assert all(sbom.hashes(part) for part in content["components"])
    assert content["metadata"]["component"]["version"] == sbom.version()
    # The same tree gives the same bytes.
    assert "timestamp" not in content["metadata"] and "serialNumber" not in content


@pytest.mark.timeout(180)
def test_a_requirement_without_a_hash_fails(tmp_path: Path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("yarl==1.0\n")
    monkeypatch.setattr(sbom, "LOCKED", str(tmp_path / "requirements.txt"))
    with pytest.raises(SystemExit, match="without a hash: yarl"):
        sbom.bill(tmp_path / "bill.json")


def report(*packages: dict) -> str:
    return json.dumps({"dependencies": list(packages), "fixes": []})


GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "X-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "version": "3", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "code"),
    [((GOOD,), 0), ((GOOD, BAD), 1), ((GOOD, BAD, SKIPPED), 1), ((GOOD, SKIPPED), 3), ((SKIPPED,), 3), ((), 3)],
)
def test_a_skip_is_a_failure(packages, code):
    assert audit.read(report(*packages)).code == code


@pytest.mark.parametrize("said", ["", "not JSON", "{}"])
def test_a_source_that_cannot_be_reached_is_a_failure(monkeypatch, said):
    def run(command, **options):
        return subprocess.CompletedProcess(command, 1, said, "noise\nERROR: connection refused\n")

    monkeypatch.setattr(subprocess, "run", run)
    verdict = audit.audit("requirements/runtime.txt")
    assert verdict.code == 3 and verdict.skipped == ["requirements/runtime.txt: ERROR: connection refused"]


def test_the_lock_has_a_hash_for_every_requirement():
    for name in ("runtime", "dev"):
        text = (ROOT / f"requirements/{name}.txt").read_text()
        entries = re.findall(r"^\S+==.*(?:\n .*)*", text, re.MULTILINE)
        assert entries and all("--hash=sha256:" in entry for entry in entries)
