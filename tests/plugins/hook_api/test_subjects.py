"""What plugins are told."""

from __future__ import annotations

from hook_api import Visit


def test_fields_are_found_whatever_their_case_and_not_printed() -> None:
    fields = [(b"Cookie", b"a=b"), (b"X-One", b"1"), (b"x-one", b"2")]
    visit = Visit("demo", "192.0.2.1", "", "GET", "/", "hub", True, fields)
    assert (visit.header("COOKIE"), visit.header("X-One"), visit.header("none")) == ("a=b", "1, 2", "")
    assert "a=b" not in repr(visit)
