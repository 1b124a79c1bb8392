"""The house rules hold, and the tool that checks them finds what breaks them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import house


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_this_repository_keeps_the_rules() -> None:
    assert house.faults(house.ROOT) == []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "src/hubd/__init__.py", "")
    return tmp_path


def test_modules_and_functions_that_are_too_long(root: Path) -> None:
    write(root, "src/hubd/long.py", "x = 1\n" * 401)
    body = "    x = 1\n"
    write(root, "src/hubd/funcs.py", "def fits():\n" + body * 49 + "async def long():\n" + body * 50)
    write(root, "src/hubd/documented.py", 'def fits():\n    """One.\n\n    Two.\n    """\n' + body * 49)
    write(root, "src/hubd/made_pb2.py", "x = 1\n" * 5000)
    write(root, "docs/long.md", "x\n" * 5000)
    assert list(house.size_faults(root, house.files(root))) == [
        "src/hubd/funcs.py:51: long has 51 lines, more than 50",
        "src/hubd/long.py: 401 lines, more than 400",
    ]


def test_modules_with_behaviour_need_a_test_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = "tests/tunnel/http1/test_rows.py"
    excuses = {"hubd/gone.py": where, "tunnel/http1/": where, "tunnel/attach/": "tests/gone.py"}
    monkeypatch.setattr(house, "TESTED_ELSEWHERE", excuses)
    write(root, "src/tunnel/http1/scan.py", "def go():\n    return 1\n")
    write(root, "tests/tunnel/http1/test_rows.py", "")
    write(root, "src/tunnel/attach/client.py", "def go():\n    return 1\n")
    write(root, "src/hubd/pick.py", "def go():\n    return 1\n")
    write(root, "tests/hubd/test_choices.py", "from hubd.pick import go\n")
    write(root, "src/hubd/relay.py", "def go():\n    return 1\n")
    write(root, "src/hubd/front.py", "def go():\n    return 1\n")
    write(
        root,
        "src/hubd/names.py",
        "A = 1\nclass B:\n    def c(self): ...\n    def d(self):\n        raise NotImplementedError\n",
    )
    write(root, "src/plugins/carrier_x/__init__.py", "def go():\n    return 1\n")
    write(root, "src/plugins/carrier_y/__init__.py", "def go():\n    return 1\n")
    write(root, "tests/hubd/test_relay_bodies.py", "")
    write(root, "tests/plugins/carrier_y/test_carrier_y.py", "")
    assert list(house.mirror_faults(root)) == [
        "src/hubd/front.py: no test file tests/hubd/test_front*.py",
        "src/plugins/carrier_x/__init__.py: no test file tests/plugins/carrier_x/test_carrier_x*.py",
        "tools/house.py: hubd/gone.py is excused by tests/tunnel/http1/test_rows.py, and one of them does not exist",
        "tools/house.py: tunnel/attach/ is excused by tests/gone.py, and one of them does not exist",
    ]


# Split, so that this file itself passes.
@pytest.mark.parametrize(
    "words", ["# TO|DO later", "see /ro|ot/x", "https://py|pi.org/simple", "DES|IGN.md", "('/ho|me/you/x')"]
)
def test_words_that_have_no_place_here(root: Path, words: str) -> None:
    write(root, "docs/page.md", f"fine\n{words.replace('|', '')}\n")
    (fault,) = house.word_faults(root, house.files(root))
    assert fault.startswith("docs/page.md:2: ")


def test_words_that_only_look_alike(root: Path) -> None:
    write(root, "docs/page.md", "A preference/yamux of autodoc, shacks, x/root/y and https://example.org/work/a\n")
    assert list(house.word_faults(root, house.files(root))) == []


def test_tests_that_would_not_run(root: Path) -> None:
    mark = "@pytest.mark." + "skip"
    write(root, "tests/hubd/test_x.py", f"{mark}\ndef test_x(): ...\n")
    write(root, "src/hubd/y.py", f"{mark}\n")
    assert list(house.word_faults(root, house.files(root))) == [
        f"tests/hubd/test_x.py:1: a test that may not run proves nothing: {mark}"
    ]


def test_packages_where_they_belong(root: Path) -> None:
    write(root, "tests/hubd/__init__.py", "")
    write(root, "src/hubd/inner/x.py", "")
    write(root, "src/plugins/stray.py", "")
    assert sorted(house.layout_faults(root, house.files(root))) == [
        "src/hubd/inner/x.py: its folder has no __init__.py",
        "src/plugins/stray.py: its folder has no __init__.py",
        "tests/hubd/__init__.py: tests are no packages, they would hide those of src",
    ]


def test_excuses_are_few() -> None:
    assert len(house.TESTED_ELSEWHERE) <= 20
