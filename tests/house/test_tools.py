"""The chore scripts do what they say, where that can be tried without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import gen, gotool, install, interop


def test_every_make_target_is_listed_by_help() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory"], cwd=install.ROOT, capture_output=True, text=True, check=True
    )
    names = {line.split()[0] for line in done.stdout.splitlines()}
    wanted = {"install", "demo", "test", "interop", "soak", "bench", "bench-peers", "lint", "gen"}
    assert wanted <= names


def test_without_a_python_that_fits_make_says_so_in_one_line(tmp_path: Path) -> None:
    for name in ("make", "sh"):
        found = shutil.which(name)
        assert found
        (tmp_path / name).symlink_to(found)
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    command = [tmp_path / "make", "--no-print-directory", "install", "PYTHON="]
    done = subprocess.run(command, cwd=install.ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0].startswith("make: no Python 3.11 or later with venv found")


def test_the_environment_is_made_anew_when_an_input_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in install.INPUTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    monkeypatch.setattr(install, "ROOT", tmp_path)
    before = install.fingerprint()
    assert install.fingerprint() == before
    for name in install.INPUTS:
        (tmp_path / name).write_text("two")
        after = install.fingerprint()
        assert after != before
        before = after


def test_an_up_to_date_environment_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = tmp_path / ".installed"
    stamp.write_text(install.fingerprint())
    monkeypatch.setattr(install, "STAMP", stamp)
    monkeypatch.setattr(install, "works", lambda: True)
    monkeypatch.setattr(install, "pip", lambda *arguments: pytest.fail(f"pip {arguments}"))
    install.main()
    stamp.write_text("old")
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(install, "pip", lambda *arguments: calls.append(arguments))
    install.main()
    assert "--require-hashes" in calls[0]
    assert "--no-deps" in calls[1]
    assert stamp.read_text() == install.fingerprint()


def test_nothing_to_generate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gen, "PROTO", tmp_path)
    gen.main(["--check"])
    assert capsys.readouterr().out == "gen: no .proto files, nothing to generate\n"


def test_generated_code_that_differs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(sources: list[Path], target: Path) -> None:
        (target / "a_pb2.py").write_text("new")
        (target / "same_pb2.py").write_text("same")

    for name, text in {"a.proto": "", "a_pb2.py": "old", "same_pb2.py": "same", "gone_pb2_grpc.py": ""}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(gen, "PROTO", tmp_path)
    monkeypatch.setattr(gen, "generate", generate)
    with pytest.raises(SystemExit) as caught:
        gen.main(["--check"])
    assert str(caught.value.code).splitlines()[1:] == ["  proto/a_pb2.py", "  proto/gone_pb2_grpc.py"]


def test_go_from_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gotool.find_go() == go


def test_go_that_cannot_be_had_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gotool, "TOOL", tmp_path / "none")
    failing = subprocess.CompletedProcess([], 1, "", "warning\nERROR: no matching distribution\n")
    monkeypatch.setattr(gotool.subprocess, "run", lambda *_, **__: failing)
    with pytest.raises(RuntimeError, match=r"no go command on PATH.*ERROR: no matching distribution$"):
        gotool.find_go()


def test_interop_without_root_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interop.os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="missing: haproxy, wrk; on Debian: apt-get install haproxy wrk"):
        interop.install(["haproxy", "wrk"])


def test_tools_that_run_before_the_installation_need_the_standard_library_only() -> None:
    for name in ("install", "lock", "gotool"):
        code = f"import sys; sys.path.insert(0, '.'); import tools.{name}"
        subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=install.ROOT, check=True)


def test_an_environment_whose_making_was_broken_off_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(install, "VENV", tmp_path / "venv")
    assert not install.works()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    assert not install.works()
