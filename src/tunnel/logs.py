"""Logging for daemons: one line per record, as text or JSON, written by a thread so that no log line blocks the loop.

Whatever a visitor sent ends up harmless here: control characters are escaped and long values cut, in messages as in
fields. Fields are given the usual way, ``logger.info("agent attached", extra={"agent": agent_id})``.
"""

from __future__ import annotations

import hmac
import json
import logging
import logging.handlers
import math
import os
import queue
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import IO, Any, Literal, NoReturn

# One value never fills a screen, and 1 KiB still shows any sane path whole.
MAX_VALUE = 1024
# Some seconds of access log at full speed, at about 1 KiB a record 10 MiB at most.
QUEUE_LIMIT = 10_000
# Lines gathered into one write; a pipe takes 64 KiB in one go.
_BATCH = 256
# Innermost frames are the telling ones; the outer ones are the event loop.
_MAX_FRAMES = 8

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_RESERVED = frozenset({"timestamp", "level", "logger", "message"})
_COLOURS = {
    logging.DEBUG: "2",
    logging.INFO: "32",
    logging.WARNING: "33",
    logging.ERROR: "31",
    logging.CRITICAL: "1;31",
}

Format = Literal["text", "json"]


class Secret:
    """A text that must not be seen: every way of printing it gives ``***``, and it cannot be pickled.

    Only ``reveal()`` hands out the value; call it where the bytes leave for the wire and nowhere else. Comparison takes
    the same time wherever the difference is. It has no hash, because a dict look-up would not.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Secret):
            return hmac.compare_digest(self._value.encode("utf-8"), other._value.encode("utf-8"))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._value)

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "Secret(***)"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")

    @classmethod
    def _validate(cls, value: object) -> Secret:
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            return cls(value)
        raise ValueError("a secret must be text")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # logging itself must not cost the import

        return core_schema.no_info_plain_validator_function(
            cls._validate,
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.to_string_ser_schema(),
        )


def clean(value: object) -> str:
    """Return ``value`` as one line of printable text: at most 1 KiB of UTF-8, control characters escaped.

    Bytes are read as UTF-8, what is not is escaped. The count of bytes cut off stands at the end.
    """
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes | bytearray) else str(value)
    cut = 0
    if len(text) > MAX_VALUE // 4:
        raw = text.encode("utf-8", "surrogatepass")
        if len(raw) > MAX_VALUE:
            cut = len(raw) - MAX_VALUE
            text = raw[:MAX_VALUE].decode("utf-8", "ignore")
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _escape(char) for char in text)
    return f"{text}...(+{cut} bytes)" if cut else text


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _field(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)  # JSON has no word for the others
    return value if value is None or isinstance(value, bool | int) else clean(value)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    return " > ".join(f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames)


class _Handler(logging.handlers.QueueHandler):
    """Makes a record final on the caller's thread and hands it over without ever waiting."""

    def __init__(self, writer: _Writer) -> None:
        super().__init__(writer.queue)
        self._writer = writer

    def prepare(self, record: logging.LogRecord) -> dict[str, object]:
        """Return what the line will say, holding no reference to the caller's objects."""
        try:
            message = record.getMessage()
        except Exception:  # a wrong format string must not cost the line, let alone the caller
            message = f"{record.msg} (arguments do not fit)"
        line: dict[str, object] = {
            "timestamp": record.created,
            "level": record.levelno,
            "logger": record.name,
            "message": clean(message),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD:
                line[f"{name}_" if name in _RESERVED else name] = _field(value)
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = clean(f"{type(error).__name__}: {error}")
            line["at"] = clean(_where(error))
        return line

    def enqueue(self, record: Any) -> None:
        """Queue the line, or count it as dropped if the queue is full."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._writer.dropped += 1

    def handleError(self, record: logging.LogRecord) -> None:
        self._writer.dropped += 1


class _Writer(threading.Thread):
    """Takes lines from the queue and writes them, many in one call. A failing stream costs lines and nothing else."""

    def __init__(self, stream: IO[str], render: Callable[[dict[str, object]], str]) -> None:
        super().__init__(name="logs", daemon=True)
        self.queue: queue.Queue[dict[str, object] | None] = queue.Queue(QUEUE_LIMIT)
        self.dropped = 0
        self._reported = 0
        self._stream = stream
        self._render = render

    def run(self) -> None:
        running = True
        while running:
            lines = [self.queue.get()]
            while len(lines) < _BATCH:
                try:
                    lines.append(self.queue.get_nowait())
                except queue.Empty:
                    break
            running = None not in lines
            self._write([line for line in lines if line is not None])

    def _write(self, lines: list[dict[str, object]]) -> None:
        if self.dropped > self._reported:
            missing, self._reported = self.dropped - self._reported, self.dropped
            lines.append(_note("log lines dropped", missing))
        try:
            text = "".join(self._render(line) + "\n" for line in lines)
            try:
                descriptor = self._stream.fileno()
            except (OSError, ValueError, AttributeError):  # not a file, or closed
                self._stream.write(text)
                self._stream.flush()
            else:
                # Past the stream's own buffer: what a closed pipe refused would spoil the interpreter's exit.
                _write_all(descriptor, text.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError, TypeError):
            self.dropped += len(lines)
            self._reported = self.dropped


def _note(message: str, count: int) -> dict[str, object]:
    head = {"timestamp": time.time(), "level": logging.WARNING, "logger": __name__}
    return {**head, "message": message, "count": count}


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # somebody else made the shared terminal non-blocking
            waiter = select.poll()
            waiter.register(descriptor, select.POLLOUT)
            waiter.poll(1000)


def _stamp(seconds: object) -> str:
    value = float(seconds) if isinstance(seconds, int | float) else 0.0
    millis = int(value * 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(millis // 1000)) + f".{millis % 1000:03d}Z"


def _level_name(line: dict[str, object]) -> str:
    level = line["level"]
    return logging.getLevelName(level) if isinstance(level, int) else "NOTSET"


def _render_json(line: dict[str, object]) -> str:
    head = {"timestamp": _stamp(line["timestamp"]), "level": _level_name(line).lower()}
    # ASCII only: no terminal, however old, can be steered by what is left.
    return json.dumps({**line, **head})


def _quoted(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = str(value)
    plain = text and not any(char in ' "=\\' for char in text)
    return text if plain else '"' + text.replace('"', '\\"') + '"'


def _render_text(line: dict[str, object], *, colour: bool) -> str:
    level = _level_name(line)
    shown = f"{level:<7}"
    if colour and isinstance(line["level"], int):
        shown = f"\x1b[{_COLOURS.get(line['level'], '0')}m{shown}\x1b[0m"
    fields = "".join(f" {name}={_quoted(value)}" for name, value in line.items() if name not in _RESERVED)
    return f"{_stamp(line['timestamp'])} {shown} {line['logger']}: {line['message']}{fields}"


class Logs:
    """Running logging, as returned by ``setup``."""

    def __init__(self, writer: _Writer, handler: logging.Handler) -> None:
        self._writer = writer
        self._handler = handler

    @property
    def dropped(self) -> int:
        """Lines lost so far, to a full queue or a closed pipe."""
        return self._writer.dropped

    def close(self, timeout: float = 2.0) -> None:
        """Write what is queued and stop, in ``timeout`` seconds at most: a pipe nobody reads must not hold up the exit."""
        logging.getLogger().removeHandler(self._handler)
        logging.captureWarnings(False)
        if not self._writer.is_alive():
            return
        deadline = time.monotonic() + timeout
        try:
            self._writer.queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._writer.join(max(0.0, deadline - time.monotonic()))


_active: list[Logs] = []


def setup(format: Format = "text", level: str | int = "info", *, stream: IO[str] | None = None) -> Logs:
    """Send all logging of the process to ``stream`` (standard error by default) in the given format.

    ``level`` is a name in any case or a number. Calling again replaces the former set-up. Colours are used in text on a
    terminal unless ``NO_COLOR`` is set. Call ``close()`` on the result at the end. Raises ValueError for an unknown level.
    """
    root = logging.getLogger()
    root.setLevel(level.upper() if isinstance(level, str) else level)
    while _active:
        _active.pop().close()
    target = sys.stderr if stream is None else stream
    colour = not os.environ.get("NO_COLOR") and target.isatty()
    writer = _Writer(target, _render_json if format == "json" else lambda line: _render_text(line, colour=colour))
    handler = _Handler(writer)
    logging.captureWarnings(True)
    root.addHandler(handler)
    writer.start()
    logs = Logs(writer, handler)
    _active.append(logs)
    return logs


def dropped() -> int:
    """Lines the process's logging has lost so far."""
    return sum(logs.dropped for logs in _active)


class RejectLog:
    """Logs refusals, at most ``per_second`` lines a second for each reason, and says how many it left out.

    ``reason`` is one of a small fixed set, never something a peer sent. Not for use from several threads.
    """

    def __init__(
        self, logger: logging.Logger, *, per_second: int = 100, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._per_second = per_second
        self._clock = clock
        self._second = 0
        self._counts: dict[str, int] = {}
        self._suppressed: dict[str, int] = {}

    def reject(self, reason: str, message: str, *, level: int = logging.INFO, **fields: object) -> bool:
        """Log one refusal with its fields, unless this second's share is used up. Returns whether it was logged."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._counts.clear()
        count = self._counts[reason] = self._counts.get(reason, 0) + 1
        if count > self._per_second:
            self._suppressed[reason] = self._suppressed.get(reason, 0) + 1
            return False
        extra: dict[str, object] = {"reason": reason, **fields}
        if suppressed := self._suppressed.pop(reason, 0):
            extra["suppressed"] = suppressed
        self._logger.log(level, message, extra=extra)
        return True

    def flush(self) -> None:
        """Report what was left out and has not been told yet; for a slow timer and for the end."""
        for reason, count in self._suppressed.items():
            self._logger.info("refusals not logged", extra={"reason": reason, "suppressed": count})
        self._suppressed.clear()
