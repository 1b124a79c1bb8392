"""``hubd config``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import trustme
from tests.hubd.identity.revoking import revocation_list
from typer.testing import CliRunner, Result

from hubd.cli import app
from hubd.config import HubConfig
from hubd.identity.passwords import hash_password


def run(*arguments: object, **environ: str) -> Result:
    return CliRunner().invoke(app, ["config", *map(str, arguments)], env=environ)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hubd.toml"


def test_every_fault_of_a_file_at_once_with_its_line(file: Path) -> None:
    file.write_text('lisen = "127.0.0.1:1"\n[timeouts]\ndrain = "soon"\n[limits]\nbacklog = 0\n')
    done = run("check", "-c", file, HUBD_POLICI="random")
    assert done.exit_code == 78
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == f'{file}:1: lisen: unknown key (did you mean "listen"?)'
    assert 'HUBD_POLICI: unknown variable (did you mean "HUBD_POLICY"?)' in lines
    assert any(line.startswith(f"{file}:3: timeouts.drain: 'soon' is not a duration") for line in lines)
    assert any(line.startswith(f"{file}:5: limits.backlog: ") for line in lines)
    assert len(lines) == 4


def test_files_that_are_named_must_be_there(file: Path) -> None:
    file.write_text(
        'listen = "127.0.0.1:1"\ntls_listen = "127.0.0.1:2"\n[tls]\ncert = "/nowhere/a.pem"\nkey = "/nowhere/a.key"\n'
    )
    done = run("check", "-c", file)
    assert (done.exit_code, done.stderr.splitlines()) == (
        78,
        [
            f"{file}:4: tls.cert: cannot read /nowhere/a.pem: No such file or directory",
            f"{file}:5: tls.key: cannot read /nowhere/a.key: No such file or directory",
        ],
    )


def test_certificates_are_tried(file: Path) -> None:
    cert, key = file.with_name("a.pem"), file.with_name("a.key")
    issued = trustme.CA().issue_cert("hub.example.com")
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    key.chmod(0o644)
    file.write_text(
        f'[admin]\nlisten = ["127.0.0.1:1"]\nclient_ca = "{cert}"\n[admin.tls]\ncert = "{cert}"\nkey = "{key}"\n'
    )
    done = run("check", "-c", file)
    assert done.exit_code == 78
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{file}:5: admin.tls: others may read the private key {key}")
    key.chmod(0o600)
    assert run("check", "-c", file).exit_code == 0


def test_revocation_lists_are_tried(file: Path) -> None:
    ca, other = trustme.CA(), trustme.CA()
    cert, signers, revoked = (file.with_name(name) for name in ("a.pem", "ca.pem", "ca.crl"))
    ca.issue_cert("hub.example.com").private_key_and_cert_chain_pem.write_to_path(str(cert))
    ca.cert_pem.write_to_path(str(signers))
    cert.chmod(0o600)
    file.write_text(f'[admin]\nclient_ca = "{signers}"\nclient_crl = "{revoked}"\ntls = {{ cert = "{cert}" }}\n')
    done = run("check", "-c", file)
    assert done.stderr == f"{file}:3: admin.client_crl: cannot read {revoked}: No such file or directory\n"
    revoked.write_bytes(revocation_list(other, [1]))
    done = run("check", "-c", file)
    assert done.exit_code == 78
    assert done.stderr.startswith(
        f"{file}:3: admin.client_crl: cannot use revocation list {revoked}: no authority in {signers} signed the one of"
    )
    revoked.write_bytes(revocation_list(ca, [1]))
    assert run("check", "-c", file).exit_code == 0


def test_a_good_file(file: Path) -> None:
    file.write_text('domain = "tunnel.example.com"\n')
    done = run("check", "-c", file)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{file}: good\n", "")
    assert run("check", "-c", file.parent / "none.toml").exit_code == 78


def test_show_is_a_file_that_gives_the_same(file: Path) -> None:
    file.write_text('domain = "tunnel.example.com"\ntrusted_proxies = ["10.0.0.0/8"]\n[timeouts]\ndrain = "5s"\n')
    done = run("show", "-c", file, HUBD_POLICY="random")
    shown = tomllib.loads(done.stdout)
    assert (shown["domain"], shown["policy"], shown["timeouts"]["drain"]) == ("tunnel.example.com", "random", 5.0)
    again = file.with_name("again.toml")
    again.write_text(done.stdout)
    assert run("show", "-c", again).stdout == done.stdout


def test_show_origin(file: Path) -> None:
    file.write_text('domain = "tunnel.example.com"\n')
    lines = run("show", "--origin", "-c", file, HUBD_POLICY="random").stdout.splitlines()
    assert f'domain = "tunnel.example.com"  # {file}:1' in lines
    assert 'policy = "random"  # HUBD_POLICY' in lines
    assert 'listen = "127.0.0.1:8882"  # default' in lines
    assert "# tls is not set  # default" in lines


def test_f5_hashes_of_passwords_are_masked(file: Path) -> None:
    kept = hash_password("correct horse battery")
    file.write_text(f'[visitors]\nmode = "basic"\n[visitors.users]\nann = "{kept}"\n')
    shown = run("show", "--origin", "-c", file).stdout
    assert kept not in shown
    assert f'visitors.users = "***"  # {file}:3' in shown.splitlines()


def test_schema() -> None:
    schema = json.loads(run("schema").stdout)
    assert set(schema["properties"]) == set(HubConfig.model_fields)
