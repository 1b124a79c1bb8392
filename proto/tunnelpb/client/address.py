"""Where a hub's management API is: a unix socket, or a host and port with TLS."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass

# sun_path of Linux is 108 bytes with the closing zero; gRPC refuses longer ones with a riddle.
_MAX_SOCKET_PATH = 107


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address.

    Attributes:
        target: as gRPC wants it.
        socket: path of the unix socket; None for TCP.
        host: host name or IP address without brackets; "" for a unix socket.
        port: 0 for a unix socket.
    """

    target: str
    socket: str | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``unix:///PATH``, ``unix:/PATH``, ``unix:PATH``, ``HOST:PORT`` or ``https://HOST:PORT``.

        Raises ValueError with one line that says what an address looks like.
        """
        text = text.strip()
        if text.startswith("unix:"):
            return cls._unix(text)
        rest = text.removeprefix("https://").removesuffix("/") if text.startswith("https://") else text
        if "://" in rest:
            raise ValueError(f"{text!r}: a hub is reached at unix:///PATH or HOST:PORT (TLS), by no other scheme")
        host, colon, port = rest.rpartition(":")
        if not colon or not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f'{text!r} is no address of a hub; write "unix:///run/hubd/admin.sock" or "HOST:PORT"')
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if ":" in bare and bare == host:
            raise ValueError(f'{text!r}: an IPv6 host needs brackets, like "[::1]:{port}"')
        if not bare or any(part in bare for part in " /@?#%[]"):
            raise ValueError(f"{text!r}: {host!r} is no host name")
        return cls(f"dns:///{host}:{port}", None, bare, int(port))

    @classmethod
    def _unix(cls, text: str) -> Address:
        path = text.removeprefix("unix:")
        if path.startswith("//"):
            path = path[2:]
            if not path.startswith("/"):
                raise ValueError(
                    f"{text!r}: a socket's path behind unix:// is absolute, as unix:///run/hubd/admin.sock"
                )
        if not path or "\0" in path:
            raise ValueError(f"{text!r} names no socket; write unix:///PATH")
        path = os.path.abspath(path)
        if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
            raise ValueError(f"{text!r}: a socket's path has at most {_MAX_SOCKET_PATH} bytes")
        # gRPC reads targets as URIs: a percent sign would start an escape.
        return cls("unix:" + path.replace("%", "%25"), path)

    @property
    def is_loopback(self) -> bool:
        """Whether the address cannot leave this machine."""
        if self.socket is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.socket is not None:
            return f"unix://{self.socket}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
