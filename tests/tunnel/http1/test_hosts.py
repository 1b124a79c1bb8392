"""When two hosts are one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunnel.http1 import (
    same_authority,
    split_host,
    valid_host,
)

Read = Callable[..., Any]


@pytest.mark.parametrize("value", [b"", b":80", b"a,b", b"[::1", b"a:99999", b"u@a"])
def test_invalid_hosts(value: bytes) -> None:
    assert not valid_host(value)


@pytest.mark.parametrize("value", [b"a", b"A.b:80", b"[::1]", b"[::1]:65535"])
def test_valid_hosts(value: bytes) -> None:
    assert valid_host(value)


def test_split_host() -> None:
    assert split_host(b"A.Example.:8080") == (b"a.example", 8080)
    assert split_host(b"a") == (b"a", None)
    assert split_host(b"[::1]:80") == (b"[::1]", 80)
    assert split_host(b"[2001:DB8::1]") == (b"[2001:db8::1]", None)


def test_same_authority() -> None:
    assert same_authority(b"A.b.", b"a.B:80", 80)
    assert not same_authority(b"a", b"a:443", 80)
    assert same_authority(b"a", b"a:443", 443)
