"""What a wrong command line of either daemon looks like, and the options every program has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tunnel.version import VERSION


def ended(program: str, *words: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-m", program, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        ("hubd", ["serve", "--bogus"], "hubd: no such option: --bogus; see hubd serve --help"),
        ("hubd", ["servve"], "hubd: no such command 'servve'. Did you mean 'serve'?; see hubd --help"),
        ("hubd", ["serve", "--listen"], "hubd: option '--listen' requires an argument; see hubd "),
        ("hubd", ["serve", "more"], "hubd: got unexpected extra argument(s) (more); see hubd serve --help"),
        ("agentd", ["run", "--taget", "x"], "agentd: no such option: --taget (Possible options: --target,"),
        ("agentd", ["--bogus"], "agentd: no such option: --bogus; see agentd --help"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(program: str, words: list[str], said: str) -> None:
    code, out, err = ended(program, *words)
    assert (code, out) == (2, "")
    assert err.startswith(said) and err.count("\n") == 1


@pytest.mark.parametrize("program", ["hubd", "agentd", "tunnelctl"])
def test_every_program_tells_its_version_and_its_help(program: str) -> None:
    assert ended(program, "--version") == (0, f"{program} {VERSION}\n", "")
    code, out, err = ended(program, "-h")
    assert (code, err) == (0, "") and f"Usage: {program}" in out
    code, out, _ = ended(program)
    assert code == 2 and f"Usage: {program}" in out


def test_help_shows_no_value_behind_a_flag() -> None:
    _, out, _ = ended("hubd", "serve", "--help")
    assert "--dev" in out and "--help" in out and "bool" not in out
    assert "path" in out, "as it does for those that take one"


@pytest.mark.parametrize(("program", "command"), [("hubd", "serve"), ("agentd", "run")])
def test_the_settings_file_has_a_short_flag(program: str, command: str) -> None:
    code, _, err = ended(program, command, "-c", "/nowhere.toml")
    assert code == 78 and "/nowhere.toml" in err


def test_output_nobody_reads_any_more_is_no_traceback() -> None:
    reading = subprocess.Popen(
        [sys.executable, "-m", "hubd", "config", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert reading.stdout is not None and reading.stderr is not None
    reading.stdout.close()
    assert reading.stderr.read() == ""
    assert reading.wait() == 1
    reading.stderr.close()
