"""What every call passes: who calls, may they, what became of it, and errors in the form clients know.

Refusals keep the shape of the call (one answer or many), or the client would not see them as such.
"""

from __future__ import annotations

import inspect
import logging
import secrets
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from hubd.admin.caller import Caller, current, enter
from hubd.admin.errors import ApiError, Code
from hubd.admin.roles import MUTATING, ROLES, Role

if TYPE_CHECKING:
    from hubd.state import Hub

logger = logging.getLogger("hubd.admin")
audit = logging.getLogger("hubd.audit")

Context = Any
"""grpc.aio.ServicerContext, whose type parameters say nothing here."""

Identify = Callable[[Context], Caller | None]
"""Knows the caller by the connection and the metadata; None for nobody in particular. Raises ApiError for a bad try."""

_Decode = Callable[[bytes], Any]

_KINDS = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


class Gate(grpc.aio.ServerInterceptor):
    """The one interceptor.

    Args:
        hub: whose log and events are told.
        identify: knows callers.
        roles: role by method; what is not in it is refused.
    """

    def __init__(self, hub: Hub, identify: Identify, roles: Mapping[str, Role] = ROLES) -> None:
        self._hub = hub
        self._identify = identify
        self._roles = roles
        # gRPC asks for every call, and finds the same handlers each time.
        self._wrapped: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """Called by gRPC for every call."""
        handler = await continuation(details)
        if handler is None:
            return None
        method: str = details.method
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            known = self._wrapped[method] = (handler, self._wrap(handler, method))
        return known[1]

    def _wrap(self, handler: Any, method: str) -> Any:
        """The handler with the gate before it, of the same shape."""
        streams_in, streams_out = handler.request_streaming, handler.response_streaming
        inner = getattr(handler, _KINDS[streams_in, streams_out])
        # Single requests are read behind the gate: gRPC would read those of strangers too, and log each that is broken
        # as a fault of ours.
        read, decode = (handler.request_deserializer, None) if streams_in else (None, handler.request_deserializer)
        # Servicers of gRPC's own write to the context; ours are generators.
        generates = inspect.isasyncgenfunction(inner)
        behaviour: Any = (self._many if generates else self._single)(inner, method, decode)
        make = getattr(grpc, f"{_KINDS[streams_in, streams_out]}_rpc_method_handler")
        return make(behaviour, read, _encoder(handler.response_serializer))

    def _single(
        self, inner: Callable[..., Awaitable[Any]], method: str, decode: _Decode | None
    ) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            try:
                self._admit(method, context)
                request = _decoded(request, decode)
                answer = await inner(request, context)
            except Exception as exc:
                await self._fail(exc, method, request, context)
            self._note(method, request, "OK")
            return answer

        return call

    def _many(
        self, inner: Callable[..., AsyncIterator[Any]], method: str, decode: _Decode | None
    ) -> Callable[..., AsyncIterator[Any]]:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                self._admit(method, context)
                request = _decoded(request, decode)
                async for answer in inner(request, context):
                    yield answer
            except Exception as exc:
                await self._fail(exc, method, request, context)

        return call

    def _admit(self, method: str, context: Context) -> None:
        """Raises ApiError unless the caller may do this; makes them the current caller."""
        wanted = self._roles.get(method)
        caller = self._identify(context)
        if caller is not None:
            enter(caller)
        if wanted is Role.NONE:
            return
        if caller is None:
            raise ApiError(
                Code.UNAUTHENTICATED, "CREDENTIALS_MISSING",
                "a token is needed: send authorization: Bearer TOKEN (tunnelctl: --token-file)",
            )  # fmt: skip
        if wanted is None or caller.role < wanted:
            needed = "nobody" if wanted is None else wanted.name.lower()
            has = f"the role {caller.role.name.lower()}" if caller.role else "no role here"
            raise ApiError(
                Code.PERMISSION_DENIED, "ROLE_REQUIRED",
                f"{caller.actor} has {has}, this needs {needed}",
                metadata={"role": caller.role.name, "needed": needed.upper()},
            )  # fmt: skip

    async def _fail(self, exc: Exception, method: str, request: Any, context: Context) -> NoReturn:
        """End the call with what went wrong."""
        if isinstance(exc, grpc.aio.AbortError):
            raise exc
        error = exc if isinstance(exc, ApiError) else self._unforeseen(exc, method)
        if error.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED):
            self._denied(error, method, context)
        self._note(method, request, error.reason)
        await context.abort(error.code, error.message, error.trailers())
        raise AssertionError("abort returns never")

    def _unforeseen(self, exc: Exception, method: str) -> ApiError:
        if isinstance(exc, sqlite3.Error):
            logger.error("the store failed: %s", exc, extra={"call": method})
            return ApiError(Code.UNAVAILABLE, "STORE_UNAVAILABLE", "the hub cannot use its store at the moment")
        incident = secrets.token_hex(6)
        logger.error("a call failed", exc_info=exc, extra={"call": method, "incident": incident})
        return ApiError(
            Code.INTERNAL, "BUG", f"a fault of the hub; its log has more under incident {incident}",
            metadata={"incident": incident},
        )  # fmt: skip

    def _denied(self, error: ApiError, method: str, context: Context) -> None:
        actor = _actor()
        peer = str(context.peer())
        shown = self._hub.rejects.reject(
            "admin_denied", f"management call refused: {error.reason}", call=method, actor=actor, peer=peer
        )
        if shown:
            # At the same rate as the log: whoever guesses must not push other events out of the ring.
            self._hub.events.emit("auth", "auth.denied", method, error.message, actor=actor, peer=peer)

    def _note(self, method: str, request: Any, outcome: str) -> None:
        """Leave the audit line of a call that changes something."""
        if method in MUTATING:
            audit.info(
                "management call",
                extra={"actor": _actor(), "call": method, "subject": _subject(request), "outcome": outcome},
            )


def _decoded(request: Any, decode: _Decode | None) -> Any:
    """The request as a message; what gRPC has read already stays as it is."""
    if decode is None:
        return request
    try:
        return decode(request)
    except DecodeError:
        raise ApiError(
            Code.INVALID_ARGUMENT, "REQUEST_MALFORMED", "the request is not a message of this method's kind"
        ) from None


def _encoder(serialize: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Passes on what is encoded already: answers that many watchers share."""
    return lambda answer: answer if type(answer) is bytes else serialize(answer)


def _actor() -> str:
    try:
        return current().actor
    except LookupError:
        return "nobody"


def _subject(request: Any) -> str:
    """The name a request is about."""
    for field in ("name", "route_id", "agent", "route", "level"):
        value = getattr(request, field, "")
        found = value if isinstance(value, str) else getattr(value, "name", "") or getattr(value, "host", "")
        if found:
            return str(found)
    return ""
