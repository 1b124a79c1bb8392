"""Where the agent may forward to: targets as the user names them, and the list that nothing gets past."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tunnel.http1 import split_host, valid_host
from tunnel.settings import HostPort

_SCHEMES = {"http": 80, "https": 443, "tcp": 0}
SERVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NAMED = re.compile(rf"({SERVICE_NAME.pattern})=(.*)", re.DOTALL)
_BASE = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*")
# The kernel's limit for the path of a socket, less its final zero (unix(7)).
_LONGEST_SOCKET_PATH = 107


class Target:
    """One private service.

    Attributes:
        url: as given, for logs.
        name: what it is called, in lower case; "" if it has no name.
        tcp: bytes without HTTP: reached by CONNECT and never by a request.
        secure: TLS, with verification.
        host: name or address without brackets; "" for a socket in the file system.
        port: TCP port; 0 for a socket in the file system.
        socket: path of the socket, or "".
        base: path put before every request's; never ends in "/".
        authority: Host for this target.
        names: values of ``X-Proxy-Host`` that mean it, in lower case.
    """

    __slots__ = ("authority", "base", "host", "name", "names", "port", "secure", "socket", "tcp", "url")

    def __init__(
        self,
        url: str,
        *,
        host: str,
        port: int,
        socket: str,
        base: str,
        name: str,
        secure: bool = False,
        tcp: bool = False,
    ) -> None:
        self.url = url
        self.name = name.lower()
        self.tcp = tcp
        self.secure = secure
        self.host = host
        self.port = port
        self.socket = socket
        self.base = base.rstrip("/").encode("ascii")
        self.names: tuple[bytes, ...] = (name.lower().encode("ascii"),) if name else ()
        if socket:
            self.authority = b"localhost"
            return
        bare = (f"[{host}]" if ":" in host else host).encode("ascii")
        default = not tcp and port == _SCHEMES["https" if secure else "http"]
        whole = b"%b:%d" % (bare, port)
        self.authority = bare if default else whole
        self.names += (whole, bare) if default else (whole,)

    def __repr__(self) -> str:
        return f"<Target {self.url}>"

    @property
    def place(self) -> str:
        """Host and port, or the socket's path, for messages."""
        return self.socket or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")

    @property
    def place_and_base(self) -> tuple[object, ...]:
        """What it takes to be served by the same connections."""
        return self.secure, self.host, self.port, self.socket, self.base, self.tcp


def parse_target(text: str) -> Target:
    """Read ``http://host[:port][/base]``, ``https://…``, ``unix:///path.sock``, ``tcp://host:port`` or ``host:port``, each
    perhaps behind ``name=``.

    Raises:
        ValueError: one line that says how to write it.
    """
    found = _NAMED.fullmatch(text)
    name, url = (found[1], found[2]) if found else ("", text)
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "http", url
    scheme = scheme.lower()
    if scheme == "unix":
        return Target(text, host="", port=0, socket=_socket_path(rest, text), base="", name=name)
    if scheme not in _SCHEMES:
        raise ValueError(f"{text!r}: a target starts with http://, https://, unix:// or tcp://")
    place, slash, base = rest.partition("/")
    if scheme == "tcp" and (base or not re.search(r":\d+$", place)):
        raise ValueError(f"{text!r}: write a TCP target as tcp://HOST:PORT")
    if "@" in place or "?" in rest or "#" in rest:
        raise ValueError(
            f"{text!r}: a target takes no user, query or fragment; write it like http://127.0.0.1:8080/base"
        )
    if not _BASE.fullmatch(slash + base):
        raise ValueError(f"{text!r}: the path has characters that must be percent-encoded")
    if separator and not re.search(r":\d+$", place):
        place = f"{place}:{_SCHEMES[scheme]}"
    address = HostPort.parse(place)
    if address.port == 0:
        raise ValueError(f"{text!r}: 0 is no port one can connect to")
    return Target(
        text, host=address.host, port=address.port, socket="", base=slash + base, name=name,
        secure=scheme == "https", tcp=scheme == "tcp",
    )  # fmt: skip


def _socket_path(path: str, text: str) -> str:
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError(f"{text!r}: write a socket as unix:///path/to.sock")
    if len(path.encode()) > _LONGEST_SOCKET_PATH:
        raise ValueError(f"{text!r}: the path of a socket has at most {_LONGEST_SOCKET_PATH} bytes")
    return path


def allow_list(targets: Iterable[Target], *, tcp: bool = False, first: bool = False) -> dict[bytes, Target]:
    """Everything ``X-Proxy-Host`` may say, each with the target it means.

    A TCP target may have the address of another kind's, as a request and a CONNECT are told apart. Names are for all.

    Args:
        targets: of both kinds.
        tcp: what a CONNECT may say, instead of a request.
        first: of targets with the same address the first one has it; else that is a fault.

    Raises:
        ValueError: two targets go by the same name.
    """
    named: dict[str, Target] = {}
    found: dict[bytes, Target] = {}
    for target in targets:
        if target.name and (other := named.setdefault(target.name, target)) is not target:
            raise ValueError(f"{target.url!r} and {other.url!r} are both called {target.name}")
        if target.tcp is not tcp:
            continue
        for name in target.names:
            other = found.setdefault(name, target)
            if other is not target and not (first and other.name.encode() != name != target.name.encode()):
                raise ValueError(f"{target.url!r} and {other.url!r} are both called {name.decode()}")
    return found


def normal_name(asked: bytes) -> bytes:
    """What of an ``X-Proxy-Host`` is compared: lower case, without the dot that may end a host name. No other spelling
    of an address (``127.1``, ``0x7f000001``) is understood, so none gets past the list."""
    if not valid_host(asked):
        return asked.lower()
    name, port = split_host(asked)
    return name if port is None else b"%b:%d" % (name, port)
