"""A million texts that are nearly a token."""

from __future__ import annotations

import random
import string
import zlib

from hubd.identity import texts
from hubd.identity.texts import KINDS
from hubd.identity.tokens import TokenBook
from hubd.store import Database

MUTATIONS = 1_000_000
_LETTERS = string.ascii_letters + string.digits


def test_g17_no_mutation_of_a_token_is_accepted() -> None:
    """Half of them carry the checksum that belongs to them, so that they get as far as the comparison."""
    dice = random.Random(17)
    book = TokenBook(Database())
    good = {book.create("agent", agent="demo")[1].reveal(), book.create("admin", role="admin")[1].reveal()}
    kept = sorted(good)
    compared = 0
    for number in range(MUTATIONS):
        text = mutated(dice, kept[number % 2])
        if number & 2:
            body = text.rpartition("_")[0]
            text = f"{body}_{texts._base62(zlib.crc32(body.encode()), 6)}"
            compared += texts.read(text) is not None
        if text not in good:
            assert book.verify(text, KINDS) is None, text
    assert all(book.verify(text, KINDS) is not None for text in good)
    assert compared > MUTATIONS // 8
    print(f"\n{MUTATIONS} mutations, {compared} of them with a right form and checksum: none accepted")


def mutated(dice: random.Random, text: str) -> str:
    """The text with one to three characters changed, dropped, doubled or swapped."""
    letters = list(text)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(letters) - 1)
        match dice.randrange(6):
            case 0 | 1 | 2:
                letters[at] = dice.choice(_LETTERS)
            case 3:
                del letters[at]
            case 4:
                letters.insert(at, dice.choice(_LETTERS))
            case _:
                letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters)
