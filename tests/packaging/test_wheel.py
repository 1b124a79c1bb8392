"""The wheel holds what it should, and works where nothing else of the checkout is."""

from __future__ import annotations

import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

# A wheel is big at once if a folder too many slips in.
MAX_WHEEL = 2 * 1024 * 1024


def packages() -> set[str]:
    """Every folder that is a package of ours, as the tree has them."""
    places = [*ROOT.glob("src/*"), *ROOT.glob("src/plugins/*"), *ROOT.glob("proto/*")]
    return {place.name for place in places if (place / "__init__.py").exists()}


def sources() -> set[str]:
    """Every file that belongs into the wheel, by its name there."""
    found = set()
    for base in ("src/plugins", "src", "proto"):
        for path in (ROOT / base).rglob("*"):
            name = path.relative_to(ROOT / base)
            wanted = path.is_file() and "__pycache__" not in name.parts and name.parts[0] in packages()
            if wanted:
                found.add(str(name))
    return found


def test_the_wheel_holds_our_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    version = wheel.name.split("-")[1]
    top = {name.split("/")[0] for name in names}
    assert top == packages() | {f"tunnelhub-{version}.dist-info"}
    assert {name for name in names if ".dist-info/" not in name} == sources()
    assert wheel.stat().st_size < MAX_WHEEL


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith("METADATA")]
    text = archive.read(name).decode()
    scope: dict[str, Any] = {}
    exec((ROOT / "src/tunnel/version.py").read_text(), scope)
    assert f"\nVersion: {scope['VERSION']}\n" in text
    assert "\nLicense-Expression: Apache-2.0\n" in text
    assert any(entry.endswith("licenses/LICENSE") for entry in archive.namelist())


def test_every_package_has_types_for_others(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {package for package in packages() if f"{package}/py.typed" not in names} == set()


def test_the_build_and_the_checks_name_every_package() -> None:
    tool = PROJECT["tool"]
    included = {Path(name).name for name in tool["hatch"]["build"]["targets"]["wheel"]["only-include"]}
    assert included == packages()
    assert set(tool["importlinter"]["root_packages"]) == packages()
    assert set(tool["mypy"]["packages"]) - {"benchmarks", "conformance", "tools"} == packages()


def test_folders_do_not_import_as_packages(complete: Any) -> None:
    code = "import importlib.util, json; print(json.dumps([n for n in {!r} if importlib.util.find_spec(n)]))"
    assert (
        complete.python(code.format(["plugins", "proto", "src", "tests", "tools", "benchmarks", "conformance"])) == []
    )


def test_packages_come_from_the_wheel(complete: Any) -> None:
    code = "import importlib, json; print(json.dumps([importlib.import_module(n).__file__ for n in {!r}]))"
    for file in complete.python(code.format(sorted(packages()))):
        assert Path(file).is_relative_to(complete.site)


ENTRY_POINTS = """
import importlib.metadata, json
found = importlib.metadata.distribution("tunnelhub").entry_points
print(json.dumps([[point.group, point.name, point.value, str(callable(point.load()) or point.load())] for point in found]))
"""


def test_every_declared_entry_point_loads(complete: Any) -> None:
    declared = {("console_scripts", name, value) for name, value in PROJECT["project"]["scripts"].items()}
    for group, points in PROJECT["project"]["entry-points"].items():
        declared |= {(group, name, value) for name, value in points.items()}
    assert {(group, name, value) for group, name, value, _ in complete.python(ENTRY_POINTS)} == declared


@pytest.mark.parametrize("script", sorted(PROJECT["project"]["scripts"]))
def test_every_console_script_answers_help(complete: Any, script: str) -> None:
    done = subprocess.run([complete.home / "bin" / script, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert script in done.stdout
    assert done.stderr == ""


BUILT_IN = """
import json
from carrier_api import Registry
registry = Registry.load(group="tunnel.carriers", disabled=())
print(json.dumps([sorted(type(registry.for_url(u)).__module__.split(".")[0] for u in
    ["tcp://127.0.0.1:1", "tls://127.0.0.1:1", "ws://127.0.0.1:1/x", "wss://127.0.0.1:1/x"]), len(registry.failures)]))
"""


def test_the_built_in_carriers_are_found_like_anyones(complete: Any) -> None:
    found, failures = complete.python(BUILT_IN)
    assert found == ["carrier_tcp", "carrier_tls", "carrier_websocket", "carrier_websocket"]
    assert failures == 0


STANDARD_ONLY = """
import json, sys
before = set(sys.modules)
import yamux
names = {name.split(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(name for name in names if name not in sys.stdlib_module_names)))
"""


def test_yamux_needs_the_standard_library_only(bare: Any, complete: Any) -> None:
    assert bare.python(STANDARD_ONLY) == ["yamux"]
    assert complete.python(STANDARD_ONLY) == ["yamux"]


def test_all_of_yamux_needs_the_standard_library_only(bare: Any) -> None:
    modules = sorted(path.stem for path in (ROOT / "src/yamux").glob("*.py") if path.stem != "__init__")
    imports = "; ".join(f"import yamux.{module}" for module in modules)
    assert bare.python(STANDARD_ONLY.replace("import yamux", f"import yamux; {imports}")) == ["yamux"]


LOCKED = "requirements/{}.txt"


@pytest.mark.parametrize("name", ["runtime", "dev", "go", "lock"])
def test_every_locked_requirement_has_a_version_and_hashes(name: str) -> None:
    text = (ROOT / LOCKED.format(name)).read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert lines
    for line in lines:
        assert "==" in line.split(";")[0], line
        assert "--hash=sha256:" in line, line


def test_the_locks_hold_everything_the_project_declares() -> None:
    def names(requirements: list[str]) -> set[str]:
        return {requirement.split(">")[0].split("=")[0].split(";")[0].strip() for requirement in requirements}

    def locked(name: str) -> set[str]:
        lines = (ROOT / LOCKED.format(name)).read_text().splitlines()
        return {line.split("==")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}

    runtime = names(PROJECT["project"]["dependencies"])
    assert runtime <= locked("runtime")
    assert runtime | names(PROJECT["dependency-groups"]["dev"]) <= locked("dev")
    assert set(PROJECT["build-system"]["requires"]) <= set(PROJECT["dependency-groups"]["dev"])
