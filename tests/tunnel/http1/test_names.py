"""Names with a role: underscores that hide one, and memory that invented names can take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Read = Callable[..., Any]


def post(fields: bytes, body: bytes = b"", minor: int = 1) -> bytes:
    return b"POST /p HTTP/1.%d\r\nHost: a\r\n%s\r\n%s" % (minor, fields, body)


@pytest.mark.parametrize(
    "name",
    [
        b"Transfer_Encoding", b"Content_Length", b"content_length", b"Connection_", b"X_Forwarded_For", b"X-Forwarded_For",
        b"X_Proxy_Path", b"X_Real_IP", b"Keep_Alive", b"Http2_Settings", b"Proxy_Authorization", b"X_Origin_Host",
        b"Max_Forwards", b"Sec_WebSocket_Key", b"Tunnel_Error", b"X_Proxy_Host",
    ],
)  # fmt: skip
def test_a11_underscore_hides_a_role(req: Read, name: bytes) -> None:
    out = req(post(name + b": 3\r\n"))
    if name == b"Connection_":  # "connection-" has no role
        assert out.head.fields == [(name, b"3")]
    else:
        assert out.error == (400, "disguised_field_name")
        assert req(post(name + b": 3\r\n"), underscores="drop").error == (400, "disguised_field_name")


def test_a11_other_underscores_follow_the_setting(req: Read) -> None:
    raw = post(b"My_Field: 1\r\nPlain: a_b\r\n")
    assert req(raw).head.fields == [(b"My_Field", b"1"), (b"Plain", b"a_b")]
    assert req(raw, underscores="drop").head.fields == [(b"Plain", b"a_b")]
    assert req(raw, underscores="reject").error == (400, "underscore_in_field_name")


def get(line: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join((line, *fields, b"", b""))


def test_invented_names_do_not_fill_memory(drive_req: Read) -> None:
    from tunnel.http1.names import REQUEST_NAMES

    for i in range(40):
        out = drive_req([get(b"GET / HTTP/1.1", b"Host: a", *[b"X-%d-%d: x" % (i, j) for j in range(60)])])
        assert len(out.head.fields) == 60
    assert len(REQUEST_NAMES.known) <= 1024
