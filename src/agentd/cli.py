"""The command line of ``agentd``."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from agentd.commands import config as config_commands
from agentd.commands import enroll, local
from agentd.config import AgentConfig
from agentd.hubs import Hub, read_hubs, unprotected
from agentd.services import own_services
from agentd.settings import read
from carrier_api import Registry, client_context
from tunnel import commandline, inspecting, logs
from tunnel.allocator import keep_buffers
from tunnel.logs import Secret
from tunnel.loops import loop_factory
from tunnel.settings import EXIT_CONFIG, Fault, SecretFileError, SettingsError, read_secret_file
from tunnel.signals import ignore_stops
from tunnel.targets import SERVICE_NAME
from tunnel.version import VERSION

if TYPE_CHECKING:
    from agentd.app import Load

_T = TypeVar("_T")

app = typer.Typer(
    name="agentd",
    help="Private side of the tunnel: dials out to a hub and forwards its visitors to the targets listed here.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=commandline.SETTINGS,
)
app.command()(enroll.enroll)

# Flags whose setting is not called as they are.
_KEYS = {
    "agent_id": "id",
    "allow": "remote.allow",
    "ca_file": "tls.ca_file",
    "client_cert": "tls.cert",
    "client_key": "tls.key",
    "local_socket": "local.socket",
    "server_name": "tls.server_name",
}
_FLAG_NAMES = {key: "--" + flag.replace("_", "-") for flag, key in _KEYS.items() if flag != "agent_id"}

app.add_typer(config_commands.app)
app.add_typer(inspecting.plugins)
local.register(app)


@app.callback()
def _root(version: commandline.Version = False) -> None:
    """Take the options of the program itself."""


def main(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code."""
    return commandline.run(app, "agentd", arguments)


@app.command()
def version() -> None:
    """Print the version."""
    print(f"agentd {VERSION}")


@app.command()
def run(
    ctx: typer.Context,
    hub: Annotated[list[str] | None, typer.Option(help="URL of a hub, as ws://HOST:PORT. Repeatable.")] = None,
    agent_id: Annotated[str | None, typer.Option("--id", help="What to attach as.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="[NAME=]http://HOST:PORT, https://…, unix:///PATH or tcp://HOST:PORT. Repeatable; the first is the default."
        ),
    ] = None,
    expose: Annotated[list[str] | None, typer.Option(help="NAME=URL, the same by name. Repeatable.")] = None,
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="TOML file with settings (/etc/agentd/agentd.toml).")
    ] = None,
    token_file: Annotated[str | None, typer.Option(help="File with the token, - for standard input.")] = None,
    keep_host: Annotated[bool, typer.Option("--keep-host", help="Send the visitor's Host to the target.")] = False,
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, told to the hub. Repeatable.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="Service the hub may set, * for any; none by default. Repeatable.")
    ] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Directory for what the hub has set.")] = None,
    local_socket: Annotated[str | None, typer.Option(help="Path of the agent's own socket, or none.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Authorities to trust for the hub, PEM.")] = None,
    client_cert: Annotated[Path | None, typer.Option(help="Own certificate for the hub, PEM.")] = None,
    client_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    server_name: Annotated[str | None, typer.Option(help="Name to check in the hub's certificate.")] = None,
    target_ca_file: Annotated[Path | None, typer.Option(help="Authorities to trust for https targets, PEM.")] = None,
    insecure_plain_hub: Annotated[
        bool, typer.Option("--insecure-plain-hub", help="Reach a hub on another machine without TLS.")
    ] = False,
    insecure_no_credentials: Annotated[
        bool, typer.Option("--insecure-no-credentials", help="Attach elsewhere with no token or certificate.")
    ] = False,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Connect to the hubs and serve until SIGTERM or SIGINT."""
    given = {name: value or None for name, value in ctx.params.items() if name not in ("config", "expose")}
    flags = {_KEYS.get(name, name): value for name, value in given.items()} | _exposed(expose or [])
    registry = Registry.load()
    settings, hubs = _or_fail(lambda: read_settings(config, flags, registry))
    token = _token(settings)
    _run(settings, hubs, registry, token, lambda: read_settings(config, flags, registry))


def _exposed(given: list[str]) -> dict[str, object]:
    """Services from flags, as settings."""
    found: dict[str, object] = {}
    for text in given:
        name, equals, url = text.partition("=")
        if not equals or not SERVICE_NAME.fullmatch(name) or "." in name:
            _fail([Fault("--expose", "", f'{text!r} is not NAME=URL such as "web=http://127.0.0.1:8080"')])
        found[f"service.{name}.target"] = url
    return found


def read_settings(file: Path | None, flags: dict[str, object], registry: Registry) -> tuple[AgentConfig, list[Hub]]:
    """The settings of all layers, and the hubs in them.

    Args:
        file: with settings; None looks for the machine's.
        flags: by dotted key.
        registry: knows the carriers.

    Raises:
        SettingsError: with all that is wrong.
    """
    names = _FLAG_NAMES | {key: "--expose" for key in flags if key.startswith("service.")}
    try:
        loaded = read(file, flags, names)
    except SettingsError as exc:
        # What is wrong with the URLs shows only once carriers read them, and is to be told with the rest.
        urls = flags.get("hub")
        _, more = read_hubs(urls if isinstance(urls, list) else [], "any", (), registry)
        raise SettingsError([*exc.faults, *more]) from None
    settings = loaded.value
    origin = loaded.origins.get("hub", "--hub")
    targets = [service.target for service in own_services(settings)]
    hubs, faults = read_hubs(
        settings.hub, settings.id, targets, registry, token=settings.token_file is not None, where=origin
    )
    faults += unprotected(
        hubs,
        token=settings.token_file is not None,
        certificate=settings.tls.cert is not None,
        plain=settings.insecure_plain_hub,
        anonymous=settings.insecure_no_credentials,
        where=origin,
    )
    faults += _tls_faults(settings)
    if faults:
        raise SettingsError(faults)
    return settings, hubs


def _or_fail(read: Callable[[], _T]) -> _T:
    try:
        return read()
    except SettingsError as exc:
        _fail(exc.faults)


def _tls_faults(settings: AgentConfig) -> list[Fault]:
    """What is wrong with the TLS files, found by using them."""
    faults = []
    for where, options in (("TLS to the hub", settings.hub_tls), ("--target-ca-file", settings.target_tls)):
        try:
            client_context(options)
        except ValueError as exc:
            faults.append(Fault(where, "", str(exc)))
    return faults


def _token(settings: AgentConfig) -> Secret | None:
    """Read the token once: from standard input for good, from a file to find its faults before anything is tried."""
    if settings.token_file is None:
        return None
    try:
        token = read_secret_file(settings.token_file)
    except SecretFileError as exc:
        _fail([Fault("--token-file", "", str(exc))])
    return token if settings.token_file == "-" else None


def _run(settings: AgentConfig, hubs: list[Hub], registry: Registry, token: Secret | None, load: Load) -> None:
    from agentd.app import run as run_agent

    keep_buffers()
    running = logs.setup(settings.log_format, settings.log_level)
    try:
        for line in registry.failures:
            logging.getLogger("agentd").warning(line)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(run_agent(settings, hubs, token=token, load=load))
            ignore_stops(runner.get_loop())
    finally:
        running.close()


def _fail(faults: Iterable[Fault]) -> NoReturn:
    for fault in dict.fromkeys(faults):
        print(f"agentd: {fault}", file=sys.stderr)
    raise typer.Exit(EXIT_CONFIG)
