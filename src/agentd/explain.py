"""What went wrong with a hub, as one line that names the thing and what to do about it. Pure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tunnel.attach import AttachFailed, AttachRefused
from tunnel.settings import SecretFileError
from yamux import KeepaliveTimeout, RemoteGoAway, YamuxError

if TYPE_CHECKING:
    from agentd.hubs import Hub

_REFUSED = {
    401: "give a valid token with --token-file",
    403: "the token may not attach as this agent: use its own id with --id, or another token",
    404: "check the URL's path and the id",
    409: "another agent holds this id: choose another --id",
    426: "the hub takes no {scheme}:// carrier: use another scheme",
}

# Refusals whose message says itself what to do.
_SELF_EXPLAINED = ("attach_insecure", "agent_taken", "agent_denied", "certificate_revoked")


def explain_failure(error: Exception, hub: Hub) -> str:
    """Why an attempt to attach failed, and the remedy where there is one."""
    if isinstance(error, AttachRefused):
        if error.status < 400:
            # No hub of any kind answers so; what does is a web server, or a proxy that sends people elsewhere.
            hint = "a redirect is not followed: give the URL it leads to" if error.status >= 300 else "check the URL"
            return f"what answers at {hub.place} is no hub: it answered {error.status}; {hint}"
        known = error.code not in _SELF_EXPLAINED
        hint = _REFUSED.get(error.status, "").format(scheme=hub.address.scheme) if known else ""
        text = f"hub {hub.place} refused agent {hub.agent_id}: {error.status} {error.code}: {error.message}"
        return f"{text}; {hint}" if hint else text
    if isinstance(error, SecretFileError):
        return f"cannot attach to hub {hub.place}: {error}"
    if isinstance(error, AttachFailed):
        return _explain_attach(error, hub)
    return f"cannot attach to hub {hub.place}: {type(error).__name__}: {error}"


def _explain_attach(error: AttachFailed, hub: Hub) -> str:
    place, message = hub.place, error.message
    if error.code in ("dial_failed", "dial_timeout"):
        where = hub.address.authority
        refused = isinstance(error.__cause__, ConnectionRefusedError)
        hint = "is hubd running there?" if refused else "check the address, and that nothing on the way blocks it"
        return f"cannot reach hub {place}: {message.removeprefix(f'cannot connect to {where}: ')}; {hint}"
    if error.code == "tls_failed":
        hint = "if the hub's certificate comes from a private authority, give that authority's file with --ca-file"
        return f"no secure connection to hub {place}: {message}; {hint}"
    if error.code == "insecure_carrier":
        return f"no token is sent to hub {place}: {message}; use wss:// or tls://"
    if error.code == "bad_tls":
        return f"cannot use the TLS settings for hub {place}: {message}"
    if error.code in ("bad_response", "upgrade_mismatch"):
        return f"what answers at {place} is no hub: {message}; check the URL"
    return f"cannot attach to hub {place}: {message}"


def explain_end(reason: YamuxError | None) -> str:
    """Why a session ended."""
    if isinstance(reason, KeepaliveTimeout):
        return "the hub stopped answering"
    if isinstance(reason, RemoteGoAway):
        return "the hub ended the session"
    if reason is None:
        return "the connection was closed"
    cause = reason.__cause__
    return f"{reason}" if not isinstance(cause, asyncio.CancelledError) else "cancelled"
