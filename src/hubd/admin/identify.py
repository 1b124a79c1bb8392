"""Who is at the other end of an admin connection: the hub's own socket, a client certificate, or a bearer token."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any

from hubd.admin.caller import LOCAL, AuthenticateAdmin, Caller
from hubd.admin.errors import ApiError, Code
from hubd.admin.gate import Context, Identify
from hubd.admin.roles import Role

_SCHEME = "bearer "


def local(context: Context) -> Caller:
    """Everybody on the hub's own socket."""
    return LOCAL


def remote(
    authenticate: AuthenticateAdmin, clients: Mapping[str, str], revoked: Callable[[bytes], bool] = lambda _: False
) -> Identify:
    """Callers on TCP.

    Args:
        authenticate: knows bearer tokens.
        clients: role by name in a client's certificate.
        revoked: whether a certificate, in DER, opens nothing any more, whatever else the caller shows.
    """

    def identify(context: Context) -> Caller | None:
        for text in context.auth_context().get("x509_pem_cert", ()):
            if revoked(ssl.PEM_cert_to_DER_cert(text.decode("ascii"))):
                raise ApiError(Code.UNAUTHENTICATED, "CERTIFICATE_REVOKED", "this client certificate was revoked")
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
