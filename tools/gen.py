"""Regenerate the code that stands beside the .proto files under proto/, or check that it is up to date (``--check``)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(sources: list[Path], target: Path) -> None:
    """Compile ``sources`` into ``target``, laid out by proto package."""
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python")]
    outputs += [f"--{kind}_out=quiet:{target}" for kind in ("mypy", "mypy_grpc")]
    names = [str(source.relative_to(PROTO)) for source in sources]
    # The plugins stand beside the interpreter, whether or not its environment is activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *outputs, *names]
    done = subprocess.run(command, check=False, env={**os.environ, "PATH": path})
    if done.returncode:
        sys.exit(f"gen: protoc failed with code {done.returncode}")


def contents(folder: Path) -> dict[str, str]:
    """Return the generated files under ``folder`` by relative name."""
    found = (path for pattern in GENERATED for path in folder.rglob(pattern))
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in found}


def check(sources: list[Path]) -> None:
    """End with code 1, naming the files, if what is committed is not what the sources give."""
    with tempfile.TemporaryDirectory() as folder:
        generate(sources, Path(folder))
        wanted, present = contents(Path(folder)), contents(PROTO)
    stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if stale:
        sys.exit("gen: not up to date, run make gen:\n" + "\n".join(f"  proto/{name}" for name in stale))
    print("gen: generated code is up to date")


def main(arguments: list[str]) -> None:
    """Regenerate or check."""
    sources = sorted(PROTO.rglob("*.proto"))
    if not sources:
        print("gen: no .proto files, nothing to generate")
    elif "--check" in arguments:
        check(sources)
    else:
        generate(sources, PROTO)
        print(f"gen: generated code for {len(sources)} .proto files")


if __name__ == "__main__":
    main(sys.argv[1:])
