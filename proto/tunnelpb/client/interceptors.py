"""What every call gets: a deadline where it answers once, the token, and typed errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from tunnelpb.client.errors import HubError

Details = grpc.aio.ClientCallDetails


def chain(timeout: float, token: str | None) -> list[grpc.aio.ClientInterceptor]:
    """Return the interceptors of a channel."""
    return [_Unary(timeout, token), _Stream(token)]


def _with(details: Details, timeout: float | None, token: str | None) -> Details:
    metadata = details.metadata
    if token is not None:
        metadata = grpc.aio.Metadata(*(metadata or ()))
        metadata.add("authorization", f"Bearer {token}")
    chosen = timeout if details.timeout is None else details.timeout
    return Details(details.method, chosen, metadata, details.credentials, details.wait_for_ready)


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, timeout: float, token: str | None) -> None:
        self._timeout, self._token = timeout, token

    async def intercept_unary_unary(
        self, continuation: Callable[[Details, Any], Awaitable[Any]], client_call_details: Details, request: Any
    ) -> Any:
        call = await continuation(_with(client_call_details, self._timeout, self._token), request)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise HubError.of(error) from None
        return call


class _Stream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, token: str | None) -> None:
        self._token = token

    async def intercept_unary_stream(
        self, continuation: Callable[[Details, Any], Awaitable[Any]], client_call_details: Details, request: Any
    ) -> Any:
        return await continuation(_with(client_call_details, None, self._token), request)
