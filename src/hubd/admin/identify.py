"""Who is at the other end of an admin connection: the hub's own socket, a client certificate, or a bearer token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubd.admin.caller import LOCAL, AuthenticateAdmin, Caller
from hubd.admin.errors import ApiError, Code
from hubd.admin.gate import Context, Identify
from hubd.admin.roles import Role

_SCHEME = "bearer "


def local(context: Context) -> Caller:
    """Everybody on the hub's own socket."""
    return LOCAL


def remote(authenticate: AuthenticateAdmin, clients: Mapping[str, str]) -> Identify:
    """Callers on TCP.

    Args:
        authenticate: knows bearer tokens.
        clients: role by name in a client's certificate.
    """

    def identify(context: Context) -> Caller | None:
        secret = _bearer(context)
        if secret is not None:
            caller = authenticate(secret)
            if caller is None:
                raise ApiError(Code.UNAUTHENTICATED, "TOKEN_INVALID", "this token opens nothing here")
            return caller
        return _certified(context, clients)

    return identify


def _bearer(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            text = value if isinstance(value, str) else value.decode("latin-1")
            if text[: len(_SCHEME)].lower() != _SCHEME:
                raise ApiError(Code.UNAUTHENTICATED, "TOKEN_INVALID", "authorization is to be: Bearer TOKEN")
            return text[len(_SCHEME) :].strip()
    return None


def _certified(context: Context, clients: Mapping[str, str]) -> Caller | None:
    """The caller by the names in its certificate: the first that has a role."""
    found: Mapping[str, Any] = context.auth_context()
    names = [
        name.decode("utf-8", "replace")
        for key in ("x509_subject_alternative_name", "x509_common_name")
        for name in found.get(key, ())
    ]
    for name in names:
        if name in clients:
            return Caller(f"cert/{name}", Role[clients[name].upper()])
    return Caller(f"cert/{names[0]}", Role.NONE) if names else None
