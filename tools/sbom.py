"""Build what is released into dist: sdist, wheel, and a bill of materials of what an installation brings.

The bill (CycloneDX, JSON) lists the locked runtime requirements with their hashes. The same tree gives the same bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
LOCKED = "requirements/runtime.txt"


def version() -> str:
    """The project's version."""
    text = (ROOT / "src/tunnel/version.py").read_text("utf-8")
    return text.split('"')[-2]


def bill(target: Path) -> dict[str, Any]:
    """Write the bill of materials and return it.

    Raises:
        SystemExit: it cannot be made, or something in it has no hash.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [
        str(Path(sys.executable).parent / "cyclonedx-py"), "requirements", LOCKED, "--pyproject", "pyproject.toml",
        "--output-reproducible", "--validate", "--output-format", "JSON", "--output-file", str(target),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"sbom: cannot be made:\n{done.stderr.strip()}")
    content: dict[str, Any] = json.loads(target.read_text("utf-8"))
    content["metadata"]["component"]["version"] = version()
    bare = [part["name"] for part in content.get("components", []) if not hashes(part)]
    if bare or not content.get("components"):
        sys.exit(f"sbom: without a hash: {', '.join(bare) or 'everything'}; run make lock")
    target.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")
    return content


def hashes(component: dict[str, Any]) -> list[dict[str, str]]:
    """All hashes a component has, its own and those of the places it comes from."""
    found = list(component.get("hashes", []))
    for reference in component.get("externalReferences", []):
        found += reference.get("hashes", [])
    return found


def build() -> None:
    """Make sdist and wheel, in this environment: nothing is downloaded."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", "1700000000")}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"dist: the build failed:\n{done.stdout}{done.stderr}")


def main(arguments: list[str]) -> None:
    """Make the bill, and with ``--dist`` the packages too."""
    if "--dist" in arguments:
        build()
    target = DIST / f"tunnelhub-{version()}.cdx.json"
    content = bill(target)
    print(f"sbom: {target.relative_to(ROOT)}: {len(content['components'])} packages, each with its hashes")
    if "--dist" in arguments:
        for path in sorted(DIST.iterdir()):
            print(f"dist: {path.relative_to(ROOT)} ({path.stat().st_size} bytes)")


if __name__ == "__main__":
    main(sys.argv[1:])
