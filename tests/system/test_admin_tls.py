"""tunnelctl as a process on a real hub whose management API is on TCP and asks for certificates."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.system.harness import System, environment, free_port

HUB = """
[admin]
listen = ["unix:{socket}", "127.0.0.1:{port}"]
client_ca = "{folder}/ca.pem"
tls = {{ cert = "{folder}/hub.pem", key = "{folder}/hub.key" }}
clients = {{ "root.example" = "admin", "view.example" = "viewer" }}
"""


class Place:
    """A hub with one agent, certificates of several kinds, and command lines on it."""

    def __init__(self, system: System, folder: Path, socket: str) -> None:
        self.system = system
        self.folder = folder
        self.port = free_port()
        authority, foreign = trustme.CA(), trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        foreign.cert_pem.write_to_path(str(folder / "foreign-ca.pem"))
        old = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        self._keep("hub", authority.issue_cert("127.0.0.1"))
        self._keep("root", authority.issue_cert("root.example"))
        self._keep("view", authority.issue_cert("view.example"))
        self._keep("stranger", authority.issue_cert("stranger.example"))
        self._keep("foreign", foreign.issue_cert("root.example"))
        self._keep("expired", authority.issue_cert("root.example", not_before=old, not_after=old))
        config = folder / "hubd.toml"
        config.write_text(HUB.format(socket=socket, port=self.port, folder=folder))
        system.start_hub("--config", str(config))
        system.start_agent("berlin", "http://127.0.0.1:9")

    def _keep(self, name: str, issued: trustme.LeafCert) -> None:
        (self.folder / f"{name}.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        key = self.folder / f"{name}.key"
        issued.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)

    def files(self, name: str, ca: str = "ca") -> list[str]:
        found = ["--ca-file", f"{self.folder}/{ca}.pem"]
        if name:
            found += ["--cert-file", f"{self.folder}/{name}.pem", "--key-file", f"{self.folder}/{name}.key"]
        return found

    def run(self, *arguments: str, code: int = 0) -> tuple[str, list[str]]:
        environ = environment(self.system.folder) | {"HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}
        environ = {name: value for name, value in environ.items() if not name.startswith("TUNNELCTL_")}
        done = subprocess.run(
            [sys.executable, "-m", "tunnelctl", *arguments], env=environ, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done.stdout, done.stderr.splitlines()

    def at_hub(self, name: str, *arguments: str, code: int = 0, ca: str = "ca") -> tuple[str, list[str]]:
        return self.run("--hub", f"127.0.0.1:{self.port}", *self.files(name, ca), *arguments, code=code)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("admin-tls")
    with tempfile.TemporaryDirectory() as short, System(folder) as system:
        yield Place(system, folder, f"{short}/a.sock")


def test_a_certificate_by_flags(place: Place) -> None:
    out, err = place.at_hub("root", "sessions", "list", "-o", "json")
    (row,) = json.loads(out)
    assert (row["agent"], row["state"], err) == ("agents/berlin", "ACTIVE", [])
    out, _ = place.at_hub("root", "sessions", "drain", row["name"], "--wait")
    assert out.startswith(f"{row['name']} closed after ")
    place.system.wait_attached("berlin", 2)


def test_a_certificate_by_a_context(place: Place) -> None:
    _, err = place.run("context", "set", "prod", "--address", f"127.0.0.1:{place.port}", *place.files("root"))
    assert err[-1].startswith("context prod is in ") and err[-1].endswith(", and current")
    out, _ = place.run("hub", "info", "-o", "json")
    assert f"127.0.0.1:{place.port}" in json.loads(out)["admin_addresses"]
    out, _ = place.run("--context", "prod", "agents", "list", "-o", "name")
    assert out == "agents/berlin\n"
    out, _ = place.run("--context", "prod", "context", "list", "-o", "json")
    (row,) = json.loads(out)
    assert row["cert_file"] == f"{place.folder}/root.pem"


@pytest.mark.parametrize(
    ("name", "ca", "code", "words"),
    [
        ("foreign", "ca", 4, "foreign.pem: it trusts no authority that has signed it"),
        ("expired", "ca", 4, "expired.pem: it expired at 2020-01-01"),
        ("", "ca", 4, "asks for a client certificate"),
        ("stranger", "ca", 4, "cert/stranger.example has no role here, this needs viewer (ROLE_REQUIRED)"),
        ("root", "foreign-ca", 5, "not to be trusted: no authority that is trusted here has signed it"),
    ],
)
def test_a_certificate_that_does_not_do_is_one_line(place: Place, name: str, ca: str, code: int, words: str) -> None:
    out, (error, hint) = place.at_hub(name, "sessions", "list", code=code, ca=ca)
    assert out == ""
    assert error.startswith("error: ") and words in error
    assert hint.startswith("hint: ")


def test_a_viewers_certificate_reads_and_no_more(place: Place) -> None:
    assert place.at_hub("view", "agents", "list", "-o", "name")[0] == "agents/berlin\n"
    _, err = place.at_hub("view", "agents", "deny", "berlin", code=4)
    assert err[0] == "error: cert/view.example has the role viewer, this needs operator (ROLE_REQUIRED)"


def test_errors_for_programs_have_a_word(place: Place) -> None:
    _, (line,) = place.at_hub("expired", "sessions", "list", "-o", "json", code=4)
    told = json.loads(line)
    assert (told["code"], told["reason"], told["exit_code"]) == ("UNAUTHENTICATED", "CERTIFICATE_EXPIRED", 4)


def test_files_that_cannot_be_used_are_found_before_anybody_is_asked(place: Place) -> None:
    key = f"{place.folder}/view.key"
    _, (line,) = place.at_hub("root", "sessions", "list", "--key-file", key, code=78)
    assert line == f"error: {key}: not the key of the certificate {place.folder}/root.pem"
    _, (line,) = place.at_hub("", "sessions", "list", "--key-file", key, code=2)
    assert "a key alone is no credential" in line
