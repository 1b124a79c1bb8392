"""Other people's servers between agent and target: each passes on to the target what it read."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from conformance.children import Child, free_port

# Debian keeps apache's modules here; several are built in.
_APACHE_MODULES = Path("/usr/lib/apache2/modules")
_NEEDED = ("mpm_event", "authz_core", "proxy", "proxy_http")

_NODE = """
const http = require('node:http');
const [port, target] = process.argv.slice(2).map(Number);
const agent = new http.Agent({keepAlive: true});
http.createServer({maxHeaderSize: 65536, joinDuplicateHeaders: false}, (request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const body = Buffer.concat(parts);
    const headers = {'Content-Length': body.length};
    const onward = http.request({port: target, method: request.method, path: request.url, headers, agent}, (answer) => {
      response.writeHead(answer.statusCode, {'Content-Length': 0});
      answer.resume();
      response.end();
    });
    onward.on('error', () => { response.writeHead(502, {'Content-Length': 0}); response.end(); });
    onward.end(body);
  });
}).listen(port, '127.0.0.1', () => console.log('ready'));
"""


def _nginx(folder: Path, port: int, target: int) -> list[str]:
    text = f"""
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; large_client_header_buffers 8 32k; client_max_body_size 0;
  upstream target {{ server 127.0.0.1:{target}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port}; merge_slashes off; underscores_in_headers on; ignore_invalid_headers off;
    location / {{ proxy_pass http://target; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
    (folder / "nginx.conf").write_text(text)
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


def _haproxy(folder: Path, port: int, target: int) -> list[str]:
    text = f"""
global
  tune.bufsize 65536
  tune.http.maxhdr 256
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend visitors
  bind 127.0.0.1:{port}
  default_backend targets
backend targets
  server target 127.0.0.1:{target}
"""
    (folder / "haproxy.cfg").write_text(text)
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def _apache(folder: Path, port: int, target: int) -> list[str]:
    modules = "\n".join(
        f"LoadModule {name}_module {_APACHE_MODULES}/mod_{name}.so"
        for name in _NEEDED
        if (_APACHE_MODULES / f"mod_{name}.so").exists()
    )
    text = f"""
{modules}
ServerRoot {folder}
ServerName hub
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
DefaultRuntimeDir {folder}
LimitRequestFieldSize 65536
LimitRequestLine 16384
LimitRequestFields 300
AllowEncodedSlashes NoDecode
MergeSlashes Off
ProxyRequests Off
Proxy100Continue Off
ProxyPass / http://127.0.0.1:{target}/ nocanon
"""
    (folder / "apache.conf").write_text(text)
    return ["apache2", "-X", "-d", str(folder), "-f", str(folder / "apache.conf")]


def _node(folder: Path, port: int, target: int) -> list[str]:
    (folder / "server.js").write_text(_NODE)
    return ["node", str(folder / "server.js"), str(port), str(target)]


PEERS: dict[str, Callable[[Path, int, int], list[str]]] = {
    "nginx": _nginx,
    "haproxy": _haproxy,
    "apache": _apache,
    "node": _node,
}


@contextlib.asynccontextmanager
async def peer(name: str, folder: Path, target: int) -> AsyncIterator[str]:
    """Start a peer that passes on to a port; gives its URL.

    Args:
        name: one of `PEERS`.
        folder: for its files.
        target: port of the target on loopback.
    """
    port = free_port()
    argv = PEERS[name](folder, port, target)
    program = shutil.which(argv[0], path="/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")
    assert program is not None, f"{argv[0]} is missing"
    async with await Child.start(name, [program, *argv[1:]]) as child:
        async with asyncio.timeout(30):
            while True:
                assert child.alive, child.text()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                break
        yield f"http://127.0.0.1:{port}"
