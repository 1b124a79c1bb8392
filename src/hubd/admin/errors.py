"""Errors of the management API, and how they travel: google.rpc.Status with ErrorInfo and what else a client can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "tunnelpb"
STATUS_KEY = "grpc-status-details-bin"
"""Trailing metadata with the whole google.rpc.Status."""
RESUME_KEY = "resume-token"
"""Trailing metadata with the place where a watch that the hub ended goes on."""
# Names in an error are an agent's or a client's words. Clients take 8 KiB of trailers by default, in which the message
# is found twice, once with three bytes for each that is not ASCII, and the status with four thirds of its size.
MAX_VALUE = 200
MAX_MESSAGE = 600
MAX_FIELDS = 3000

Code = grpc.StatusCode


class ApiError(Exception):
    """A call that fails in a way the client is told.

    Args:
        code: gRPC's.
        reason: stable name in capitals, for programs.
        message: one line for people.
        metadata: facts for programs, such as the holder of a name.
        fields: faults of the request, each with the field's path.
        retry_after: seconds after which it may work.
        trailing: further trailing metadata.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        fields: Sequence[tuple[str, str]] = (),
        retry_after: float | None = None,
        trailing: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = _cut(message, MAX_MESSAGE)
        self.metadata = dict(metadata or {})
        self.fields = list(fields)
        self.retry_after = retry_after
        self.trailing = tuple(trailing)

    def status(self) -> status_pb2.Status:
        """The whole of it as the message clients know."""
        info = error_details_pb2.ErrorInfo(
            reason=self.reason,
            domain=DOMAIN,
            metadata={name: _cut(value, MAX_VALUE) for name, value in self.metadata.items()},
        )
        details: list[message.Message] = [info]
        if self.fields:
            details.append(_bad_request(self.fields))
        if self.retry_after is not None:
            delay = duration_pb2.Duration()
            delay.FromMilliseconds(round(self.retry_after * 1000))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        packed = []
        for detail in details:
            item = any_pb2.Any()
            item.Pack(detail)
            packed.append(item)
        return status_pb2.Status(code=self.code.value[0], message=self.message, details=packed)

    def trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        """Trailing metadata of the call."""
        return ((STATUS_KEY, self.status().SerializeToString()), *self.trailing)


def _cut(text: str, most: int) -> str:
    """As much of it as has at most so many bytes on the wire."""
    return text.encode(errors="replace")[:most].decode(errors="ignore")


def _bad_request(fields: Sequence[tuple[str, str]]) -> error_details_pb2.BadRequest:
    """All faults, or as many as there is room for and how many more there are."""
    bad = error_details_pb2.BadRequest()
    for count, (name, text) in enumerate(fields):
        fault = bad.field_violations.add(field=_cut(name, MAX_VALUE), description=_cut(text, 2 * MAX_VALUE))
        if bad.ByteSize() > MAX_FIELDS:
            fault.field, fault.description = "", f"{len(fields) - count} more"
            break
    return bad


def invalid(*fields: tuple[str, str]) -> ApiError:
    """A request with faults in these fields."""
    text = "; ".join(f"{name}: {fault}" for name, fault in fields)
    return ApiError(Code.INVALID_ARGUMENT, "FIELD_INVALID", text, fields=fields)


def not_found(kind: str, name: str) -> ApiError:
    """Nothing of this kind has the name.

    Args:
        kind: "session", "agent", "route", "token", "hub" or "config".
        name: as asked for.
    """
    return ApiError(
        Code.NOT_FOUND, f"{kind.upper()}_NOT_FOUND", f"no {kind} {name[:MAX_VALUE]}", metadata={"name": name}
    )


def etag_mismatch(name: str, etag: str) -> ApiError:
    """The row changed since it was read.

    Args:
        name: of the row.
        etag: its present one.
    """
    return ApiError(
        Code.ABORTED, "ETAG_MISMATCH", f"{name} has changed: read it again", metadata={"name": name, "etag": etag}
    )


class Faults:
    """Gathers all that is wrong with a request."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def add(self, field: str, fault: str) -> None:
        """One more."""
        self._found.append((field, fault))

    def check(self) -> None:
        """Raises ApiError if there is any."""
        if self._found:
            raise invalid(*self._found)
