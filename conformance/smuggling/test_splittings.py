"""Every payload, in every splitting, in both places on a connection, through hub alone and hub and agent."""

from __future__ import annotations

import pytest

from conformance.smuggling import answering
from conformance.smuggling.judging import RIGS, judge_all
from conformance.smuggling.rig import Splitting
from conformance.smuggling.table import REQUESTS, RESPONSES


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("splitting", ["random", "bytes"])
@pytest.mark.parametrize("through", RIGS)
async def test_g1_however_a_request_is_cut(through: str, splitting: Splitting, second: bool) -> None:
    assert await judge_all(through, REQUESTS, splitting, second=second) == []


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("splitting", ["whole", "random", "bytes"])
@pytest.mark.parametrize("through", answering.RIGS)
async def test_g1_however_a_response_is_cut(through: str, splitting: Splitting, second: bool) -> None:
    assert await answering.judge_all(through, RESPONSES, splitting, second=second) == []
