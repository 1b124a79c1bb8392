from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from tunnel.writing import JOIN_BYTES, put


class Wire(asyncio.WriteTransport):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[bytes]] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append([bytes(data)])

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.calls.append([bytes(data) for data in list_of_data])


LARGE = bytes(JOIN_BYTES)


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        ([b"a"], [[b"a"]]),
        ([LARGE + b"a"], [[LARGE + b"a"]]),
        ([b"a", memoryview(b"b"), b"c"], [[b"abc"]]),
        ([LARGE, b"a"], [[LARGE, b"a"]]),
        ([], []),
        ([b"", b""], []),
    ],
)
def test_pieces_leave_in_one_call(pieces: list[bytes], calls: list[list[bytes]]) -> None:
    wire = Wire()
    assert put(wire, pieces) == sum(map(len, pieces))
    assert wire.calls == calls
