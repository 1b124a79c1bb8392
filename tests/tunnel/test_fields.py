from __future__ import annotations

import io
import math
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tunnel.fields import (
    MAX_SECRET_FILE,
    ByteSize,
    Duration,
    HostPort,
    SecretFileError,
    parse_duration,
    parse_size,
    read_secret_file,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1.5m", 90),
        ("250ms", 0.25),
        ("1h30m", 5400),
        ("2 ", 2),
        ("0", 0),
        (7, 7),
        (0.5, 0.5),
        ("1D", 86400),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "bad", ["", "s", "5x", "1 h", "-1s", "1e3s", "1.s", "nan", None, True, [1], -1, math.inf, math.nan]
)
def test_what_is_no_duration(bad: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(bad)


@pytest.mark.parametrize(
    ("text", "count"),
    [("64 KiB", 65536), ("64kib", 65536), ("1.5 MiB", 1572864), ("10 MB", 10_000_000), ("7", 7), ("7 B", 7), (9, 9)],
)
def test_sizes(text: object, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("bad", ["", "KiB", "64 XiB", "1.5", "1.0001 KiB", "-1", -1, True, None, 1.5, "1  MiB"])
def test_what_is_no_size(bad: object) -> None:
    with pytest.raises(ValueError, match=r"size|whole number"):
        parse_size(bad)


def test_large_sizes_stay_exact() -> None:
    assert parse_size(f"{2**60 + 1}") == 2**60 + 1


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8882", "127.0.0.1", 8882),
        ("[::1]:80", "::1", 80),
        ("[0:0::1]:80", "::1", 80),
        ("localhost:0", "localhost", 0),
        ("Hub-1.Example.com.:443", "hub-1.example.com.", 443),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    address = HostPort.parse(text)
    assert (address.host, address.port) == (host, port)
    assert HostPort.parse(str(address)) == address


@pytest.mark.parametrize(
    "bad",
    ["", "8882", ":80", "host", "host:", "host:x", "host:65536", "host:-1", "host:٣", "::1:80", "[::1]", "[1.2.3.4]:80"]
    + ["a b:80", "a..b:80", "-a:80", "[::g]:80", "a/b:80", "host:080000", "é.example:80"],
)
def test_what_is_no_address(bad: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|names no host|brackets|neither"):
        HostPort.parse(bad)


@pytest.mark.parametrize(
    "bad", ["127.1:80", "2130706433:80", "0177.0.0.1:80", "0x7f.1:80", "0x7f000001:80", "1.2.3.4.5:80"]
)
def test_f16_addresses_in_disguise_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="plainly written"):
        HostPort.parse(bad)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = HostPort.parse(text)
    except ValueError:
        return
    assert HostPort.parse(str(address)) == address


def test_loopback() -> None:
    inside = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"]
    outside = ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example.com:1", "hub:1"]
    assert all(HostPort.parse(text).is_loopback for text in inside)
    assert not any(HostPort.parse(text).is_loopback for text in outside)


class Model(BaseModel):
    at: HostPort
    after: Duration
    size: ByteSize


def test_fields_of_models_and_back() -> None:
    model = Model.model_validate({"at": "[::1]:5", "after": "2m", "size": "1 KiB"})
    assert model == Model(at=HostPort("::1", 5), after=120.0, size=1024)
    assert model.model_dump_json() == '{"at":"[::1]:5","after":120.0,"size":1024}'
    assert Model.model_json_schema()["properties"]["at"]["type"] == "string"
    with pytest.raises(ValidationError, match="write it as text"):
        Model.model_validate({"at": 5, "after": 1, "size": 1})


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"s3cret", "s3cret"), (b"s3cret\n", "s3cret"), (b"s3cret\r\n", "s3cret"), (b"a\n\n", "a\n"), (b" a ", " a ")],
)
def test_secret_files_lose_one_line_end(tmp_path: Path, content: bytes, secret: str) -> None:
    assert read_secret_file(write(tmp_path / "token", content)).reveal() == secret


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_f11_secret_files_open_to_others_are_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "token", b"canary", mode)
    with pytest.raises(SecretFileError, match=f"mode 0{mode:o}.*run: chmod 600") as caught:
        read_secret_file(path)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "empty"), (b"\n", "empty"), (b"\xff", "UTF-8"), (b"x" * (MAX_SECRET_FILE + 1), "larger")]
)
def test_contents_that_cannot_be_secrets(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(SecretFileError, match=why):
        read_secret_file(write(tmp_path / "token", content))


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(SecretFileError, match="not a regular file"):
            read_secret_file(path)
    with pytest.raises(SecretFileError, match="No such file"):
        read_secret_file(tmp_path / "gone")


def test_systemd_credentials_by_name_and_with_their_group_bits(tmp_path: Path) -> None:
    write(tmp_path / "hub-token", b"t", 0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_secret_file("hub-token", environ=environ).reveal() == "t"
    assert read_secret_file(tmp_path / "hub-token", environ=environ).reveal() == "t"
    with pytest.raises(SecretFileError, match="others may read"):
        read_secret_file(tmp_path / "hub-token", environ={})
    write(tmp_path / "open", b"t", 0o444)
    with pytest.raises(SecretFileError, match="others may read"):
        read_secret_file("open", environ=environ)


def test_secret_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from-stdin\n")))
    assert read_secret_file("-").reveal() == "from-stdin"
