"""The fuzz targets take every recorded exchange, and notice a core that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.fuzz import core, reader
from conformance.fuzz.__main__ import seeds
from yamux import Connection
from yamux.corestream import CoreStream


@pytest.mark.parametrize("target", [reader, core], ids=["reader", "core"])
def test_every_seed_passes(target: object, tmp_path: Path) -> None:
    found = seeds(tmp_path)
    assert len(found) == len(list(tmp_path.iterdir())) > 50
    for seed in found:
        target.test_one(seed)  # type: ignore[attr-defined]


def test_the_reader_target_notices_a_cut_that_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = Connection._parse

    def forgetful(self: Connection, data: bytes | memoryview) -> None:
        parse(self, data)
        self._partial = self._partial[:5]

    monkeypatch.setattr(Connection, "_parse", forgetful)
    with pytest.raises(AssertionError):
        for seed in seeds(tmp_path):
            reader.test_one(seed)


def test_the_core_target_notices_credit_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    grant = Connection._grant

    def generous(self: Connection, stream: CoreStream, delta: int) -> None:
        grant(self, stream, delta)
        stream.recv_credit += delta

    monkeypatch.setattr(Connection, "_grant", generous)
    driver = core.Driver(client=True)
    driver.step(5, 0, 0)
    stream = driver.known[0]
    stream.recv_credit -= 200_000
    with pytest.raises(AssertionError):
        driver.step(4, 0, 0)
