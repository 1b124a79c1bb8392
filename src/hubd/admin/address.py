"""Where the management API listens: addresses, the default socket, and making room for a socket.

A socket in the file system is as safe as its directory and its mode. The socket has 0600 from its first moment, and
its directory, if the hub makes it, 0700.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunnel.settings import HostPort

# sun_path holds 108 bytes with the final zero (unix(7)).
MAX_PATH = 107
CONNECT_SECONDS = 1.0


class AddressError(ValueError):
    """An address cannot be used; one line with the fix."""


class AddressTaken(AddressError):
    """Another hub listens there."""


@dataclass(frozen=True, slots=True)
class AdminAddress:
    """A socket in the file system, or a TCP address with TLS.

    Args:
        path: of the socket; None for TCP.
        tcp: the address; None for a socket.
    """

    path: Path | None = None
    tcp: HostPort | None = None

    @classmethod
    def parse(cls, text: str) -> AdminAddress:
        """Read ``unix:/path``, ``unix:///path`` or ``HOST:PORT``.

        Raises:
            AddressError: it is neither.
        """
        if not text.startswith("unix:"):
            try:
                return cls(tcp=HostPort.parse(text))
            except ValueError as exc:
                raise AddressError(f"{exc}, nor unix:/PATH") from None
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise AddressError(f"{text!r} has no whole path: write unix:/run/hubd/admin.sock")
        if len(os.fsencode(path)) > MAX_PATH:
            raise AddressError(f"{path}: a socket's path has at most {MAX_PATH} bytes; choose a shorter directory")
        return cls(path=Path(path))

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path is not None else str(self.tcp)


FindAddresses = Callable[[], Sequence[AdminAddress]]
"""Says where to listen, at the time: whether a default socket is free changes."""


def addresses_of(texts: Iterable[str]) -> list[AdminAddress]:
    """Addresses as settings write them. Raises AddressError."""
    return [AdminAddress.parse(text) for text in texts]


def runtime_directory(environ: Mapping[str, str]) -> Path:
    """Where the default socket is: systemd's directory, else the user's, else the system's."""
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    if environ.get("XDG_RUNTIME_DIR"):
        return Path(environ["XDG_RUNTIME_DIR"], "hubd")
    if os.geteuid() == 0:
        return Path("/run/hubd")
    return Path(tempfile.gettempdir(), f"hubd-{os.geteuid()}")


def default_address(environ: Mapping[str, str], port: int) -> AdminAddress:
    """``admin.sock`` in the runtime directory, or ``admin-<port>.sock`` where another hub has the former.

    Args:
        environ: of the process.
        port: where visitors come; 0, which any number of hubs may ask for, puts the process id in its place.

    Raises:
        AddressError: neither can be had.
    """
    folder = runtime_directory(environ)
    with claimed(folder / "admin.sock"):
        _sweep(folder)
        taken = is_live(folder / "admin.sock")
    return AdminAddress.parse(
        f"unix:{folder}/admin-{port or os.getpid()}.sock" if taken else f"unix:{folder}/admin.sock"
    )


def _sweep(folder: Path) -> None:
    """Remove the sockets that killed hubs have left. Inside `claimed`, so none of them is about to be used."""
    for path in folder.glob("admin-*.sock"):
        with contextlib.suppress(AddressError):
            make_room(path)


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold a socket's directory, made if it is missing, against other hubs that start at this moment.

    Raises:
        AddressError: it cannot be made, or others may put files there.
    """
    folder = path.parent
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise AddressError(f"cannot make {folder}: {folder.parent} does not exist") from None
    except OSError as exc:
        raise AddressError(f"cannot use the directory {folder}: {(exc.strerror or str(exc)).lower()}") from None
    try:
        found = os.fstat(descriptor)
        if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
            raise AddressError(f"others may replace sockets in {folder}: chmod go-w {folder}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_live(path: Path) -> bool:
    """Whether somebody accepts connections on a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except OSError:
            # Not ours to ask, or too busy to answer: there is somebody.
            return True
        return True


def make_room(path: Path) -> None:
    """Take away the socket that a dead hub of ours has left. Inside `claimed`.

    Raises:
        AddressTaken: another hub uses it.
        AddressError: there is something else.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise AddressError(f"{path} exists and is no socket: remove it, or choose another with --admin unix:/PATH")
    if found.st_uid != os.geteuid():
        raise AddressError(f"{path} belongs to another user: choose another with --admin unix:/PATH")
    if is_live(path):
        raise AddressTaken(f"{path} is in use by another hub: stop that, or choose another with --admin unix:/PATH")
    path.unlink()
