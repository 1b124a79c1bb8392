"""The service units by systemd's own tools, and the daemons under what the units forbid."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from benchmarks.procs import Child, free_port

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SERVICES = ("hubd.service", "agentd.service")
MOST_EXPOSED = 1.5
PR_SET_MDWE = 65
"""Linux 6.3; what MemoryDenyWriteExecute= does by a filter. Inherited over exec."""


def analyze(*arguments: str) -> str:
    """Run systemd-analyze without a pager."""
    command = ["systemd-analyze", "--no-pager", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_exposure(name: str) -> None:
    """At most 1.5, where a bare unit has 9.6."""
    said = analyze("security", "--offline=true", str(DEPLOY / name))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    print(f"{name}: {found[1]}")
    assert float(found[1]) <= MOST_EXPOSED


def test_systemd_has_nothing_to_say_about_them(tmp_path: Path) -> None:
    """Programs are looked for where they are installed here."""
    for path in DEPLOY.glob("*d.*"):
        text = path.read_text("utf-8")
        (tmp_path / path.name).write_text(text.replace("/usr/local/bin/", f"{Path(sys.executable).parent}/"))
    said = analyze("verify", *(str(path) for path in sorted(tmp_path.iterdir())))
    assert said.strip() == ""


def test_no_memory_that_is_written_and_run(tmp_path: Path) -> None:
    """The hub with all it loads works where the kernel refuses memory to be both; older kernels say so by EINVAL."""
    port, web = free_port(), free_port()
    os.chmod(tmp_path, 0o700)
    hubd = shutil.which("hubd", path=str(Path(sys.executable).parent))
    assert hubd is not None
    code = (
        f"import ctypes, os, sys; print('mdwe', ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0), flush=True); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    words = [
        sys.executable, "-c", code, hubd, "serve", "--dev", "--listen", f"127.0.0.1:{port}",
        "--web-listen", f"127.0.0.1:{web}", "--admin", f"unix:{tmp_path}/admin.sock",
    ]  # fmt: skip
    with Child("hubd", words, tmp_path / "log") as hub:
        strict = hub.wait_output(r"^mdwe (-?\d)")[1] == "0"
        hub.wait_output("hub started")
        for url in (f"http://127.0.0.1:{port}/healthz", f"http://127.0.0.1:{web}/metrics"):
            with contextlib.closing(urllib.request.urlopen(url, timeout=10)) as answer:
                assert answer.status == 200
        os.kill(hub.pid, signal.SIGTERM)
        assert hub.stop(10.0) == 0
    assert strict or ctypes.CDLL(None).prctl(PR_SET_MDWE, 0, 0, 0, 0) == -1
