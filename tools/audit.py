"""Look for known faults in what an installation brings: every locked requirement, against the public advisories.

A package that could not be looked up counts as a failure, and so does a source that cannot be reached: silence is no
good news. Code 1 means known faults, code 3 that some or all packages could not be audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKED = ("requirements/runtime.txt",)
FAULTS = 1
NOT_AUDITED = 3
TIMEOUT = 300


@dataclass
class Verdict:
    """What an audit has found.

    Attributes:
        audited: packages that were looked up.
        faults: known faults, one line each.
        skipped: packages that were not looked up, with the reason.
    """

    audited: int = 0
    faults: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        """The exit code."""
        if self.faults:
            return FAULTS
        return NOT_AUDITED if self.skipped or not self.audited else 0


def read(report: str) -> Verdict:
    """Read a report of pip-audit in JSON.

    Raises:
        ValueError: it is none.
    """
    verdict = Verdict()
    for package in json.loads(report)["dependencies"]:
        name = f"{package['name']} {package.get('version', '')}".strip()
        if "skip_reason" in package:
            verdict.skipped.append(f"{name}: {package['skip_reason']}")
            continue
        verdict.audited += 1
        for fault in package["vulns"]:
            fixed = ", ".join(fault.get("fix_versions", [])) or "nothing yet"
            verdict.faults.append(f"{name}: {fault['id']}, fixed in {fixed}")
    return verdict


def audit(requirements: str) -> Verdict:
    """Audit one file. Not with ``--strict``, which ends at the first skip: all of them are to be told."""
    command = [
        str(Path(sys.executable).parent / "pip-audit"), "--require-hashes", "--disable-pip", "-r", requirements,
        "--format", "json", "--progress-spinner", "off",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=TIMEOUT)
        return read(done.stdout)
    except subprocess.TimeoutExpired:
        return Verdict(skipped=[f"{requirements}: no answer within {TIMEOUT} s"])
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return Verdict(skipped=[f"{requirements}: {last}"])


def main() -> None:
    """Audit all files and tell."""
    verdict = Verdict()
    for name in LOCKED:
        found = audit(name)
        verdict.audited += found.audited
        verdict.faults += found.faults
        verdict.skipped += found.skipped
    for line in verdict.faults:
        print(f"audit: {line}")
    for line in verdict.skipped:
        print(f"audit: not audited: {line}")
    if verdict.faults:
        print(f"audit: FAILED: {len(verdict.faults)} known faults", file=sys.stderr)
    elif verdict.skipped and not verdict.audited:
        print("audit: FAILED: nothing could be audited: the source of advisories is not reachable", file=sys.stderr)
    elif verdict.code:
        print(f"audit: FAILED: {len(verdict.skipped)} packages could not be audited", file=sys.stderr)
    else:
        print(f"audit: {verdict.audited} packages, no known faults")
    sys.exit(verdict.code)


if __name__ == "__main__":
    main()
