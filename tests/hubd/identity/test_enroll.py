"""Exchanging a join token for a token of one's own."""

from __future__ import annotations

import pytest

from hubd.identity.enroll import enroll
from hubd.identity.tokens import JOIN_TTL, TokenBook, TokenError
from hubd.sessions import AgentSession
from hubd.store import Database


class Clock:
    now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> TokenBook:
    return TokenBook(Database(), clock=clock)


def guest(agent_id: str, token_id: str, *, joining: bool = True) -> AgentSession:
    return AgentSession(agent_id, None, token_id=token_id, joining=joining)  # type: ignore[arg-type]


def refused(book: TokenBook, entry: AgentSession) -> str:
    with pytest.raises(TokenError) as caught:
        enroll(book, entry)
    return caught.value.reason


def test_the_new_token_is_for_the_id_that_asked(book: TokenBook) -> None:
    join, _ = book.create("join")
    secret, row = enroll(book, guest("demo", join.id))
    assert book.verify(secret.reveal(), ("agent",)) == row
    assert (row.kind, row.agent, row.comment) == ("agent", "demo", f"enrolled with {join.id}")


def test_a_use_is_gone_with_it(book: TokenBook) -> None:
    join, _ = book.create("join", uses=2)
    enroll(book, guest("one", join.id))
    enroll(book, guest("two", join.id))
    assert refused(book, guest("three", join.id)) == "JOIN_SPENT"
    assert book.valid_of("three") == 0


def test_a_join_token_that_ended_is_spent(book: TokenBook, clock: Clock) -> None:
    revoked, _ = book.create("join")
    late, _ = book.create("join")
    book.revoke(revoked.id)
    clock.now += JOIN_TTL
    for join in (revoked, late):
        assert refused(book, guest("demo", join.id)) == "JOIN_SPENT"


def test_only_a_join_token_that_names_the_agent_adds_to_its_tokens(book: TokenBook) -> None:
    anybody, _ = book.create("join", uses=9)
    named, _ = book.create("join", agent="demo", uses=9)
    enroll(book, guest("demo", anybody.id))
    assert refused(book, guest("demo", anybody.id)) == "AGENT_TAKEN"
    enroll(book, guest("demo", named.id))
    assert refused(book, guest("demo", named.id)) == "TOKEN_LIMIT"
    assert book.get(named.id).uses_left == 8, "a refusal costs no use"


def test_an_ordinary_session_cannot_enrol(book: TokenBook) -> None:
    row, _ = book.create("agent", agent="demo")
    assert refused(book, guest("demo", row.id, joining=False)) == "NOT_JOINING"
