from __future__ import annotations

import pytest

from tunnel.targets import allow_list, normal_name, parse_target


@pytest.mark.parametrize(
    ("text", "place", "authority", "base", "names"),
    [
        ("http://127.0.0.1:8881", "127.0.0.1:8881", b"127.0.0.1:8881", b"", (b"127.0.0.1:8881",)),
        ("127.0.0.1:8881", "127.0.0.1:8881", b"127.0.0.1:8881", b"", (b"127.0.0.1:8881",)),
        (
            "http://Files.Internal",
            "files.internal:80",
            b"files.internal",
            b"",
            (b"files.internal:80", b"files.internal"),
        ),
        ("https://h/", "h:443", b"h", b"", (b"h:443", b"h")),
        ("https://h:80", "h:80", b"h:80", b"", (b"h:80",)),
        ("http://h:1/base/x/", "h:1", b"h:1", b"/base/x", (b"h:1",)),
        ("http://[::1]:80", "[::1]:80", b"[::1]", b"", (b"[::1]:80", b"[::1]")),
        ("Web=http://h:1/a=b", "h:1", b"h:1", b"/a=b", (b"web", b"h:1")),
        ("unix:///run/app.sock", "/run/app.sock", b"localhost", b"", ()),
        ("app=unix:///run/app.sock", "/run/app.sock", b"localhost", b"", (b"app",)),
        ("ssh=tcp://h:80", "h:80", b"h:80", b"", (b"ssh", b"h:80")),
    ],
)
def test_parse(text, place, authority, base, names):
    target = parse_target(text)
    assert (target.place, target.authority, target.base, target.names) == (place, authority, base, names)
    assert target.secure is text.startswith("https")
    assert text in repr(target)


@pytest.mark.parametrize(
    "text",
    [
        "ftp://h:1", "http://", "http://h:0", "http://h:99999", "h", "http://u:p@h:1", "http://h:1/?q", "http://h:1/#f",
        "http://h:1/a b", "http://h:1/a\r\nX: y", "unix://relative", "unix:///", "unix:///" + "x" * 200, "", "=http://h:1",
        "http://::1:80", "a b=http://h:1", "tcp://h", "tcp://h:1/x", "tcp://h:0",
    ],
)  # fmt: skip
def test_what_is_no_target(text):
    with pytest.raises(ValueError) as caught:
        parse_target(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0177.0.0.1", "0x7f.0.0.1", "127.0.0.01", "1.2.3.4.5"])
def test_f16_odd_spellings_of_addresses_are_no_targets(host):
    with pytest.raises(ValueError, match="neither a host name nor a plainly written address"):
        parse_target(f"http://{host}:80")


def test_allow_list():
    one, two = parse_target("http://h:1"), parse_target("x=https://h")
    assert allow_list([one, two]) == {b"h:1": one, b"x": two, b"h:443": two, b"h": two}
    with pytest.raises(ValueError, match="both called h:1"):
        allow_list([one, parse_target("https://h:1")])


def test_allow_lists_of_both_kinds():
    http, tcp = parse_target("web=http://h:1"), parse_target("raw=tcp://h:1")
    assert allow_list([http, tcp]) == {b"web": http, b"h:1": http}
    assert allow_list([http, tcp], tcp=True) == {b"raw": tcp, b"h:1": tcp}
    with pytest.raises(ValueError, match="both called web"):
        allow_list([http, parse_target("web=tcp://h:2")], tcp=True)


def test_the_first_of_two_with_one_address():
    one, two = parse_target("http://h:1"), parse_target("web=http://h:1/base")
    assert allow_list([one, two], first=True) == {b"h:1": one, b"web": two}
    with pytest.raises(ValueError, match="both called web"):
        allow_list([two, parse_target("web=http://h:2")], first=True)
    with pytest.raises(ValueError, match="both called h"):
        allow_list([parse_target("http://h"), parse_target("h=http://x:2")], first=True)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (b"H:1", b"h:1"),
        (b"h.:1", b"h:1"),
        (b"h:01", b"h:1"),
        (b"Web", b"web"),
        (b"a b", b"a b"),
        (b"", b""),
        (b"127.1:1", b"127.1:1"),
    ],
)
def test_spellings_of_one_name(asked, name):
    assert normal_name(asked) == name
