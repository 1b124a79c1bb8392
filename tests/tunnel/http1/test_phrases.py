from __future__ import annotations

from tunnel.http1.phrases import PHRASES, STATUS_LINES


def test_phrases() -> None:
    assert STATUS_LINES[200] == b"HTTP/1.1 200 OK"
    assert STATUS_LINES[299] == b"HTTP/1.1 299 Success"
    assert PHRASES[413] == b"Content Too Large"
    assert len(STATUS_LINES) == 600
