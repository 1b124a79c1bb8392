"""Rows of tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubd.store import Database
from hubd.store.tokens import KEEP_ENDED_SECONDS, TokenRow, Tokens


def row(token_id: str, **given: object) -> TokenRow:
    values = {"kind": "agent", "role": "", "agent": "demo", "digest": token_id.encode() * 4, "created": 100.0}
    return TokenRow(token_id, **(values | given))  # type: ignore[arg-type]


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(Database())


def test_a_row_comes_back_as_it_was(tokens: Tokens) -> None:
    whole = row("a", role="viewer", expires=200.0, last_use=150.0, uses_left=3, revoked=160.0, comment="for Ann")
    tokens.insert(whole)
    assert tokens.get("a") == whole
    assert tokens.get("b") is None


def test_the_digest_is_not_printed() -> None:
    assert "digest" not in repr(row("a"))


def test_only_what_can_be_used_is_live(tokens: Tokens) -> None:
    tokens.insert(row("ever"))
    tokens.insert(row("soon", expires=200.0))
    tokens.insert(row("late", expires=150.0))
    tokens.insert(row("gone", revoked=120.0))
    tokens.insert(row("used", uses_left=0))
    tokens.insert(row("some", uses_left=1))
    live = tokens.live(160.0)
    assert sorted(found.id for found in live) == ["ever", "some", "soon"]
    everything = tokens.page(after="", limit=10, ended=True, now=160.0)[0]
    assert {found.id for found in everything if found.live(160.0)} == {"ever", "some", "soon"}


def test_pages_go_through_all_of_them_once(tokens: Tokens) -> None:
    for number in range(7):
        tokens.insert(row(f"t{number}", kind="join" if number % 2 else "agent", agent="a" if number < 4 else "b"))
    tokens.revoke("t0", 110.0)
    seen, after = [], ""
    while True:
        rows, total = tokens.page(after=after, limit=2, ended=False, now=160.0)
        assert total == 6
        if not rows:
            break
        seen += [found.id for found in rows]
        after = seen[-1]
    assert seen == ["t1", "t2", "t3", "t4", "t5", "t6"]
    assert [f.id for f in tokens.page(after="", limit=9, kind="join", agent="a", ended=True, now=1.0)[0]] == [
        "t1",
        "t3",
    ]


def test_taking_back_happens_once(tokens: Tokens) -> None:
    tokens.insert(row("a"))
    assert tokens.revoke("a", 120.0)
    assert not tokens.revoke("a", 130.0)
    assert not tokens.revoke("b", 130.0)
    found = tokens.get("a")
    assert found is not None and found.revoked == 120.0


def test_uses_run_out(tokens: Tokens) -> None:
    tokens.insert(row("j", uses_left=2))
    assert [tokens.take_use("j") for _ in range(3)] == [True, True, False]
    tokens.insert(row("a"))
    assert not tokens.take_use("a")


def test_last_uses_are_written_together(tokens: Tokens) -> None:
    tokens.insert(row("a"))
    tokens.insert(row("b"))
    tokens.touch([("a", 150.0), ("b", 160.0), ("nobody", 170.0)])
    assert [found.last_use for found in tokens.live(1.0)] == [150.0, 160.0]


def test_tokens_of_an_agent_are_counted(tokens: Tokens) -> None:
    tokens.insert(row("a"))
    tokens.insert(row("b", expires=150.0))
    tokens.insert(row("c", kind="visitor"))
    tokens.insert(row("d", agent="other"))
    assert tokens.of_agent("demo", "agent", 100.0) == 2
    assert tokens.of_agent("demo", "agent", 150.0) == 1


def test_what_ended_long_ago_is_forgotten(tokens: Tokens) -> None:
    tokens.insert(row("old", expires=200.0))
    tokens.insert(row("kept", expires=None))
    tokens.insert(row("new", created=201.0 + KEEP_ENDED_SECONDS))
    assert tokens.get("old") is None
    assert tokens.get("kept") is not None


def test_another_connection_changes_the_version(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    ours, theirs = Database(path), Database(path)
    tokens = Tokens(ours)
    before = tokens.version()
    tokens.insert(row("a"))
    assert tokens.version() == before, "our own writes are known"
    Tokens(theirs).insert(row("b"))
    assert tokens.version() != before
    ours.close()
    theirs.close()
