"""Every request payload through a hub, and through hub and agent: refused as it must be, or read as it was meant.

What gets through is read by h11 as it arrives, and once more by aiohttp; neither knows our parser. All payloads in all
splittings and places are too many for every day: `make interop` sends those, here they take turns.
"""

from __future__ import annotations

import pytest

from conformance.smuggling.judging import judge_all
from conformance.smuggling.table import REQUESTS


def test_the_table_is_whole() -> None:
    assert len({case.id for case in REQUESTS}) == len(REQUESTS) >= 400
    assert all(case.why and case.raw for case in REQUESTS)
    refused = [case for case in REQUESTS if not case.stays]
    assert len(refused) > 250 and len(REQUESTS) - len(refused) > 150


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("through", ["hub", "hub and agent"])
async def test_g1_no_request_is_read_in_two_ways(through: str, second: bool, caplog: pytest.LogCaptureFixture) -> None:
    assert await judge_all(through, REQUESTS, "whole", second=second) == []
    assert not caplog.records


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
async def test_g1_nor_in_pieces(second: bool) -> None:
    assert await judge_all("hub", REQUESTS[second::2], "random", second=second) == []
    assert await judge_all("hub", REQUESTS[second::12], "bytes", second=second) == []
