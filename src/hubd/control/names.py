"""Names of the bridges' ends on the private socket: by them the gRPC server knows which session calls.

On Linux a name in the abstract namespace, elsewhere a socket file beside the listener's. Either way:

- The listener is in a directory that only this user may enter.
- A name is held by this process for as long as it means anything: it is bound before it is known to the table, and
  taken out of the table before its socket is closed. Nobody else can bind a name that is bound, so nobody else's
  connection ever has a name that the table knows.
"""

from __future__ import annotations

import secrets
import socket
import sys
from pathlib import Path


def bind(sock: socket.socket, folder: Path, session_id: str, *, abstract: bool = sys.platform == "linux") -> str:
    """Give a unix socket a name nobody can guess.

    Args:
        sock: not bound yet.
        folder: the private directory.
        session_id: for people who look at open sockets.
        abstract: use Linux' abstract namespace.

    Returns:
        What gRPC calls this peer.

    Raises:
        OSError: the name cannot be bound.
    """
    name = f"hubd-{secrets.token_hex(8)}-{session_id}"
    if abstract:
        sock.bind(f"\0{name}")
        return f"unix-abstract:{name}"
    path = str(folder / name)
    sock.bind(path)
    return f"unix:{path}"


def unbind(peer: str) -> None:
    """Remove what a name has left in the file system. Call it after the socket is closed."""
    scheme, _, path = peer.partition(":")
    if scheme == "unix":
        Path(path).unlink(missing_ok=True)
