"""Other people's tunnels as systems: rathole, bore, ssh -R, and nginx as a plain hop.

The two Rust programs are built by cargo into .build/peers at pinned versions. What cannot be had on a
machine raises Missing, with what to install.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from benchmarks.procs import ROOT, free_port
from benchmarks.systems import System
from benchmarks.target import find_nginx, start_nginx

BUILD = ROOT / ".build" / "peers"
# Name of the program: crate, version, further words for cargo. rathole's own lock file holds a `time`
# that compilers from 1.80 on refuse, so it is built without.
CRATES = {
    "bore": ("bore-cli", "0.6.0", ["--locked"]),
    "rathole": ("rathole", "0.5.0", ["--no-default-features", "--features", "server,client"]),
}
# A cold build of either takes two to five minutes on two cores.
BUILD_TIMEOUT = 1800.0
SBIN = ":/usr/sbin:/usr/local/sbin"


class Missing(OSError):
    """A system that cannot be had here; the text says what it needs."""


def built(name: str) -> Path:
    """Return the path of one of the Rust programs, building it the first time. Raises Missing."""
    crate, version, words = CRATES[name]
    path = BUILD / "bin" / name
    if path.exists():
        return path
    cargo = shutil.which("cargo")
    if not cargo:
        raise Missing(f"{name} needs cargo to be built")
    command = [cargo, "install", "--quiet", "--root", str(BUILD), crate, "--version", version, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise Missing(f"cargo took longer than {BUILD_TIMEOUT:.0f} s for {name}") from error
    if done.returncode:
        raise Missing(f"cargo could not build {name}: {done.stderr[-2000:]}")
    return path


class NginxHop(System):
    """nginx between visitor and target, unbuffered, with connections to the target kept."""

    name = "nginx hop"
    note = "parses once, no tunnel"

    def begin(self) -> None:
        nginx = find_nginx()
        if not nginx:
            raise Missing("nginx hop needs nginx")
        self.hub_port = free_port()
        body = (
            f"upstream target {{ server 127.0.0.1:{self.target_port}; keepalive 512; }}\n"
            f"server {{ listen 127.0.0.1:{self.hub_port} backlog=4096; location / {{ proxy_pass http://target;"
            ' proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } }'
        )
        self.hub = start_nginx(nginx, self.folder, self.hub_port, body)
        self.children.append(self.hub)


class Rathole(System):
    """rathole without encryption: a connection of its own for each visitor's."""

    name = "rathole"
    note = "relays bytes"

    def begin(self) -> None:
        program = built("rathole")
        control, self.hub_port = free_port(), free_port()
        server, client = self.folder / "server.toml", self.folder / "client.toml"
        server.write_text(
            f'[server]\nbind_addr = "127.0.0.1:{control}"\ndefault_token = "bench"\n'
            f'[server.services.web]\nbind_addr = "127.0.0.1:{self.hub_port}"\n'
        )
        client.write_text(
            f'[client]\nremote_addr = "127.0.0.1:{control}"\ndefault_token = "bench"\n'
            f'[client.services.web]\nlocal_addr = "127.0.0.1:{self.target_port}"\n'
        )
        self.hub = self.run("server", [program, "--server", server])
        self.hub.wait_port(control)
        self.agent = self.run("client", [program, "--client", client])
        self.hub.wait_port(self.hub_port)


class Bore(System):
    """bore: a connection of its own for each visitor's. Its control port is fixed."""

    name = "bore"
    note = "relays bytes"
    control = 7835

    def begin(self) -> None:
        program = built("bore")
        self.hub_port = free_port()
        ports = ["--min-port", str(self.hub_port), "--max-port", str(self.hub_port)]
        self.hub = self.run("server", [program, "server", *ports])
        self.hub.wait_port(self.control)
        words = ["local", str(self.target_port), "--to", "127.0.0.1", "--port", str(self.hub_port)]
        self.agent = self.run("client", [program, *words])
        self.hub.wait_port(self.hub_port)


class Ssh(System):
    """ssh -R to an sshd of our own on loopback, with keys made for this run."""

    name = "ssh -R"
    note = "relays bytes"

    def begin(self) -> None:
        sshd = shutil.which("sshd", path=os.environ.get("PATH", "") + SBIN)
        ssh, keygen = shutil.which("ssh"), shutil.which("ssh-keygen")
        if not sshd or not ssh or not keygen:
            raise Missing("ssh -R needs ssh and sshd (Debian: openssh-client, openssh-server)")
        folder = self.folder.resolve()
        for key in ("host", "user"):
            subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True, timeout=30)
        port, self.hub_port = free_port(), free_port()
        config = folder / "sshd_config"
        config.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
            "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.hub = self.run("sshd", [sshd, "-D", "-e", "-f", config])
        self.hub.wait_port(port)
        user = pwd.getpwuid(os.geteuid()).pw_name
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes"]
        forward = f"127.0.0.1:{self.hub_port}:127.0.0.1:{self.target_port}"
        options += ["-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes", "-F", "/dev/null"]
        argv: list[str | Path] = [
            ssh,
            "-N",
            "-p",
            str(port),
            "-i",
            folder / "user",
            *options,
            "-R",
            forward,
            f"{user}@127.0.0.1",
        ]
        self.agent = self.run("ssh", argv)
        self.agent.wait_port(self.hub_port)
