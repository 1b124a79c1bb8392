"""Compare the API with the one released last: nothing in it may break code that was generated from that.

The released API is kept as an image (``proto/released.binpb``), so that the check needs no history; after a release
``--accept`` writes it anew.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sys.executable).parent / "buf"
IMAGE = ROOT / "proto" / "released.binpb"


def main(arguments: list[str]) -> None:
    """Check, or accept what there is."""
    if "--accept" in arguments:
        command = [str(BUF), "build", "proto", "-o", str(IMAGE)]
    else:
        command = [str(BUF), "breaking", "proto", "--against", str(IMAGE)]
    sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
