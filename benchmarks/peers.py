"""Compare this system with other tunnels on this machine: `python -m benchmarks.peers`.

Byte relays never look at a request, so they cost less for each than anything that routes by it; the
note of each system says what it does. All figures come from one run and compare within it only.
"""

from __future__ import annotations

import sys

from benchmarks import report
from benchmarks.peer_systems import Bore, NginxHop, Rathole, Ssh
from benchmarks.run import parser, run
from benchmarks.systems import Direct, GoSeed, Ours, System

KINDS: dict[str, type[System]] = {
    "direct": Direct,
    "nginx": NginxHop,
    "go": GoSeed,
    "ours": Ours,
    "ssh": Ssh,
    "bore": Bore,
    "rathole": Rathole,
}


def main() -> int:
    """Run, print one line for each system and the bars; 1 when a measure failed."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--system", action="append", choices=KINDS, help="only this system; may be given again")
    options.set_defaults(rounds=1)
    chosen = options.parse_args()
    kinds = [KINDS[name] for name in chosen.system or KINDS]
    bench = run(chosen, kinds, "peers")
    names = [kind.name for kind in kinds if kind.name in bench.results.rounds]
    table_rows = report.rows(bench.plan.connections)
    print("\n" + report.matrix(bench.results, table_rows, names) + "\n")
    print(report.charts(bench.results, table_rows, names, lambda row: row.key in ("rate", "mb_s", "hub_us")))
    for kind in kinds:
        if kind.note:
            print(f"{kind.name}: {kind.note}")
    for note in bench.results.notes:
        print("note:", note)
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
