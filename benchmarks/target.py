"""The service behind the tunnels: nginx with one worker, or a bare asyncio responder where it is missing.

Both answer `GET /hello`, and whatever is below it, with "Hello, there\\n" and `GET /big` with 1 GiB of zeros from a
sparse file.
`python -m benchmarks.target PORT` runs the responder.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import cast

from benchmarks.procs import Child

BODY = b"Hello, there\n"
BIG = 1 << 30

_NGINX = """\
daemon off;
worker_processes 1;
error_log {folder}/error.log warn;
pid {folder}/nginx.pid;
{user}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/client;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{body}
}}
"""

_SERVE = """\
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {www};
        default_type text/plain;
        location = /hello {{ return 200 "Hello, there\\n"; }}
        location /hello/ {{ return 200 "Hello, there\\n"; }}
    }}
"""


def find_nginx() -> str | None:
    """Return the path of nginx, which Debian keeps outside the PATH of ordinary users, or None."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def start_nginx(nginx: str, folder: Path, port: int, body: str) -> Child:
    """Start nginx on a configuration of ours with the given http body and wait for its port."""
    folder.mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, user=user, body=body))
    child = Child("nginx", [nginx, "-p", folder, "-e", folder / "error.log", "-c", config], folder / "nginx.log")
    child.wait_port(port)
    return child


def _big_file(www: Path) -> None:
    """Make the sparse file and read it once: the first read of its pages is several times slower than all others."""
    www.mkdir(parents=True, exist_ok=True)
    path = www / "big"
    if path.exists():
        return
    with open(path, "wb") as big:
        big.truncate(BIG)
    with open(path, "rb", buffering=0) as big:
        while big.read(1 << 22):
            pass


def start_target(folder: Path, port: int, *, nginx: str | None) -> Child:
    """Start the target in folder on a loopback port and wait until it listens.

    The big file lies beside the folder and is shared by all targets of a run.
    """
    www = folder.parent / "www"
    _big_file(www)
    if nginx:
        return start_nginx(nginx, folder, port, _SERVE.format(www=www, port=port))
    folder.mkdir(parents=True, exist_ok=True)
    child = Child("target", [sys.executable, "-m", "benchmarks.target", str(port)], folder / "target.log")
    child.wait_port(port)
    return child


class Responder(asyncio.Protocol):
    """Answers pipelined requests without bodies, told apart by their first line only."""

    hello = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    piece = bytes(256 * 1024)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""
        self._left = 0
        self._paused = False

    def data_received(self, data: bytes) -> None:
        *heads, self._buffer = (self._buffer + data).split(b"\r\n\r\n")
        for head in heads:
            if head.startswith(b"GET /hello"):
                self._transport.write(self.hello)
            elif head.startswith(b"GET /big"):
                self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
                self._left = BIG
                self._pump()
            else:
                self._transport.write(self.missing)

    def _pump(self) -> None:
        while self._left and not self._paused and not self._transport.is_closing():
            self._left -= len(self.piece)
            self._transport.write(self.piece)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Responder, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Run the responder on the port given as the first argument, on uvloop where it is installed."""
    try:
        run = import_module("uvloop").run
    except ModuleNotFoundError:
        run = asyncio.run
    run(_serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
