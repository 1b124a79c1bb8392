"""What becomes of every response payload, read by curl, Node's http and undici: as it was meant, or visibly broken."""

from __future__ import annotations

import pytest

from conformance.smuggling.answering import RIGS, differences
from conformance.smuggling.cases import PREFIX
from conformance.smuggling.clients import CLIENTS, REFUSED, TELLS_INTERIM
from conformance.smuggling.responses import Response
from conformance.smuggling.table import RESPONSES


@pytest.mark.parametrize("through", RIGS)
@pytest.mark.parametrize("name", CLIENTS)
async def test_g1_clients_read_what_was_meant(name: str, through: str) -> None:
    plain = Response("plain", "what follows belongs to the next request", b"", 200, b"plain")
    wrong = []
    async with RIGS[through]() as rig, CLIENTS[name]() as read:
        base = f"http://127.0.0.1:{rig.port}{PREFIX.decode()}"
        rig.script.splitting = "whole"
        for case in RESPONSES:
            rig.script.case = case
            answer = await read(f"{base}/r", case.method)
            if case.id in REFUSED.get(name, ()):
                lines = ["it is not refused any more"] if answer.whole else []
            else:
                lines = differences(case, answer, interim=name in TELLS_INTERIM)
            # Where the client keeps its connection, this is the next answer on it.
            lines += differences(plain, await read(f"{base}/after", b"GET"), interim=False)
            wrong += [f"{case.id}: {line[:1000]}" for line in lines]
    print(f"{name}, {through}: {len(RESPONSES)} payloads, {len(wrong)} read otherwise")
    assert wrong == []
