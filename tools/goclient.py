"""Generate and build examples/go-client under .build/go-client, as its page says, and print where the program is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.gotool import find_go

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "examples" / "go-client"
BUILD = ROOT / ".build" / "go-client"
# A cold build downloads the modules and compiles gRPC: a minute on two idle cores, so this is for slow networks.
BUILD_TIMEOUT = 600.0


def build() -> Path:
    """Return the program's path. Raises RuntimeError with what failed in the tools' own words."""
    go = find_go()
    BUILD.mkdir(parents=True, exist_ok=True)
    for path in SOURCES.iterdir():
        if path.is_file():
            shutil.copy2(path, BUILD / path.name)
    search = os.pathsep.join([str(go.parent), os.environ.get("PATH", os.defpath)])
    environ = {**os.environ, "PATH": search, "GOFLAGS": "-mod=readonly"}
    buf = str(Path(sys.executable).parent / "buf")
    for step in ([buf, "generate", str(ROOT / "proto")], [str(go), "build", "-o", "go-client", "."]):
        done = subprocess.run(
            step, cwd=BUILD, env=environ, capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(step)} failed:\n{done.stderr}")
    return BUILD / "go-client"


if __name__ == "__main__":
    try:
        print(build())
    except RuntimeError as error:
        sys.exit(f"goclient: {error}")
