"""The form of tokens."""

from __future__ import annotations

import random
import string

import pytest

from hubd.identity import texts
from hubd.identity.texts import KINDS, Kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_read_as_it_was_made(kind: Kind) -> None:
    made, secret = texts.make(kind)
    assert texts.read(secret.reveal()) == made
    assert made.kind == kind
    assert secret.reveal().startswith("tun_" + {"agent": "a", "join": "j", "admin": "m", "visitor": "v"}[kind] + "_")
    assert made.id in secret.reveal()


def test_no_two_tokens_are_alike_and_none_prints_its_secret() -> None:
    made = [texts.make("agent") for _ in range(100)]
    assert len({text.id for text, _ in made}) == len({secret.reveal() for _, secret in made}) == 100
    text, secret = made[0]
    hidden = secret.reveal().split("_")[3]
    assert hidden not in repr(made) and text.digest.hex() not in repr(text)


@pytest.mark.parametrize("text", ["", "tun_a", "Bearer x", "tun_x_" + "0" * 11 + "_" + "0" * 43 + "_000000", "é" * 70])
def test_what_is_no_token_is_none(text: str) -> None:
    assert texts.read(text) is None


def test_slips_of_the_hand_are_found_without_asking() -> None:
    chance = random.Random(6)
    for _ in range(2000):
        secret = texts.make("agent")[1].reveal()
        place = chance.randrange(len(secret))
        other = chance.choice([c for c in string.ascii_letters + string.digits + "_ \n-" if c != secret[place]])
        swapped = secret[:place] + secret[place + 1 : place + 2] + secret[place] + secret[place + 2 :]
        wrong = [secret[:place] + other + secret[place + 1 :], secret[:place] + secret[place + 1 :], secret + other]
        if swapped != secret:
            wrong.append(swapped)
        assert [texts.read(text) for text in wrong] == [None] * len(wrong)


def test_a_secret_counts_under_its_own_id_and_kind_only() -> None:
    made, secret = texts.make("agent")
    _, kind, token_id, hidden, _ = secret.reveal().split("_")
    other_id = texts.make("agent")[0].id
    for body in (f"tun_m_{token_id}_{hidden}", f"tun_{kind}_{other_id}_{hidden}"):
        read = texts.read(f"{body}_{texts._checksum(body)}")
        assert read is not None and read.digest != made.digest
