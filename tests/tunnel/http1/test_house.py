"""Rules for the package itself, and its small parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tunnel.http1
from tunnel.http1 import (
    BadMessage,
    Framing,
    Limits,
    RequestReader,
    ResponseReader,
    Truncated,
    list_members,
    same_authority,
    split_host,
)

PACKAGE = Path(tunnel.http1.__file__).parent
SOURCES = sorted(path for path in PACKAGE.parents[1].rglob("*.py") if not path.name.endswith("_pb2.py"))


def test_the_parser_is_never_made_lenient() -> None:
    assert len(SOURCES) > 10
    for path in SOURCES:
        assert "lenienc" not in path.read_text(encoding="utf-8"), path


def test_the_parser_is_imported_in_one_place() -> None:
    users = [
        path for path in SOURCES if re.search(r"^\s*(from|import) httptools", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert users == [PACKAGE / "heads.py"]


def test_every_public_name_exists() -> None:
    assert all(hasattr(tunnel.http1, name) for name in tunnel.http1.__all__)


def test_limits_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="line"):
        Limits(line=0)
    with pytest.raises(ValueError, match="negative"):
        Limits(body=-1)


def test_split_host() -> None:
    assert split_host(b"A.Example.:8080") == (b"a.example", 8080)
    assert split_host(b"a") == (b"a", None)
    assert split_host(b"[::1]:80") == (b"[::1]", 80)
    assert split_host(b"[2001:DB8::1]") == (b"[2001:db8::1]", None)


def test_same_authority() -> None:
    assert same_authority(b"A.b.", b"a.B:80", 80)
    assert not same_authority(b"a", b"a:443", 80)
    assert same_authority(b"a", b"a:443", 443)


def test_list_members() -> None:
    assert list_members([b"", b"A, b,,", b" c\t"]) == [b"a", b"b", b"c"]


def test_errors_show_their_reason() -> None:
    assert str(BadMessage(400, "x")) == "x"
    assert str(Truncated("x", "y")) == "x: y"


def test_reprs_show_state_and_no_values() -> None:
    reader = RequestReader()
    reader.feed(b"POST /secret HTTP/1.1\r\nHost: a\r\nAuthorization: secret\r\nContent-Length: 3\r\n\r\na")
    head = reader.next_head()
    assert head is not None
    assert head.framing is Framing.LENGTH
    assert "secret" not in repr(head)
    assert repr(reader) == "<RequestReader BODY buffered=1 error=None>"
    answers = ResponseReader()
    answers.expect(b"GET")
    answers.feed(b"HTTP/1.1 200 OK\r\nSet-Cookie: secret\r\n\r\n")
    answer = answers.next_head()
    assert repr(answer) == "<ResponseHead 200 UNTIL_CLOSE minor=1 upgrade=None>"
