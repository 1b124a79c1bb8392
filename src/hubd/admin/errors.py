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
# Names in an error are an agent's or a client's words; a trailer holds 8 KiB by default.
MAX_VALUE = 200

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
        self.message = message
        self.metadata = dict(metadata or {})
        self.fields = list(fields)
        self.retry_after = retry_after
        self.trailing = tuple(trailing)

    def status(self) -> status_pb2.Status:
        """The whole of it as the message clients know."""
        info = error_details_pb2.ErrorInfo(
            reason=self.reason,
            domain=DOMAIN,
            metadata={name: value[:MAX_VALUE] for name, value in self.metadata.items()},
        )
        details: list[message.Message] = [info]
        if self.fields:
            violations = [
                error_details_pb2.BadRequest.FieldViolation(field=name, description=text) for name, text in self.fields
            ]
            details.append(error_details_pb2.BadRequest(field_violations=violations))
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


def invalid(*fields: tuple[str, str]) -> ApiError:
    """A request with faults in these fields."""
    text = "; ".join(f"{name}: {fault}" for name, fault in fields)
    return ApiError(Code.INVALID_ARGUMENT, "FIELD_INVALID", text[:1000], fields=fields)


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
