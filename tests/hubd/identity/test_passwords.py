"""Passwords of visitors."""

from __future__ import annotations

import pytest

from hubd.identity import passwords
from hubd.identity.passwords import MAX_PASSWORD, Passwords, hash_password, is_hash, matches


@pytest.fixture(scope="module")
def kept() -> str:
    return hash_password("päss:word")


def test_only_the_password_matches_its_hash(kept: str) -> None:
    assert matches("päss:word".encode(), kept)
    assert not any(matches(guess, kept) for guess in (b"", b"pass:word", "päss:word ".encode(), b"x" * 5000))


def test_hashes_are_salted_and_hold_no_password(kept: str) -> None:
    again = hash_password("päss:word")
    assert again != kept and "päss" not in kept and is_hash(kept)


@pytest.mark.parametrize("password", ["", "x" * (MAX_PASSWORD + 1)])
def test_a_password_of_no_use_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="1 to 1024 bytes"):
        hash_password(password)


@pytest.mark.parametrize(
    "text",
    ["", "secret", "scrypt$14$8$1$AAAA$", "scrypt$30$8$1$AAAA$AAAA", "scrypt$14$64$1$AAAA$AAAA", "scrypt$14$8$1$AAAA",
     "md5$14$8$1$AAAA$AAAA", "scrypt$14$8$1$AAAA$AAAA$AAAA", "scrypt$x$8$1$AAAA$AAAA", "scrypt$14$8$1$A!$AAAA"],
)  # fmt: skip
def test_what_is_no_hash_or_costs_too_much_matches_nothing(text: str) -> None:
    assert not is_hash(text) and not matches(b"secret", text)


def test_a_right_password_is_known_again_for_the_same_hash_only(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_REMEMBERED", 2)
    checker = Passwords()
    right = "päss:word".encode()
    assert not checker.known(right, kept) and not checker.known(right, None)
    assert checker.check(right, kept)
    checker.remember(right, kept)
    assert checker.known(right, kept)
    assert not checker.known(b"other", kept) and not checker.known(right, hash_password("päss:word"))
    checker.remember(b"a", kept)
    assert checker.known(right, kept)
    checker.remember(b"b", kept)
    assert checker.known(right, kept) and not checker.known(b"a", kept), "the one used longest ago goes"
    assert not Passwords().known(right, kept)
    checker.close()


def test_nobodys_password_takes_the_same_work(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checker = Passwords()
    checker.check(b"first", None)
    calls = []
    real = passwords.matches
    monkeypatch.setattr(passwords, "matches", lambda *given: calls.append(given) or real(*given))
    assert not checker.check(b"x", None)
    assert not checker.check(b"x", kept)
    assert len(calls) == 2
    checker.close()
