"""Every response payload from an agent to the hub, and from a target to the agent: refused, cut, or as it was meant.

What visitors get is read by h11 as a whole and by aiohttp's client. As with requests, all of them in all splittings
are sent by `make interop`.
"""

from __future__ import annotations

import pytest

from conformance.smuggling.answering import RIGS, judge_all
from conformance.smuggling.table import RESPONSES


def test_the_table_is_whole() -> None:
    assert len({case.id for case in RESPONSES}) == len(RESPONSES) >= 120
    assert all(case.why for case in RESPONSES)


@pytest.mark.parametrize("through", RIGS)
async def test_g1_no_response_is_read_in_two_ways(through: str, caplog: pytest.LogCaptureFixture) -> None:
    turn = list(RIGS).index(through)
    assert await judge_all(through, RESPONSES[turn::2], "whole", second=False) == []
    assert await judge_all(through, RESPONSES[1 - turn :: 2], "whole", second=True) == []
    assert not caplog.records


@pytest.mark.parametrize("through", RIGS)
async def test_g1_nor_in_pieces(through: str) -> None:
    turn = list(RIGS).index(through)
    assert await judge_all(through, RESPONSES[turn::3], "random", second=True) == []
    assert await judge_all(through, RESPONSES[turn::12], "bytes", second=False) == []
