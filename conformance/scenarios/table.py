"""The 65 scenarios by number, what ran of them, and the page that keeps the result.

``python -m conformance.scenarios.table`` runs them all and writes docs/conformance.md.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "conformance.md"

# The first 27 follow the reference's own tests, by their names there; the rest are ours.
SCENARIOS: Final = {
    1: ("Ping", "both sides ping; the value comes back"),
    2: ("Ping_Timeout", "an unanswered ping fails in time, the session stays usable, the late pong is ignored"),
    3: ("Accept", "both sides open at once: ids 1 and 2"),
    4: ("CloseBeforeAck", "as many opened and closed as the backlog holds; the next open does not block"),
    5: ("OpenStreamTimeout", "never accepted: the stream is reset, or the session ended by option"),
    6: ("Close_closeTimeout", "an unanswered FIN ends in RST"),
    7: ("NonNilInterface", "open and accept on a dead session raise"),
    8: ("SendData_Small", "1000 writes of 4 bytes each way"),
    9: ("SendData_Large", "250 MiB on one stream; unread bytes never above the window"),
    10: ("SendData_VeryLarge", "16 streams at once, each large (scaled to 8 MiB)"),
    11: ("ManyStreams", "50 streams of 1000 messages, one-way and as ping-pong"),
    12: ("HalfClose", "reading goes on after our own FIN"),
    13: ("HalfCloseSessionShutdown", "a full window, FIN, connection dropped: every byte, then a clean end"),
    14: ("ReadDeadline", "a read given up loses nothing"),
    15: ("WriteDeadline", "a write into an empty window waits, and what was taken is counted right"),
    16: ("BacklogExceeded", "an open beyond the limit waits; the session's death wakes it"),
    17: ("BacklogExceeded_Accept", "five times the backlog while somebody accepts: all succeed"),
    18: ("KeepAlive", "pings both ways with nothing else to do"),
    19: ("KeepAlive_Timeout", "a silent peer ends the session, and the error says so"),
    20: ("LargeWindow", "512 KiB window: 512 KiB written at once after the update"),
    21: ("PartialReadWindowUpdate", "half a window and a byte read gives an update of exactly that"),
    22: ("WindowUpdateWriteDuringRead", "a carrier that takes nothing does not stop reading"),
    23: ("ConnectionWriteTimeout", "a stalled carrier: bounded wait, error, nothing claimed as sent"),
    24: ("PingOfDeath", "pings while we cannot write: reading goes on, every ping answered later"),
    25: ("GoAway", "GoAway(0) refuses opens with an error of its own; open streams go on"),
    26: ("CancelAccept", "a cancelled accept loses no stream"),
    27: ("Const, EncodeDecode", "the header's fields at their extremes"),
    28: ("", "opening: first a window update with SYN and the right credit, never a second SYN"),
    29: ("", "accepting: one ACK for each of 10,000 streams, on the first frame"),
    30: ("", "FIN before accept: ACK all the same, tables come to nothing"),
    31: ("", "FIN, RST, ACK|RST, ACK|FIN and Data with ACK each answer an open"),
    32: ("", "SYN with a body, with FIN, with RST"),
    33: ("", "SYN with 262144 bytes is taken, with 262145 ends the session"),
    34: ("", "SYN of the wrong parity or id 0: GoAway(1)"),
    35: ("", "duplicate SYN and reused ids end the session; ids out of order are taken"),
    36: ("", "late frames on unknown and closed ids are ignored"),
    37: ("", "1 MiB on an unknown id is thrown away; above the budget the session ends"),
    38: ("", "a second FIN is ignored"),
    39: ("", "data after FIN resets the stream and never follows the end"),
    40: ("", "one byte over the window ends the session; bytes before it stay readable"),
    41: ("", "send window of exactly 2^32-1 is taken, more ends the session"),
    42: ("", "empty and late updates change nothing; RST carries a code and no credit"),
    43: ("", "RST drops what was not read and the reader gets an error"),
    44: ("", "every frame cut at every byte, and 1000 frames in one piece"),
    45: ("", "a body that trickles in is handed over as it comes"),
    46: ("", "bad version or type ends the session; unknown flag bits are ignored"),
    47: ("", "odd pings: one pong each, stream 0, same value"),
    48: ("", "pongs nobody asked for are ignored; ours are never doubled"),
    49: ("", "GoAway 0 drains; any other code ends the session and is told"),
    50: ("", "after our GoAway new streams are reset, open ones finish"),
    51: ("", "a graceful close delivers everything (200 times)"),
    52: ("", "the peer's session closed in mid-transfer is an error, not an end, unless FIN came"),
    53: ("", "the connection cut in header, body or between: an error that names the place"),
    54: ("", "a reader that does not read stops nobody else, in bounded memory"),
    55: ("", "300 opens toward a backlog of 256: 256 SYNs, none reset"),
    56: ("", "accepted streams are acknowledged at once, unread"),
    57: ("", "the last id is used, then a clear error"),
    58: ("", "floods: bounded memory, session ended by its budgets"),
    59: ("", "pongs overtake 64 MiB of queued data on a slow pipe"),
    60: ("", "FIN never overtakes data (1000 times)"),
    61: ("", "an echo beside a bulk stream waits for a few frames only"),
    62: ("", "cancellation at every await"),
    63: ("", "larger windows on one side only, both directions"),
    64: ("", "a reference that overruns its credit after a write timeout: window exceeded, no hang"),
    65: ("", "random legal scripts against the reference: same bytes, same ends"),
}  # fmt: skip

_NUMBER = re.compile(r"test_s(\d\d)_\w+")


def functions() -> dict[int, list[str]]:
    """Return the names of the test functions of each scenario, in the order of files and lines."""
    found: dict[int, list[str]] = {number: [] for number in SCENARIOS}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (match := _NUMBER.fullmatch(node.name)):
                found[int(match[1])].append(node.name)
    return found


class Results:
    """How many cases of each scenario passed and failed."""

    def __init__(self) -> None:
        self.counts: dict[int, Counter[str]] = {}

    def add(self, nodeid: str, outcome: str) -> None:
        """Count one case."""
        if match := _NUMBER.search(nodeid.rpartition("::")[2]):
            self.counts.setdefault(int(match[1]), Counter())[outcome] += 1

    def result(self, number: int) -> str:
        """Return "passed", "FAILED" or "not run"."""
        counts = self.counts.get(number, Counter())
        if counts["failed"] or counts["error"]:
            return "FAILED"
        return "passed" if counts["passed"] else "not run"

    def lines(self) -> list[str]:
        """Return one line for each scenario and a last one with the sum."""
        results = {number: self.result(number) for number in SCENARIOS}
        out = [
            f"s{number:02} {results[number]:<8}{sum(self.counts.get(number, Counter()).values()):4} cases  {what}"
            for number, (_, what) in SCENARIOS.items()
        ]
        passed = list(results.values()).count("passed")
        cases = sum(counts["passed"] for counts in self.counts.values())
        return [*out, f"{passed} of {len(SCENARIOS)} scenarios passed, {cases} cases"]


_HEAD = """# yamux against the Go reference

Our session and hashicorp/yamux v0.1.2, scenario by scenario, over loopback TCP. Scenarios 1 to 27 follow the reference's
own tests, under their names there; the others are ours. Where a role applies each runs with our side as client and as
server. Some use a peer made by hand that sends any frame; where the reference answers such a frame in another way than
we do, a test of the same number (`…reference…`) holds its answer, and the text of the test says why ours differs.

Run: `make interop`, or `python -m pytest conformance/scenarios` for these alone. This page is written by
`python -m conformance.scenarios.table`.

| | scenario | tests | cases | result |
| --- | --- | --- | ---: | --- |
"""


_TAIL = """
## Floods

The nine floods of s58, from a peer that reads our answers and from one that does not, cost 0.9 MB at most until the
session ends (all that Python allocates, the flooding peer in the same process included; the test's limit is 4 MiB); the
session ends with GoAway(1) and the reason `flood_detected`, or `protocol_error` for data on streams that do not exist.

Pings are a flood when they come beside others that wait for their pong, above 1,000 a second. A peer that waits for each
pong may ping as fast as the pongs come: it holds no memory of ours, each ping costs it as much as us, and a benchmark of
the round trip does just that.

## Fuzzing

`make fuzz` searches for inputs that make the core raise anything, pass one of its bounds, or behave differently when the
same bytes are cut in another way: 60 s for each of two targets, 10 s in the gate, from the exchanges recorded with the
reference. [trace.md](trace.md) shows how to read an exchange.
## Peers by other authors

`conformance/peers` holds live sessions, in both roles, with libp2p's go-yamux v5.1.0; with `YAMUX_PEERS=go,rust,js` (needs
cargo and npm) also with the Rust crate yamux 0.14.0 and with @chainsafe/libp2p-yamux 7.0.4: echo, bulk each way, one byte
at a time, half close, resets from both sides, 200 streams at once, 2,000 in turn, streams they open, pings, stalled
streams, frames of 1 MiB, acknowledgements that come late or never, and the session's end. What they do differently:

| | reference | go-yamux | rust-yamux | js |
| --- | --- | --- | --- | --- |
| acknowledges | at accept | at accept | with its first frame | with its first frame |
| opens with | an update | an update | data | an update |
| ends and resets by | an update | an update | an empty Data frame | an update |
| largest Data frame | all the credit | 64 KiB | 16 KiB, or as set | 64 KiB |
| pings of its own | keepalive | at the start, every 30 s | at the start, every 10 s | at the start |
| GoAway(0) | refuses opens | ends the session | ends the session | ends the session |
| too many streams | RST | RST above 1,000 | ends the session at 512 | RST above 1,000 |

So ours acknowledges at once, says GoAway last, sends one pong a ping, and gives an open that carried data all the time
its answer needs. `max_outbound_streams` keeps within rust-yamux's 512 where that is what may be at the far end.
"""


def page(results: Results) -> str:
    """Return the text of docs/conformance.md."""
    rows = []
    for number, names in functions().items():
        name, what = SCENARIOS[number]
        title = f"{what} (Test{name})" if name and "," not in name else what
        tests = ", ".join(f"`{name.removeprefix(f'test_s{number:02}_')}`" for name in names)
        cases = sum(results.counts.get(number, Counter()).values())
        rows.append(f"| s{number:02} | {title} | {tests} | {cases} | {results.result(number)} |\n")
    return _HEAD + "".join(rows) + f"\n{results.lines()[-1]}.\n" + _TAIL


class _Collector:
    def __init__(self) -> None:
        self.results = Results()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            self.results.add(report.nodeid, "error" if report.when != "call" else report.outcome)


def main() -> None:
    """Run the scenarios and write the page."""
    collector = _Collector()
    # The page itself is checked by a test that would fail before the page is there.
    code = pytest.main(["-q", str(HERE), f"--ignore={HERE}/test_table.py"], plugins=[collector])
    PAGE.write_text(page(collector.results), "utf-8")
    sys.exit(int(code))


if __name__ == "__main__":
    main()
