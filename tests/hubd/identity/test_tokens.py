"""The book of tokens."""

from __future__ import annotations

import random
import sqlite3
import string
from pathlib import Path

import pytest

from hubd.identity.texts import KINDS
from hubd.identity.tokens import DEFAULT_TTL, JOIN_TTL, TOUCH_SECONDS, TokenBook, TokenError
from hubd.store import Database


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Ended(list[tuple[set[str], bool]]):
    """What the book said has ended; each of them ends one session."""

    def __call__(self, ended: set[str], revoked: bool) -> int:
        self.append((ended, revoked))
        return len(ended)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> TokenBook:
    book = TokenBook(Database(), clock=clock)
    book.on_ended = Ended()
    return book


def test_a_token_is_good_for_its_kind_until_it_expires(book: TokenBook, clock: Clock) -> None:
    row, secret = book.create("agent", agent="demo")
    assert book.verify(secret.reveal(), ("agent",)) == row
    assert book.verify(secret.reveal(), KINDS) == row
    assert book.verify(secret.reveal(), ("admin", "visitor", "join")) is None
    clock.now += DEFAULT_TTL - 1
    assert book.verify(secret.reveal(), ("agent",)) == row
    clock.now += 1
    assert book.verify(secret.reveal(), ("agent",)) is None


def test_the_store_holds_no_secret(tmp_path: Path) -> None:
    database = Database(tmp_path / "hub.db")
    _, secret = TokenBook(database).create("admin", role="admin")
    database.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.reveal().split("_")[3].encode() not in stored


def test_a_token_is_known_after_a_restart(tmp_path: Path) -> None:
    database = Database(tmp_path / "hub.db")
    _, secret = TokenBook(database).create("agent", agent="demo")
    database.close()
    again = Database(tmp_path / "hub.db")
    found = TokenBook(again).verify(secret.reveal(), ("agent",))
    assert found is not None and found.agent == "demo"
    again.close()


@pytest.mark.parametrize(
    ("kind", "given", "field"),
    [
        ("agent", {}, "agent"),
        ("visitor", {}, "agent"),
        ("agent", {"agent": "no/id"}, "agent"),
        ("admin", {"role": "admin", "agent": "demo"}, "agent"),
        ("admin", {}, "role"),
        ("admin", {"role": "king"}, "role"),
        ("agent", {"agent": "demo", "role": "admin"}, "role"),
        ("agent", {"agent": "demo", "ttl": 0.0}, "ttl"),
        ("agent", {"agent": "demo", "ttl": 1e12}, "ttl"),
        ("agent", {"agent": "demo", "uses": 2}, "uses"),
        ("join", {"uses": 0}, "uses"),
        ("agent", {"agent": "demo", "comment": "a\nb"}, "comment"),
        ("agent", {"agent": "demo", "comment": "x" * 501}, "comment"),
        ("king", {}, "kind"),
    ],
)
def test_a_wrong_wish_names_its_field(book: TokenBook, kind: str, given: dict[str, object], field: str) -> None:
    with pytest.raises(TokenError) as caught:
        book.create(kind, **given)  # type: ignore[arg-type]
    assert (caught.value.reason, caught.value.field) == ("FIELD_INVALID", field)
    assert book.page(ended=True).rows == []


def test_two_tokens_of_an_agent_are_valid_at_a_time(book: TokenBook) -> None:
    first, one = book.create("agent", agent="demo")
    _, two = book.create("agent", agent="demo")
    assert book.verify(one.reveal(), ("agent",)) and book.verify(two.reveal(), ("agent",))
    with pytest.raises(TokenError) as caught:
        book.create("agent", agent="demo")
    assert caught.value.reason == "TOKEN_LIMIT"
    book.create("agent", agent="other")
    book.create("visitor", agent="demo")
    book.revoke(first.id)
    book.create("agent", agent="demo")


def test_a_revoked_token_is_told_once_and_counts_no_more(book: TokenBook) -> None:
    row, secret = book.create("agent", agent="demo")
    after, evicted = book.revoke(row.id)
    assert after.revoked is not None and evicted == 1
    assert book.revoke(row.id) == (after, 0)
    assert book.on_ended == [({row.id}, True)]
    assert book.verify(secret.reveal(), ("agent",)) is None
    with pytest.raises(TokenError, match="no token is called nobody"):
        book.revoke("nobody")


def test_an_agent_that_is_forgotten_takes_its_tokens_along(book: TokenBook) -> None:
    one, _ = book.create("agent", agent="demo")
    two, _ = book.create("visitor", agent="demo")
    other, secret = book.create("agent", agent="other")
    assert book.revoke_agent("demo") == 2
    assert book.revoke_agent("demo") == 0
    assert book.on_ended == [({one.id, two.id}, True)]
    assert book.verify(secret.reveal(), ("agent",)) == other


def test_an_expired_token_is_told_by_the_next_poll(book: TokenBook, clock: Clock) -> None:
    row, _ = book.create("join")
    clock.now += JOIN_TTL
    book.poll()
    book.poll()
    assert book.on_ended == [({row.id}, False)]


def test_a_token_made_by_another_process_can_be_used_at_once(tmp_path: Path, clock: Clock) -> None:
    ours, theirs = Database(tmp_path / "hub.db"), Database(tmp_path / "hub.db")
    book, other = TokenBook(ours, clock=clock), TokenBook(theirs, clock=clock)
    row, secret = other.create("agent", agent="a")
    gone, taken_back = other.create("agent", agent="a")
    other.revoke(gone.id)
    assert book.verify(secret.reveal(), ("visitor",)) is None
    assert book.verify(secret.reveal(), ("agent",)) == row
    assert book.verify(taken_back.reveal(), ("agent",)) is None
    other.revoke(row.id)
    book.on_ended = ended = Ended()
    book.poll()
    assert ended == [({row.id}, True)]
    assert book.verify(secret.reveal(), ("agent",)) is None
    ours.close()
    theirs.close()


def test_a_store_that_fails_makes_no_token_valid(book: TokenBook, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = book.create("agent", agent="a")
    row = book.verify(secret.reveal(), ("agent",))

    def version() -> int:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(book._rows, "version", version)
    assert row is not None and book.verify(secret.reveal(), ("agent",)) is not None
    assert book.verify(secret.reveal(), ("admin",)) is None


def test_f3_a_token_revoked_by_another_process_is_noticed(tmp_path: Path, clock: Clock) -> None:
    ours, theirs = Database(tmp_path / "hub.db"), Database(tmp_path / "hub.db")
    book = TokenBook(ours, clock=clock)
    book.on_ended = ended = Ended()
    row, secret = book.create("agent", agent="demo")
    other = TokenBook(theirs, clock=clock)
    _, made_there = other.create("agent", agent="two")
    other.revoke(row.id)
    book.poll()
    assert ended == [({row.id}, True)]
    assert book.verify(secret.reveal(), ("agent",)) is None
    assert book.verify(made_there.reveal(), ("agent",)) is not None
    ours.close()
    theirs.close()


def test_uses_of_a_join_token_run_out(book: TokenBook) -> None:
    row, secret = book.create("join", uses=2)
    assert book.take_use(row.id)
    assert book.verify(secret.reveal(), ("join",)) is not None
    assert book.take_use(row.id)
    assert not book.take_use(row.id)
    assert book.verify(secret.reveal(), ("join",)) is None
    assert not book.take_use("nobody")


def test_uses_are_written_down_once_a_minute(book: TokenBook, clock: Clock) -> None:
    row, secret = book.create("agent", agent="demo")
    book.verify(secret.reveal(), ("agent",))
    book.poll()
    assert book.get(row.id).last_use == clock.now
    clock.now += 1
    book.verify(secret.reveal(), ("agent",))
    book.poll()
    assert book.get(row.id).last_use == clock.now - 1, "one write a minute is enough"
    clock.now += TOUCH_SECONDS
    book.poll()
    assert book.get(row.id).last_use == clock.now - TOUCH_SECONDS
    book.verify(secret.reveal(), ("agent",))
    book.flush()
    assert book.get(row.id).last_use == clock.now


def test_a_failing_store_is_one_line_and_known_tokens_go_on(
    book: TokenBook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row, secret = book.create("agent", agent="demo")

    def full() -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(book._rows, "version", full)
    book.poll()
    assert [record.getMessage() for record in caplog.records] == ["the store cannot be used: database or disk is full"]
    assert book.verify(secret.reveal(), ("agent",)) == row


def test_f1_no_mutation_of_a_token_is_accepted(book: TokenBook) -> None:
    chance = random.Random(1)
    secrets = [book.create("agent", agent=f"a{number}")[1].reveal() for number in range(20)]
    alphabet = string.ascii_letters + string.digits + "_"
    for _ in range(10_000):
        text = list(chance.choice(secrets))
        for _ in range(chance.randint(1, 3)):
            what = chance.randrange(3)
            place = chance.randrange(len(text))
            if what == 0:
                text[place] = chance.choice(alphabet)
            elif what == 1:
                del text[place]
            else:
                text.insert(place, chance.choice(alphabet))
        mutated = "".join(text)
        assert mutated in secrets or book.verify(mutated, KINDS) is None


def test_a_token_that_was_verified_is_used_again_until_it_ends(book: TokenBook, clock: Clock) -> None:
    row, _ = book.create("visitor", agent="demo")
    revoked, _ = book.create("visitor", agent="demo")
    assert book.use_again(row.id) and book.use_again(revoked.id)
    book.poll()
    assert book.get(row.id).last_use == clock.now
    book.revoke(revoked.id)
    assert not book.use_again(revoked.id) and not book.use_again("nobody")
    clock.now += DEFAULT_TTL
    assert not book.use_again(row.id)
