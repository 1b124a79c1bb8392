"""Many payloads one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from conformance.smuggling.cases import Case
from conformance.smuggling.rig import Splitting, agent_rig, raw_rig

RIGS = {"hub": raw_rig, "hub and agent": agent_rig}


async def judge_all(through: str, cases: Iterable[Case], splitting: Splitting, *, second: bool) -> list[str]:
    """Send payloads, each on a connection of its own; returns what was not as it must be.

    Args:
        through: how far they go, one of `RIGS`.
        cases: the payloads.
        splitting: how they are cut.
        second: each comes behind a plain request.
    """
    wrong = []
    async with RIGS[through]() as rig:
        for case in cases:
            wrong += [f"{case.id}: {line[:2000]}" for line in await rig.judge(case, splitting, second=second)]
        wrong += await rig.place.disagreements()
        assert rig.hub.hub.budget.visitors == 0
    return wrong
