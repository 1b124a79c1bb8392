from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tunnel.tomllines import KeyPath, key_lines

TEXT = '''\
# a comment with [brackets] and "quotes
name = "x" # more = 1

[http]
listen = [
    "a", # ]
    "b",
]
text = """
[not.a.table]
key = "no" \\"""
"""
after = 1
lit = \'\'\'it's
x = 1\'\'\'
"quoted.key" = 2
a.b.c = 3

[service."web.1"]
inline = { x = 1, y = { z = [1, { deep = 2 }] } }

[[items]]
one = 1
[items.sub]
two = 2
[[items]]
one = 3
[[items.inner]]
three = 3
'''


def test_every_kind_of_statement() -> None:
    lines = key_lines(TEXT)
    expected: dict[KeyPath, int] = {
        ("name",): 2,
        ("http",): 4,
        ("http", "listen"): 5,
        ("http", "listen", 1): 5,
        ("http", "text"): 9,
        ("http", "after"): 13,
        ("http", "lit"): 14,
        ("http", "quoted.key"): 16,
        ("http", "a", "b", "c"): 17,
        ("service", "web.1"): 19,
        ("service", "web.1", "inline", "y", "z", 1, "deep"): 20,
        ("items", 0): 22,
        ("items", 0, "one"): 23,
        ("items", 0, "sub", "two"): 25,
        ("items", 1): 26,
        ("items", 1, "one"): 27,
        ("items", 1, "inner", 0, "three"): 29,
    }
    assert {path: lines.get(path) for path in expected} == expected
    assert ("http", "key") not in lines
    assert ("not",) not in lines


def test_nothing_in_nothing() -> None:
    assert key_lines("") == {}
    assert key_lines("# only this") == {}


def every_path(value: Any, prefix: KeyPath = ()) -> set[KeyPath]:
    found = {prefix} - {()}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found |= every_path(inner, (*prefix, key))
    return found


keys = st.sampled_from(["a", "b", "c-d", '"e f"', "'#'"])
values = st.sampled_from(["1", '"x"', "[1, 2]", "[\n1,\n]", "{ k = 1 }", '"""\n[x]\n"""', "'''='''", "'#'", '"\\""'])
statements = st.one_of(
    st.tuples(keys, values).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    keys.map(lambda key: f"[{key}.t]"),
    keys.map(lambda key: f"[[{key}.u]]"),
    st.just("# [note]"),
)


@given(st.lists(statements, max_size=8).map("\n".join))
def test_finds_exactly_the_keys_that_the_parser_finds(text: str) -> None:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(key_lines(text)) == every_path(content)
