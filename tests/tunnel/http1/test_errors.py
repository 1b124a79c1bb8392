"""Errors tell their reason and nothing of the message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunnel.http1 import (
    BadMessage,
    Truncated,
)

Read = Callable[..., Any]


def test_errors_show_their_reason() -> None:
    assert str(BadMessage(400, "x")) == "x"
    assert str(Truncated("x", "y")) == "x: y"
