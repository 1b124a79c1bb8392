"""Limits check themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunnel.http1 import (
    Limits,
)

Read = Callable[..., Any]


def test_limits_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="line"):
        Limits(line=0)
    with pytest.raises(ValueError, match="negative"):
        Limits(body=-1)
