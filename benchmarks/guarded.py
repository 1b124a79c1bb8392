"""What protection costs: a hub with tokens, limits, metrics and an access log beside a bare one: `python -m benchmarks.guarded`.

Both run at once, each with an agent of its own on the same target, and are loaded in turn for a few seconds: the machine's moods
fall on both. Each round starts both anew, since two processes that do the same may differ by more than what is looked for, for
as long as they live: where their memory came to lie. What counts is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from benchmarks import load, measure
from benchmarks.procs import free_port
from benchmarks.run import say
from benchmarks.systems import AGENT_ID, Ours, Proxied
from benchmarks.target import find_nginx, start_target
from conformance import daemons

Seen = dict[str, dict[str, list[float]]]
"""Figures of all rounds, by system."""

ALLOWED = 5.0
"""Percent."""
_SETTINGS = """\
listen = "127.0.0.1:0"
access_log = "{folder}/access.log"
[store]
path = "{folder}/hub.db"
[web]
listen = "127.0.0.1:{web}"
[admin]
listen = ["unix:{folder}/admin.sock"]
[limits]
request_rate = 1000000
visitor_request_rate = 1000000
streams = 1000
{more}
"""


class Guarded(Proxied):
    """hubd as it runs in public, but for TLS: a token for the agent, limits for it and for visitors, metrics, access log."""

    name = "guarded"
    bandwidth = False
    web = 0

    def begin(self) -> None:
        self.web = free_port()
        self.folder.chmod(0o700)
        settings = self.folder / "hub.toml"
        more = 'bandwidth = "100GiB"\nvisitor_bandwidth = "100GiB"' if self.bandwidth else ""
        settings.write_text(_SETTINGS.format(folder=self.folder, web=self.web, more=more))
        token = self.folder / "token"
        words = ["token", "create", "--agent", AGENT_ID, "--out", str(token), "--config", str(settings)]
        made = self.run("token", [sys.executable, "-m", "hubd", *words], env=daemons.environment())
        made.wait_for(token.exists, "token")
        serve = [sys.executable, "-m", "hubd", "serve", "--config", str(settings)]
        self.hub = self.run("hub", serve, env=daemons.environment())
        self.hub_port = int(self.hub.wait_output(daemons.HUB_READY)[1])
        hub, targets = f"ws://127.0.0.1:{self.hub_port}", [f"127.0.0.1:{self.target_port}"]
        argv = [*daemons.agent_argv(hub, AGENT_ID, targets), "--token-file", str(token)]
        self.agent = self.run("agent", argv, env=daemons.environment())
        self.agent.wait_output(daemons.AGENT_READY)

    def scrape(self) -> int:
        """Ask for the metrics, as Prometheus does; returns their size."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web}/metrics", timeout=10) as answer:
            return len(answer.read())


class GuardedToo(Guarded):
    """The same with bandwidth limits, which look at every piece of a body."""

    name = "guarded, bandwidth too"
    bandwidth = True


def main() -> int:
    """Measure, print the table; 1 when the cost is more than allowed."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--seconds", type=float, default=3.0, help="of load, for each in each round")
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--bandwidth", action="store_true", help="a third hub with bandwidth limits as well")
    chosen = options.parse_args()
    kinds: list[type[Proxied]] = [Ours, Guarded, *([GuardedToo] if chosen.bandwidth else [])]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        port = free_port()
        with start_target(Path(folder) / "target", port, nginx=find_nginx()):
            seen: Seen = {kind.name: {"rate": [], "hub_us": []} for kind in kinds}
            for number in range(chosen.rounds):
                # In turns that turn: whoever is first is not always the same.
                order = kinds if number % 2 else kinds[::-1]
                systems = [kind(Path(folder) / f"round{number}-{kind.__name__}", port) for kind in order]
                measured(systems, seen, chosen.connections, chosen.seconds)
                say(f"round {number + 1}: " + ", ".join(f"{n} {v['hub_us'][-1]:.1f} us" for n, v in seen.items()))
    return tell(kinds, seen)


def measured(systems: list[Proxied], seen: Seen, connections: int, seconds: float) -> None:
    """Start the systems, load each in turn, end them; their rates and their hubs' CPU are added to what was seen."""
    with ExitStack() as stack:
        for system in systems:
            stack.callback(system.__exit__)
            system.__enter__()
            measure.check(system)
            load.run(system.url("/hello"), connections, 1.0)
        for system in systems:
            record = measure.requests(system, connections, seconds)
            if record["failures"]:
                raise measure.Broken(f"{system.name}: {record['failures']:.0f} requests failed")
            for key, values in seen[system.name].items():
                values.append(record[key])
            if isinstance(system, Guarded):
                system.scrape()


def tell(kinds: list[type[Proxied]], seen: Seen) -> int:
    """Print the medians and what each costs more than the first; 1 if the second is beyond what is allowed."""
    bare = seen[kinds[0].name]
    code = 0
    for kind in kinds:
        values = seen[kind.name]
        rate, cost = statistics.median(values["rate"]), statistics.median(values["hub_us"])
        pairs = zip(values["hub_us"], bare["hub_us"], strict=True)
        more = statistics.median((mine / other - 1) * 100 for mine, other in pairs)
        rates = zip(values["rate"], bare["rate"], strict=True)
        slower = statistics.median((1 - mine / other) * 100 for mine, other in rates)
        print(
            f"{kind.name:<24} {rate:8.0f} requests/s  hub {cost:6.1f} us  {more:+5.1f} % CPU  {slower:+5.1f} % slower"
        )
        if kind is Guarded and slower > ALLOWED:
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
