"""The command line of ``hubd``."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from hubd.commands import config as config_commands
from hubd.commands import health, init, password, tokens
from hubd.config import HubConfig
from hubd.settings import read
from tunnel import commandline, inspecting, logs
from tunnel.allocator import keep_buffers
from tunnel.loops import loop_factory
from tunnel.settings import EXIT_CONFIG, Loaded, SettingsError
from tunnel.signals import ignore_stops
from tunnel.version import VERSION

app = typer.Typer(
    name="hubd",
    help="Public side of the tunnel: agents attach to it, visitors reach them through it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=commandline.SETTINGS,
)
app.add_typer(tokens.app)
app.add_typer(config_commands.app)
app.add_typer(inspecting.plugins)
app.command()(init.init)
app.command()(init.renew)
app.command()(health.healthcheck)
app.command()(password.hash_password)

# Flags whose setting is not called as they are.
_KEYS = {
    "tls_cert": "tls.cert",
    "tls_key": "tls.key",
    "tls_client_ca": "tls.client_ca",
    "carrier": "carriers",
    "admin": "admin.listen",
    "store": "store.path",
    "web_listen": "web.listen",
}
_FLAG_NAMES = {key: "--" + flag.replace("_", "-") for flag, key in _KEYS.items()}


@app.callback()
def _root(version: commandline.Version = False) -> None:
    """Take the options of the program itself."""


def main(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code."""
    return commandline.run(app, "hubd", arguments)


@app.command()
def version() -> None:
    """Print the version."""
    print(f"hubd {VERSION}")


@app.command()
def serve(
    ctx: typer.Context,
    dev: Annotated[bool, typer.Option("--dev", help="Let any agent attach. Loopback only.")] = False,
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="TOML file with settings (/etc/hubd/hubd.toml).")
    ] = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT for visitors and agents (127.0.0.1:8882).")] = None,
    tls_listen: Annotated[str | None, typer.Option(help="HOST:PORT for the same with TLS.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key, PEM.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="Require client certificates of these authorities.")
    ] = None,
    carrier: Annotated[list[str] | None, typer.Option(help="A further listener, as a carrier URL. Repeatable.")] = None,
    insecure_plain_agents: Annotated[
        bool, typer.Option("--insecure-plain-agents", help="Let agents of other machines attach without TLS.")
    ] = False,
    insecure_plain_visitors: Annotated[
        bool, typer.Option("--insecure-plain-visitors", help="Serve visitors of other machines without TLS.")
    ] = False,
    admin: Annotated[
        list[str] | None, typer.Option(help="unix:/PATH or HOST:PORT for the management API. Repeatable.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="File for what is remembered over a restart.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Name of this hub (the machine's).")] = None,
    domain: Annotated[str | None, typer.Option(help="Serve agents at ID.DOMAIN as well.")] = None,
    policy: Annotated[str | None, typer.Option(help="least-streams, random or round-robin.")] = None,
    web_listen: Annotated[str | None, typer.Option(help="HOST:PORT for metrics and health; none by default.")] = None,
    access_log: Annotated[str | None, typer.Option(help="File for the access log, - for standard output.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run the hub until SIGTERM or SIGINT. SIGHUP reads the settings again, SIGUSR2 hands over to a new process."""
    flags = {_KEYS.get(name, name): value or None for name, value in ctx.params.items() if name != "config"}
    from hubd.handover import inherit

    channel = inherit(os.environ, flags)

    def settings() -> Loaded[HubConfig]:
        return read(config, flags, _FLAG_NAMES)

    try:
        loaded = settings()
    except SettingsError as exc:
        _fail(str(exc))
    _run(loaded.value, settings, channel)


def _run(config: HubConfig, settings: Callable[[], Loaded[HubConfig]], channel: socket.socket | None) -> None:
    from hubd.app import App, how_to_use
    from hubd.lifecycle import serve as run
    from hubd.listeners import ListenError

    def started(hub: App) -> None:
        if config.dev:
            print(how_to_use(hub), flush=True)

    keep_buffers()
    running = logs.setup(config.log_format, config.log_level)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(run(config, started, load=settings, channel=channel))
            ignore_stops(runner.get_loop())
    except ListenError as exc:
        running.close()
        _fail(str(exc))
    finally:
        running.close()


def _fail(text: str) -> NoReturn:
    for line in text.splitlines():
        print(f"hubd: {line}", file=sys.stderr)
    raise typer.Exit(EXIT_CONFIG)
