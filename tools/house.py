"""House rules that no linter knows: sizes, tests that mirror the sources, words that have no place in the repository."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_MODULE = 400
MAX_FUNCTION = 50
SIZED = ("src", "tools", "benchmarks", "examples")

# Modules, or with a slash at the end whole folders, whose tests go by behaviour rather than by module, and where those are.
TESTED_ELSEWHERE: dict[str, str] = {
    # Both sides of the upgrade are tested against each other.
    "tunnel/attach/": "tests/tunnel/test_attach.py",
    # The kit is what tests carriers: every built-in one goes through it.
    "plugins/carrier_api/kit/": "tests/plugins/carrier_tcp/test_carrier_tcp.py",
}

# A bar splits each word, so that this file does not contain what it looks for.
WORDS = {
    why: re.compile(pattern.replace("|", "").replace("/or/", "|"))
    for why, pattern in {
        "left-over work": r"\b(?:TO|DO/or/FIX|ME/or/XX|X/or/HA|CK)\b",
        "a path of one machine": r"(?<![\w.~}-])/(?:ro|ot/or/wo|rk/or/ho|me\/[a-z]+/or/tm|p\/w)/",
        "a registry's host name": r"\b(?:py|pi\.org/or/python|hosted\.org/or/proxy\.go|lang\.org/or/registry\.np|mjs\.org"
        r"/or/deb\.deb|ian\.org/or/docker\.i|o/or/gh|cr\.io)\b",
        "a page that is not in the repository": r"\bDES|IGN\.md\b/or/\brefer|ence/(?:ya|mux/or/reli|ability/or/eco|system)",
    }.items()
}
SKIPPING = re.compile(r"pytest\.(?:mark\.)?(?:s[k]ip|x[f]ail|importors[k]ip)")


def files(root: Path) -> list[Path]:
    """Return the repository's files, or those of an unpacked archive, that are not ignored."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8").split("\0")
        found = [root / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        hidden = (".git", ".venv", ".build", "__pycache__", "dist")
        found = [path for path in root.rglob("*") if not any(part in hidden for part in path.relative_to(root).parts)]
    return sorted(path for path in found if path.is_file())


def generated(path: Path) -> bool:
    """Tell whether a tool wrote the file."""
    return "_pb2" in path.name


def size_faults(root: Path, paths: list[Path]) -> Iterator[str]:
    """Yield modules and functions that are too long. Docstrings do not count for functions."""
    for path in paths:
        name = path.relative_to(root)
        if path.suffix != ".py" or name.parts[0] not in SIZED or generated(path):
            continue
        text = path.read_text("utf-8")
        count = len(text.splitlines())
        if count > MAX_MODULE:
            yield f"{name}: {count} lines, more than {MAX_MODULE}"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = _length(node)
                if length > MAX_FUNCTION:
                    yield f"{name}:{node.lineno}: {node.name} has {length} lines, more than {MAX_FUNCTION}"


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        length -= (first.end_lineno or first.lineno) - first.lineno + 1
    return length


def has_behaviour(text: str) -> bool:
    """Tell whether a module does anything: a function with more than a docstring, ``...``, pass or raise in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                stub = isinstance(statement, ast.Pass | ast.Raise)
                constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
                if not stub and not constant:
                    return True
    return False


def mirror_faults(root: Path) -> Iterator[str]:
    """Yield modules under src that have behaviour and no test.

    A test of ``src/a/b/name.py`` is ``tests/a/b/test_name*.py``, or any test in that folder that imports the module.
    """
    for path in sorted((root / "src").rglob("*.py")):
        name = path.relative_to(root / "src")
        folder = root / "tests" / name.parent
        excused = str(name) in TESTED_ELSEWHERE or f"{name.parent}/" in TESTED_ELSEWHERE
        # A main only hands over, and every test that starts the daemon runs it.
        if path.name == "__main__.py" or generated(path) or excused or not has_behaviour(path.read_text("utf-8")):
            continue
        parts = [part for part in name.with_suffix("").parts if part != "__init__"]
        if parts[0] == "plugins":
            parts = parts[1:]
        tests = folder.glob("test_*.py")
        if not any(test.match(f"test_{parts[-1].strip('_')}*.py") or _imports(test, ".".join(parts)) for test in tests):
            yield f"src/{name}: no test file tests/{name.parent}/test_{parts[-1].strip('_')}*.py"
    for listed, tests_at in TESTED_ELSEWHERE.items():
        if not (root / "src" / listed).exists() or not (root / tests_at).exists():
            yield f"tools/house.py: {listed} is excused by {tests_at}, and one of them does not exist"


def _imports(test: Path, module: str) -> bool:
    parent, _, last = module.rpartition(".")
    patterns = [rf"from {re.escape(module)} import", rf"import {re.escape(module)}\b"]
    if parent:
        patterns.append(rf"from {re.escape(parent)} import [^#\n]*\b{last}\b")
    return re.search("|".join(patterns), test.read_text("utf-8")) is not None


def word_faults(root: Path, paths: list[Path]) -> Iterator[str]:
    """Yield places with words that have no business in the repository, and tests that would not run."""
    for path in paths:
        name = path.relative_to(root)
        try:
            lines = path.read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            for why, pattern in WORDS.items():
                if found := pattern.search(line):
                    yield f"{name}:{number}: {why}: {found[0]}"
            if name.parts[0] == "tests" and SKIPPING.search(line):
                yield f"{name}:{number}: a test that may not run proves nothing: {line.strip()}"


def layout_faults(root: Path, paths: list[Path]) -> Iterator[str]:
    """Yield packages under tests, which would hide the real ones, and folders of src that are no packages."""
    for path in paths:
        name = path.relative_to(root)
        if name.parts[0] == "tests" and path.name == "__init__.py":
            yield f"{name}: tests are no packages, they would hide those of src"
        if path.suffix == ".py" and name.parts[0] == "src" and not (path.parent / "__init__.py").exists():
            yield f"{name}: its folder has no __init__.py"


def faults(root: Path) -> list[str]:
    """Return everything that breaks a house rule, one line each."""
    paths = files(root)
    found = [*size_faults(root, paths), *layout_faults(root, paths), *mirror_faults(root)]
    return found + list(word_faults(root, [path for path in paths if path.name != "LICENSE"]))


def main() -> None:
    """Print the faults and end with code 1 if there are any."""
    found = faults(ROOT)
    for fault in found:
        print(fault)
    if found:
        sys.exit(f"house: {len(found)} faults")


if __name__ == "__main__":
    main()
