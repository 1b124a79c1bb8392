from __future__ import annotations

import inspect

import pytest

from yamux import errors
from yamux.errors import (
    FloodDetected,
    KeepaliveTimeout,
    ProtocolError,
    RemoteGoAway,
    SessionClosed,
    StreamReset,
    WindowExceeded,
    YamuxError,
)

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, YamuxError)]


def test_every_error_has_a_reason_of_its_own() -> None:
    assert len(KINDS) > 8
    assert len({kind.reason for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", [ProtocolError, WindowExceeded, FloodDetected])
def test_faults_of_the_peer_end_the_session_with_code_1(kind: type[ProtocolError]) -> None:
    assert kind.code == 1
    assert not issubclass(kind, SessionClosed)


def test_errors_are_what_asyncio_code_catches() -> None:
    assert issubclass(SessionClosed, ConnectionError)
    assert issubclass(RemoteGoAway, ConnectionError)
    assert issubclass(KeepaliveTimeout, TimeoutError)
    assert issubclass(StreamReset, ConnectionResetError)


def test_codes_of_the_peer_are_kept() -> None:
    assert RemoteGoAway("gone", 4101).code == 4101
    reset = StreamReset("reset", 42)
    assert (reset.code, reset.remote, str(reset)) == (42, True, "reset")
    assert not StreamReset("reset here", remote=False).remote
