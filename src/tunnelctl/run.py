"""One run of a command: its options, its hub, and where its words go."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tunnelctl.options import Options, Output
from tunnelctl.problems import Code, Problem, of_hub
from tunnelctl.text import plural, printable

if TYPE_CHECKING:
    from tunnelctl.locate import Place
    from tunnelctl.settings import Settings
    from tunnelpb.client import Hub, HubError

# gRPC's C core writes lines of its own to standard error, about handshakes that fail; the error itself says it better.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


class Run:
    """What commands are given.

    Attributes:
        options: shared options as given.
        code: exit code if nothing goes wrong from here; commands that did a part set it.
        noted: something was said beside the result; whoever draws pictures sets it back.
    """

    def __init__(self, options: Options, environ: Mapping[str, str] | None = None) -> None:
        self.options = options
        self.environ = os.environ if environ is None else environ
        self.code = Code.OK
        self.noted = False
        self._settings: Settings | None = None
        self._place: Place | None = None

    # --- settings

    @property
    def settings(self) -> Settings:
        """Settings of file and environment, with the flags that are settings too. Raises Problem."""
        if self._settings is None:
            from tunnelctl import settings

            flags = {"timeout": self.options.timeout, "output": self.options.output}
            self._settings = settings.read(self.environ, flags)
        return self._settings

    @property
    def output(self) -> Output:
        """How results are printed."""
        return self.options.output or self.settings.output

    @property
    def errors_as_json(self) -> bool:
        """Whether errors are for programs. Does not read files, whose faults may be the error."""
        return (self.options.output or self.environ.get("TUNNELCTL_OUTPUT")) in (Output.JSON, Output.JSONL)

    @property
    def color(self) -> bool:
        """Whether standard output takes colours."""
        plain = self.options.no_color or self.environ.get("NO_COLOR") or self.environ.get("TERM") == "dumb"
        return not plain and sys.stdout.isatty()

    # --- the hub

    def place(self) -> Place:
        """Choose the hub. Raises Problem."""
        from tunnelctl.locate import locate

        return locate(self.options, self.settings, self.environ)

    @asynccontextmanager
    async def hub(self, *, timeout: float | None = None) -> AsyncIterator[Hub]:
        """Open the hub; what calls in the block end with becomes a Problem."""
        from tunnelpb.client import HubError, connect

        place = self._place = self.place()
        start = time.monotonic()
        self.detail(f"hub {place.address} ({place.origin})")
        deadline = self.settings.timeout if timeout is None else timeout
        secret = place.token.reveal() if place.token is not None else None
        try:
            hub = connect(place.address, token=secret, tls=_tls(place), timeout=deadline)
        except ValueError as error:
            raise Problem(str(error), code=Code.USAGE, reason="BAD_ADDRESS") from None
        async with hub:
            try:
                yield hub
            except HubError as error:
                raise self.explain(error) from None
            finally:
                self.detail(f"{time.monotonic() - start:.3f} s")

    def explain(self, error: HubError) -> Problem:
        """Return what a call's error means to the user."""
        place = self._place
        if place is not None and place.is_tls and error.status.name == "UNAVAILABLE" and not error.reason:
            from tunnelctl import tlsfiles
            from tunnelpb.client import Address

            where = Address.parse(place.address)
            if (problem := tlsfiles.explain(where.host, where.port, place.address, place.context)) is not None:
                return problem
        return of_hub(error, place.address if place is not None else "", timeout=self.settings.timeout)

    # --- words

    def note(self, text: str) -> None:
        """Say something beside the result."""
        if not self.options.quiet:
            self.noted = True
            print(printable(text), file=sys.stderr, flush=True)

    def detail(self, text: str) -> None:
        """Say something only those who asked for details want."""
        if self.options.verbose:
            print(printable(text), file=sys.stderr, flush=True)

    def show(self, kind: str, rows: Iterable[dict[str, Any]]) -> None:
        """Print rows of one kind in the form asked for."""
        from tunnelctl.render import show

        show(kind, list(rows), self.output, color=self.color)

    def show_one(self, kind: str, row: dict[str, Any]) -> None:
        """Print a single row: a table shows it field by field."""
        from tunnelctl.render import show_one

        show_one(kind, row, self.output)

    def show_done(self, kind: str, done: list[dict[str, Any]], sentence: Callable[[dict[str, Any]], str]) -> None:
        """Print what was done: a sentence each for people, rows for programs."""
        if self.output.for_people:
            for row in done:
                print(printable(sentence(row)))
        else:
            self.show(kind, done)

    # --- care

    def sure(self, verb: str, names: Sequence[str], *, yes: bool, dry_run: bool, one: str = "session") -> bool:
        """Ask before something hits more than one. Returns whether to go on. Raises Problem if nobody can be asked."""
        if dry_run:
            for name in names:
                print(printable(name))
            self.note(f"would {verb} {plural(len(names), one)}; nothing was done")
            return False
        if len(names) < 2 or yes:
            return bool(names)
        if not sys.stdin.isatty():
            raise Problem(
                f"to {verb} {plural(len(names), one)} needs --yes",
                hint="--dry-run shows which",
                code=Code.USAGE,
                reason="NEEDS_YES",
            )
        for name in names:
            print(f"  {printable(name)}", file=sys.stderr)
        print(f"{verb} {plural(len(names), one)}? [y/N] ", file=sys.stderr, end="", flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
        raise Problem("nothing was done", reason="REFUSED")

    def conclude(self, wanted: int, problems: Sequence[Problem]) -> None:
        """Tell what failed of several. Sets the exit code: the first failure's if all failed, else PARTIAL."""
        for problem in problems:
            problem.tell(as_json=self.errors_as_json)
        if problems:
            self.code = problems[0].code if len(problems) == wanted else Code.PARTIAL


def _tls(place: Place) -> Any:
    if not place.is_tls:
        return None
    from tunnelctl import tlsfiles
    from tunnelpb.client import Tls

    files = place.context
    tlsfiles.check(files)
    return Tls(files.ca_file, files.cert_file, files.key_file, files.server_name)
