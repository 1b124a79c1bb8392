"""Names of the API, such as ``sessions/01jd4k7q``, and single fields of requests, read and written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, overload

from google.protobuf import duration_pb2, timestamp_pb2

from hubd.admin.errors import Faults, invalid

if TYPE_CHECKING:
    from google.protobuf import message

# What an attach path and a certificate's name can hold; everything else the hub makes itself.
_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
# One line on a screen and in a log.
MAX_REASON = 200
# protobuf's longest duration is 10,000 years; no deadline here means more than a year.
MAX_SECONDS = 366 * 86400.0


def take(collection: str, name: str, field: str, faults: Faults | None = None) -> str:
    """The id in a name.

    Args:
        collection: "sessions", "agents" and so on.
        name: as given.
        field: of the request, for the error.
        faults: gets what is wrong; without it that is raised.

    Raises:
        ApiError: it is no such name.
    """
    head, slash, rest = name.partition("/")
    if head == collection and slash and _ID.fullmatch(rest):
        return rest
    fault = f'"{collection}/{{id}}" is wanted' if name else f'required: "{collection}/{{id}}"'
    if faults is None:
        raise invalid((field, fault))
    faults.add(field, fault)
    return ""


def seconds(
    request: message.Message,
    field: str,
    default: float,
    *,
    least: float = 0.0,
    most: float = MAX_SECONDS,
    faults: Faults | None = None,
) -> float:
    """A duration of a request in seconds.

    Args:
        request: that holds it.
        field: its name.
        default: if it is unset.
        least: that is allowed.
        most: that is allowed.
        faults: gets what is wrong; without it that is raised.

    Raises:
        ApiError: it is outside of these bounds.
    """
    if not request.HasField(field):
        return default
    given: duration_pb2.Duration = getattr(request, field)
    value = given.seconds + given.nanos / 1e9
    if least <= value <= most:
        return value
    fault = f"must be between {least:g} and {most:g} seconds"
    if faults is None:
        raise invalid((field, fault))
    faults.add(field, fault)
    return default


def reason_of(text: str, faults: Faults) -> str:
    """A reason people gave: one printable line, since it goes to logs and agents."""
    if len(text) > MAX_REASON or not text.isprintable():
        faults.add("reason", f"must be printable text of at most {MAX_REASON} characters")
    return text


@overload
def stamp(seconds: float) -> timestamp_pb2.Timestamp: ...


@overload
def stamp(seconds: float | None) -> timestamp_pb2.Timestamp | None: ...


def stamp(seconds: float | None) -> timestamp_pb2.Timestamp | None:
    """Seconds since the epoch as a message; None stays None, which leaves a field unset."""
    if seconds is None:
        return None
    whole = int(seconds)
    return timestamp_pb2.Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e6) * 1000)


def span(seconds: float | None) -> duration_pb2.Duration | None:
    """Seconds as a message; None stays None."""
    if seconds is None:
        return None
    whole = int(seconds)
    return duration_pb2.Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
