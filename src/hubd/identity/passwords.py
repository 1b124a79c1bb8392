"""Passwords of visitors: kept as scrypt hashes, checked off the loop, and remembered for a while once they were right.

People choose passwords, so a stolen hash must cost its thief something for every guess. The same price for every
request would be ours to pay: a right password is known again by a keyed digest, which costs microseconds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Final

# 16 MiB and some 50 ms: OWASP's figure for interactive use.
_LOG_N: Final = 14
_R: Final = 8
_P: Final = 1
_MAX_MEMORY: Final = 64 * 1024 * 1024
MAX_REMEMBERED: Final = 4096
"""Right passwords known again; 100 bytes each."""
MAX_PASSWORD: Final = 1024


def hash_password(password: str) -> str:
    """What to keep of a password. Takes some 50 ms: not for the loop.

    Raises:
        ValueError: it is empty or longer than 1,024 bytes.
    """
    data = password.encode()
    if not 0 < len(data) <= MAX_PASSWORD:
        raise ValueError(f"a password has 1 to {MAX_PASSWORD} bytes")
    salt = secrets.token_bytes(16)
    made = hashlib.scrypt(data, salt=salt, n=1 << _LOG_N, r=_R, p=_P, maxmem=_MAX_MEMORY, dklen=32)
    return f"scrypt${_LOG_N}${_R}${_P}${_text(salt)}${_text(made)}"


def is_hash(text: str) -> bool:
    """Whether a text is one of `hash_password`'s, with costs this machine can bear."""
    return _parse(text) is not None


def matches(password: bytes, kept: str) -> bool:
    """Whether a password is the one a hash was made of. Takes some 50 ms: not for the loop."""
    parsed = _parse(kept)
    if parsed is None or not 0 < len(password) <= MAX_PASSWORD:
        return False
    log_n, r, p, salt, made = parsed
    again = hashlib.scrypt(password, salt=salt, n=1 << log_n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=len(made))
    return hmac.compare_digest(again, made)


def _parse(text: str) -> tuple[int, int, int, bytes, bytes] | None:
    parts = text.split("$")
    try:
        kind, log_n, r, p = parts[0], int(parts[1]), int(parts[2]), int(parts[3])
        salt, made = base64.b64decode(parts[4], validate=True), base64.b64decode(parts[5], validate=True)
    except (ValueError, IndexError):
        return None
    bearable = 10 <= log_n <= 16 and 1 <= r <= 8 and 1 <= p <= 4 and (128 * r << log_n) <= _MAX_MEMORY
    return (log_n, r, p, salt, made) if kind == "scrypt" and len(parts) == 6 and bearable and made else None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


class Passwords:
    """Checks passwords in one thread, so that guessing takes at most one core.

    Attributes:
        pool: the thread; callers bound how many wait for it.
    """

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        # Whoever is not known takes as long as whoever is.
        self._nobody: str | None = None

    def known(self, password: bytes, kept: str | None) -> bool:
        """Whether a password was right before, for the same hash. Quick."""
        if kept is None:
            return False
        mark = self._mark(password, kept)
        if mark not in self._right:
            return False
        self._right.move_to_end(mark)
        return True

    def check(self, password: bytes, kept: str | None) -> bool:
        """Whether a password is right; None for a hash is never. Slow: call it in the pool."""
        if kept is None:
            if self._nobody is None:
                self._nobody = hash_password(secrets.token_hex(16))
            matches(password, self._nobody)
            return False
        return matches(password, kept)

    def remember(self, password: bytes, kept: str) -> None:
        """It was right."""
        self._right[self._mark(password, kept)] = None
        if len(self._right) > MAX_REMEMBERED:
            self._right.popitem(last=False)

    def close(self) -> None:
        """End the thread once it has done what it is at."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _mark(self, password: bytes, kept: str) -> bytes:
        return hmac.digest(self._key, kept.encode() + b"\0" + password, "sha256")
