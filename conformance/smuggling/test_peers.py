"""What hub and agent let through, read by nginx, HAProxy, Apache and Node: as it was meant, or refused, but never otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.smuggling.cases import Case, Seen
from conformance.smuggling.peers import PEERS, peer
from conformance.smuggling.rig import FIRST, LAST, STATUS, Rig, agent_of, running_hub, target_place
from conformance.smuggling.table import REQUESTS

# A peer may refuse what the hub lets through, but most of it is plain HTTP.
MOST_REFUSED = 60
# Apache's ProxyPass takes slashes at the begin of a path for one.
ONE_SLASH = ("apache",)


async def judge(rig: Rig, case: Case, *, one_slash: bool) -> tuple[list[str], int]:
    """Send a payload between two plain requests; returns what is wrong, and how many requests the peer refused."""
    place = rig.place
    place.clear()
    got = await rig.send([FIRST + case.raw + (b"" if case.half else LAST)], half=case.half)
    statuses = [int(status) for status in STATUS.findall(got) if int(status) >= 200]
    meant = [Seen(b"GET", b"/first"), *case.seen]
    if case.stays or (case.stays is None and statuses[-1:] == [200]):
        meant.append(Seen(b"GET", b"/last"))
    # The hub answers its own refusals as it did without the peer; whatever else is no 200 is the peer's.
    own = [status for status in case.answers if status != 200]
    refused = sum(status != 200 for status in statuses) - len(own)
    await rig.settle(len(meant) - refused)
    wrong = list(place.faults)
    left = list(meant)
    for read in place.reads:
        found = (read.method, read.target, read.body)
        while left and found != _as_read(left[0], one_slash):
            left.pop(0)
        if not left:
            wrong.append(f"the peer read {found}, which nobody sent")
            break
        left.pop(0)
    if len(place.reads) != len(meant) - refused:
        wrong.append(f"{len(place.reads)} requests read, {len(meant)} meant, {refused} refused; answers {statuses}")
    return wrong, refused


def _as_read(seen: Seen, one_slash: bool) -> tuple[bytes, bytes, bytes]:
    return seen.method, b"/" + seen.path.lstrip(b"/") if one_slash else seen.path, seen.body


@pytest.mark.parametrize("name", PEERS)
async def test_g1_peers_read_what_was_meant(name: str, tmp_path: Path) -> None:
    wrong, refused = [], 0
    async with running_hub() as hub, target_place() as (place, target):
        async with peer(name, tmp_path, int(target.rpartition(":")[2])) as url, agent_of(hub, url):
            rig = Rig(hub, place)
            for case in REQUESTS:
                lines, count = await judge(rig, case, one_slash=name in ONE_SLASH)
                wrong += [f"{case.id}: {line[:1000]}" for line in lines]
                refused += count
    print(f"{name}: {len(REQUESTS)} payloads, {len(wrong)} read otherwise, {refused} requests refused by it")
    assert wrong == []
    assert refused < MOST_REFUSED
