"""The table of scenarios is complete, and the page that keeps it is of these tests."""

from __future__ import annotations

import re

from conformance.scenarios.table import PAGE, SCENARIOS, functions


def test_every_scenario_has_a_test() -> None:
    assert sorted(SCENARIOS) == list(range(1, 66))
    assert [number for number, names in functions().items() if not names] == []


def test_the_page_lists_these_tests_and_all_passed() -> None:
    rows = re.findall(r"^\| s(\d\d) \|.*\| (.*) \| (\d+) \| (\w.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    listed = {
        int(number): [f"test_s{number}_{name.strip('`')}" for name in names.split(", ")] for number, names, _, _ in rows
    }
    assert listed == functions()
    assert {result for *_, result in rows} == {"passed"}
    assert all(int(cases) >= len(listed[int(number)]) for number, _, cases, _ in rows)
