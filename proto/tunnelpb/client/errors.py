"""What a call can end with: gRPC's own error, with the details the hub sends along read out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS = "grpc-status-details-bin"


class HubError(grpc.aio.AioRpcError):
    """A call that failed. Whoever catches ``grpc.aio.AioRpcError`` catches this too.

    Attributes:
        status: gRPC code.
        reason: the hub's word for it, such as ``SESSION_NOT_FOUND``; ``""`` if the error is not of the hub's making.
        message: for people.
        metadata: facts for programs, such as the holder of a name.
        fields: (path, description) of every field that was wrong.
        retry_after: seconds to wait before another try, if the hub says.
    """

    def __init__(
        self,
        status: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        fields: Sequence[tuple[str, str]] = (),
        retry_after: float | None = None,
        trailing: grpc.aio.Metadata | None = None,
    ) -> None:
        super().__init__(status, grpc.aio.Metadata(), trailing or grpc.aio.Metadata(), message)
        self.status = status
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.fields = tuple(fields)
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = self.message or self.status.name.lower().replace("_", " ")
        return f"{text} ({self.reason or self.status.name})"

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError) -> HubError:
        """Read the details of a gRPC error. Details that cannot be read are left out."""
        if isinstance(error, HubError):
            return error
        trailing = error.trailing_metadata()
        found: bytes | str | None = trailing.get(_DETAILS) if trailing is not None else None
        made = cls(error.code(), error.details() or "", trailing=trailing)
        if isinstance(found, bytes):
            try:
                made._read(status_pb2.Status.FromString(found))
            except DecodeError:
                pass
        return made

    def _read(self, status: status_pb2.Status) -> None:
        for detail in status.details:
            info, bad, retry = (
                error_details_pb2.ErrorInfo(),
                error_details_pb2.BadRequest(),
                error_details_pb2.RetryInfo(),
            )
            if detail.Unpack(info):
                self.reason, self.metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(bad):
                self.fields = tuple((fault.field, fault.description) for fault in bad.field_violations)
            elif detail.Unpack(retry):
                self.retry_after = retry.retry_delay.ToTimedelta().total_seconds()
