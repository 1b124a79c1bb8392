"""Every secret of every test is a canary: none may show in a log, an error body, a metric, a trace or an argument list.

Tokens and private keys are known by their form, whoever makes them; other secrets when they become a `Secret`. All
logging of our packages is looked at down to debug level, whatever level a test sets. Is loaded by the tests' conftest.
"""

from __future__ import annotations

import asyncio.subprocess
import logging
import re
import subprocess
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hubd.metrics import Metrics
from tunnel.logs import Secret

_FORMS = re.compile(r"tun_[ajmv]_[0-9A-Za-z]{11}_[0-9A-Za-z]{43}|-----BEGIN [A-Z ]*PRIVATE KEY-----")
# Shorter ones are words that a log may well have for other reasons.
_LEAST = 12
_OURS = ("agentd", "carrier_", "hook_api", "hubd", "tunnel", "yamux")
_PLAIN = frozenset(vars(logging.makeLogRecord({})))


class Watch:
    """Knows the secrets and where they showed.

    Attributes:
        hits: a line for each secret seen, with where.
    """

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self._pattern: re.Pattern[str] | None = None
        self.hits: list[str] = []

    def keep(self, secret: str) -> None:
        """Know one more."""
        if len(secret) >= _LEAST and secret not in self._known and not _FORMS.match(secret):
            self._known[secret] = None
            self._pattern = None

    def found(self, text: str | bytes) -> str:
        """The first secret in a text, or ""."""
        if isinstance(text, bytes):
            text = text.decode("latin-1")
        hit = _FORMS.search(text)
        if hit is None and self._known:
            if self._pattern is None:
                self._pattern = re.compile("|".join(map(re.escape, self._known)))
            hit = self._pattern.search(text)
        return hit[0] if hit else ""

    def look(self, place: str, text: str | bytes) -> None:
        """Note it if a secret shows there."""
        secret = self.found(text)
        if secret:
            if isinstance(text, bytes):
                text = text.decode("latin-1")
            at = text.index(secret)
            self.hits.append(f"{place}: …{text[max(0, at - 200) : at + 200]}…")

    def look_into(self, folder: Path) -> None:
        """Look into the logs a test has left in a folder."""
        for path in folder.rglob("*.log"):
            if path.is_file():
                self.look(str(path), path.read_bytes())

    def take(self) -> list[str]:
        """What was noted since the last call."""
        hits, self.hits = self.hits, []
        return hits

    def assert_unseen(self, place: str, text: str | bytes) -> None:
        """Raise AssertionError if a secret shows there."""
        assert not self.found(text), f"a secret shows in {place}:\n{text!r}"


WATCH = Watch()


def written(record: logging.LogRecord) -> str:
    """All that any formatter could make of a record."""
    texts = [f"{name}={_text(value)}" for name, value in vars(record).items() if name not in _PLAIN]
    try:
        texts.append(record.getMessage())
    except Exception:
        # Arguments that do not fit: the formatter has an answer to that, and so its test.
        texts += map(_text, (record.msg, *(record.args or ())))
    trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info and record.exc_info[0] else ""
    return " ".join((*texts, trace))


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return "(no text)"


def _watch_logging(patch: pytest.MonkeyPatch, watch: Watch) -> None:
    enabled, handle = logging.Logger.isEnabledFor, logging.Logger.handle

    def is_enabled(logger: logging.Logger, level: int) -> bool:
        return logger.name.startswith(_OURS) or enabled(logger, level)

    def handle_too(logger: logging.Logger, record: logging.LogRecord) -> None:
        watch.look(f"the log of {record.name}", written(record))
        if enabled(logger, record.levelno):
            handle(logger, record)

    patch.setattr(logging.Logger, "isEnabledFor", is_enabled)
    patch.setattr(logging.Logger, "handle", handle_too)


def _watch_programs(patch: pytest.MonkeyPatch, watch: Watch) -> None:
    """Arguments of every program that is started, and what it says on standard error."""
    popen, talk = subprocess.Popen.__init__, subprocess.Popen.communicate
    start, talk_later = asyncio.create_subprocess_exec, asyncio.subprocess.Process.communicate

    def look_at(words: Any) -> None:
        if not isinstance(words, str | bytes):
            words = " ".join(map(str, words)) if isinstance(words, Iterable) else str(words)
        watch.look("arguments", words)

    def popen_too(self: subprocess.Popen[Any], args: Any, *rest: Any, **options: Any) -> None:
        look_at(args)
        popen(self, args, *rest, **options)

    def talk_too(self: subprocess.Popen[Any], *args: Any, **options: Any) -> tuple[Any, Any]:
        out, error = talk(self, *args, **options)
        watch.look("standard error", error or "")
        return out, error

    async def start_too(*args: Any, **options: Any) -> asyncio.subprocess.Process:
        look_at(args)
        return await start(*args, **options)

    async def talk_later_too(self: asyncio.subprocess.Process, input: Any = None) -> tuple[bytes, bytes]:
        out, error = await talk_later(self, input)
        watch.look("standard error", error or "")
        return out, error

    patch.setattr(subprocess.Popen, "__init__", popen_too)
    patch.setattr(subprocess.Popen, "communicate", talk_too)
    patch.setattr(asyncio, "create_subprocess_exec", start_too)
    patch.setattr(asyncio.subprocess.Process, "communicate", talk_later_too)


@pytest.fixture(scope="session", autouse=True)
def canaries() -> Iterator[Watch]:
    """Look at everything, from the first test on."""
    watch = WATCH
    init, render = Secret.__init__, Metrics.render

    def init_too(self: Secret, value: str) -> None:
        init(self, value)
        watch.keep(value)

    def render_too(self: Metrics) -> bytes:
        page = render(self)
        watch.look("/metrics", page)
        return page

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Secret, "__init__", init_too)
        patch.setattr(Metrics, "render", render_too)
        _watch_logging(patch, watch)
        _watch_programs(patch, watch)
        yield watch


@pytest.fixture(autouse=True)
def no_canary_shows(canaries: Watch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test in which a secret showed. Is set up first, so it looks when all of the test is over."""
    yield
    # The folder is there only if the test has asked for it.
    folder = getattr(request.node, "funcargs", {}).get("tmp_path")
    if folder is not None:
        canaries.look_into(folder)
    hits = canaries.take()
    assert not hits, "secrets show in\n" + "\n".join(hits)
