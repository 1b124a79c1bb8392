"""What a token looks like: ``tun_a_<id>_<secret>_<checksum>``, letters and digits, so that a double click takes it whole.

The prefix tells people and scanners what they found. The checksum tells a slip of the hand from a token that is not
valid, without asking anybody; it is no protection. The id is public and names the token in lists and logs.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from tunnel.logs import Secret

Kind = Literal["agent", "join", "admin", "visitor"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_LETTERS: Final[dict[str, Kind]] = {"a": "agent", "j": "join", "m": "admin", "v": "visitor"}
_OF_KIND: Final = {kind: letter for letter, kind in _LETTERS.items()}
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# 256 bits take 43 digits of base 62, 64 bits take 11, and a CRC takes 6.
_SECRET_DIGITS: Final = 43
_ID_DIGITS: Final = 11
_SUM_DIGITS: Final = 6
_FORM: Final = re.compile(r"(tun_([ajmv])_([0-9A-Za-z]{11})_([0-9A-Za-z]{43}))_([0-9A-Za-z]{6})", re.ASCII)
LONGEST: Final = 128
"""Characters of anything that can be a token."""


@dataclass(frozen=True, slots=True)
class Text:
    """A token's text, taken apart.

    Args:
        kind: from the prefix.
        id: names the token.
        digest: SHA-256 of the secret, which is all that is compared.
    """

    kind: Kind
    id: str
    digest: bytes = field(repr=False)


def make(kind: Kind) -> tuple[Text, Secret]:
    """A new token: what is kept, and the text for whoever will use it."""
    token_id = _base62(secrets.randbits(64), _ID_DIGITS)
    body = f"tun_{_OF_KIND[kind]}_{token_id}_{_base62(secrets.randbits(256), _SECRET_DIGITS)}"
    return Text(kind, token_id, _digest(body)), Secret(f"{body}_{_checksum(body)}")


def read(text: str) -> Text | None:
    """Take a token apart; None for a text that cannot be one, mistyped ones among them."""
    found = _FORM.fullmatch(text) if len(text) <= LONGEST else None
    if found is None or _checksum(found[1]) != found[5]:
        return None
    return Text(_LETTERS[found[2]], found[3], _digest(found[1]))


def _digest(body: str) -> bytes:
    """Of the prefix and the id as well: a secret proves nothing under another id or as another kind."""
    return hashlib.sha256(body.encode("ascii")).digest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("ascii")), _SUM_DIGITS)


def _base62(number: int, width: int) -> str:
    out = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        out = _DIGITS[digit] + out
    return out
