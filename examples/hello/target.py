"""A target to try the tunnel with: ``GET /hello`` answers ``Hello, there``.

Usage: python target.py [PORT]    (8881 unless told otherwise; 0 takes a free one)
"""

from __future__ import annotations

import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NoReturn

BODY = b"Hello, there\n"


class Hello(BaseHTTPRequestHandler):
    """Answers one path."""

    protocol_version = "HTTP/1.1"
    # Head and body leave in one packet.
    wbufsize = -1
    # A connection that says nothing does not hold a thread for ever.
    timeout = 60

    def do_GET(self) -> None:
        """Greet, or tell what to ask for."""
        found = self.path.split("?")[0] == "/hello"
        body = BODY if found else b"try /hello\n"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def stop(*_: object) -> NoReturn:
    """End as on Ctrl-C."""
    raise KeyboardInterrupt


def main(arguments: list[str]) -> None:
    """Serve on loopback until told to stop."""
    signal.signal(signal.SIGTERM, stop)
    with ThreadingHTTPServer(("127.0.0.1", int(arguments[0]) if arguments else 8881), Hello) as server:
        server.daemon_threads = True
        print(f"target listening on 127.0.0.1:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("target stopped", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
