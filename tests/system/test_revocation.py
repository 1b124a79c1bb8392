"""A client certificate is revoked while its owner is let in: real daemons, SIGHUP, and every kind of client."""

from __future__ import annotations

import asyncio
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import trustme
from tests.hubd.identity.revoking import revocation_list, serial_of
from tests.system.conftest import Plant, address
from tests.system.harness import DEADLINE, Daemon, System, environment, free_port, listening, until

HUB = """
tls_listen = "127.0.0.1:{tls}"
[tls]
cert = "{folder}/hub.pem"
client_ca = "{folder}/ca.pem"
client_crl = "{folder}/ca.crl"
[auth]
agent_certificates = true
[visitors]
mode = "certificate"
client_ca = "{folder}/visitors-ca.pem"
client_crl = "{folder}/visitors-ca.crl"
[admin]
listen = ["127.0.0.1:{admin}"]
tls = {{ cert = "{folder}/hub.pem" }}
client_ca = "{folder}/ca.pem"
client_crl = "{folder}/ca.crl"
clients = {{ root = "admin" }}
"""


class Club:
    """A hub that knows everybody by certificate."""

    def __init__(self, system: System, folder: Path) -> None:
        self.folder = folder
        self.system = system
        self.tls, self.admin = free_port(), free_port()
        self.authorities = {"ca": trustme.CA(), "visitors-ca": trustme.CA()}
        for name, authority in self.authorities.items():
            authority.cert_pem.write_to_path(str(folder / f"{name}.pem"))
            self.revoke(name)
        for name in ("hub", "a", "b", "root"):
            self._issue("ca", name)
        for name in ("ann", "bob"):
            self._issue("visitors-ca", name)
        (folder / "hubd.toml").write_text(HUB.format(tls=self.tls, admin=self.admin, folder=folder))
        system.start_hub("--config", str(folder / "hubd.toml"))

    def _issue(self, authority: str, name: str) -> None:
        names = ("localhost", "127.0.0.1") if name == "hub" else (name,)
        path = self.folder / f"{name}.pem"
        self.authorities[authority].issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(path))
        path.chmod(0o600)

    def revoke(self, authority: str, *names: str) -> None:
        """Write the authority's list."""
        serials = [serial_of(self.folder / f"{name}.pem") for name in names]
        (self.folder / f"{authority}.crl").write_bytes(revocation_list(self.authorities[authority], serials))

    def reload(self) -> None:
        """Have the hub read everything again."""
        hub = self.system.hub
        count = hub.log.count("settings read again")
        hub.signal(signal.SIGHUP)
        hub.wait_log("settings read again", count + 1)

    def agent(self, name: str, target: str, *, wait: bool = True) -> Daemon:
        files = ("--ca-file", f"{self.folder}/ca.pem", "--client-cert", f"{self.folder}/{name}.pem")
        return self.system.start_agent(name, target, url=f"wss://localhost:{self.tls}", arguments=files, wait=wait)

    def sessions(self) -> subprocess.CompletedProcess[str]:
        """What tunnelctl says, with a certificate of its own."""
        words = ["--hub", f"127.0.0.1:{self.admin}", "--ca-file", f"{self.folder}/ca.pem"]
        words += ["--cert-file", f"{self.folder}/root.pem", "--key-file", f"{self.folder}/root.pem"]
        return subprocess.run(
            [sys.executable, "-m", "tunnelctl", *words, "sessions", "list", "-o", "name"],
            env=environment(self.folder) | {"HOME": str(self.folder)},
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip


class Guest:
    """A visitor's connection that stays."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def arrive(cls, club: Club, name: str) -> Guest:
        context = ssl.create_default_context(cafile=str(club.folder / "ca.pem"))
        context.load_cert_chain(club.folder / f"{name}.pem")
        return cls(*await asyncio.open_connection("localhost", club.tls, ssl=context))

    async def ask(self, agent: str) -> tuple[int, bytes]:
        """Status and body."""
        self._writer.write(f"GET /api/v1/proxy/{agent}/hello HTTP/1.1\r\nHost: hub\r\n\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head[9:12]), await self._reader.readexactly(int(length.split(b":")[1]))

    def leave(self) -> None:
        self._writer.transport.abort()


async def test_who_is_revoked_is_out_with_the_next_sighup_and_nobody_else_notices(
    system: System, tmp_path: Path
) -> None:
    club = Club(system, tmp_path)
    with listening(2) as (http, ws):
        plants = {name: Plant(system, name, http, ws) for name in ("a", "b")}
        agents = {name: club.agent(name, f"http://{address(http)}") for name in plants}
        async with plants["a"].target(), asyncio.timeout(2 * DEADLINE):
            ann, bob = await Guest.arrive(club, "ann"), await Guest.arrive(club, "bob")
            for guest in (ann, bob):
                assert [(await guest.ask(name))[0] for name in plants] == [200, 200]
            assert club.sessions().returncode == 0

            club.revoke("ca", "a")
            club.reload()
            await until(lambda: system.detached("a") == 1, "the agent's session ends")
            told = "refused agent a: 403 certificate_revoked: this client certificate was revoked; ask for a new one; trying"
            await until(lambda: told in agents["a"].log, "the agent is told why")
            assert (await ann.ask("a"))[0] == 503
            assert (await ann.ask("b"))[0] == 200
            assert system.detached("b") == 0

            club.revoke("visitors-ca", "ann")
            club.reload()
            status, body = await ann.ask("b")
            assert (status, b'"code":"certificate_revoked"' in body.replace(b" ", b"")) == (403, True)
            assert (await bob.ask("b"))[0] == 200

            club.revoke("ca", "a", "root")
            club.reload()
            done = club.sessions()
            assert done.returncode == 4
            assert done.stderr.splitlines() == [
                "error: this client certificate was revoked (CERTIFICATE_REVOKED)",
                "hint: give one that is not by --cert-file FILE or in the context (tunnelctl context set)",
            ]

            club.revoke("ca")
            club.revoke("visitors-ca")
            club.reload()
            assert (await ann.ask("b"))[0] == 200
            system.wait_attached("a", 2)
            for guest in (ann, bob):
                guest.leave()
