"""Compliance kit: what every carrier must do, as checks anybody can run. No pytest.

    async def test_my_carrier() -> None:
        await kit.run(kit.Bench(MyCarrier(), "my://127.0.0.1:0"))

or one by one, to have a test for each:

    @pytest.mark.parametrize("check", kit.CHECKS, ids=kit.name_of)
    async def test_compliance(check: kit.Check) -> None:
        await kit.run(bench, [check])

Connections are made by `Carrier.listen` and `Carrier.dial`, and both ends then start the framing of the carrier's own
upgrade, so a carrier is tested as a session sees it. Run it on every event loop you support.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from carrier_api.kit.bench import Bench, Check, ComplianceError, name_of
from carrier_api.kit.checks import CHECKS

__all__ = ["CHECKS", "Bench", "Check", "ComplianceError", "name_of", "run"]


async def run(bench: Bench, checks: Iterable[Check] | None = None) -> None:
    """Run checks one after the other.

    Args:
        bench: the carrier and its surroundings.
        checks: some of `CHECKS`; all by default.

    Raises:
        ComplianceError: the first check that fails.
    """
    for check in CHECKS if checks is None else checks:
        try:
            async with asyncio.timeout(bench.deadline):
                await check(bench)
        except ComplianceError as exc:
            raise ComplianceError(f"{bench.carrier.name}: {name_of(check)}: {exc}") from exc
        except TimeoutError as exc:
            raise ComplianceError(f"{bench.carrier.name}: {name_of(check)}: nothing happened in time") from exc
