"""A TCP relay between agent and hub that can cut, fall silent, and hide the WebSocket subprotocol. Threads, no loop."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Self

_PIECE = 256 * 1024


class Relay:
    """Passes connections on to a port.

    Args:
        port: where to.
        raw: take the offered subprotocol out of the request, so that the session rides on the bare connection.

    Attributes:
        accepted: connections so far.
        passed: bytes passed on so far, both ways.
        hidden: offers of the subprotocol taken out so far.
    """

    def __init__(self, port: int, *, raw: bool = False) -> None:
        self._to = port
        self._raw = raw
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.accepted = 0
        self.passed = self.hidden = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._going = threading.Event()
        self._going.set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                self.accepted += 1
                try:
                    there = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    here.close()
                    continue
                for sock in (here, there):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._open |= {here, there}
                threading.Thread(target=self._pass, args=(here, there, self._raw), daemon=True).start()
                threading.Thread(target=self._pass, args=(there, here, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, raw: bool) -> None:
        with suppress(OSError):
            if raw:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += source.recv(1)
                lines = head.split(b"\r\n")
                kept = [line for line in lines if not line.lower().startswith(b"sec-websocket-protocol:")]
                self.hidden += len(lines) - len(kept)
                sink.sendall(b"\r\n".join(kept))
            while data := source.recv(_PIECE):
                self._going.wait()
                sink.sendall(data)
                self.passed += len(data)
        with self._lock:
            mine = {source, sink} & self._open
            self._open -= mine
        for sock in mine:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def cut(self, *, reset: bool = True) -> None:
        """End every connection now, by RST or by FIN."""
        with self._lock:
            mine, self._open = self._open, set()
        for sock in mine:
            with suppress(OSError):
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Wakes the thread that reads; its reference would keep the connection open.
                sock.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            sock.close()

    def silence(self) -> None:
        """Pass nothing more on, and keep every connection open."""
        self._going.clear()

    def resume(self) -> None:
        """Pass on again."""
        self._going.set()

    def close(self) -> None:
        """End everything."""
        self._going.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut(reset=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
