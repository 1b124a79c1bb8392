"""What goes wrong, as a user is told it: one line, a hint where there is one, and an exit code that scripts can tell."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

from tunnelctl.text import printable

if TYPE_CHECKING:
    from tunnelpb.client import HubError


class Code(IntEnum):
    """Exit codes."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    """Not authenticated, or not allowed."""
    UNAVAILABLE = 5
    """Nobody there, or too late."""
    CONFLICT = 6
    """The state of things forbids it."""
    PARTIAL = 7
    """Some of what was asked for."""
    CONFIG = 78
    INTERRUPTED = 130


class Problem(Exception):
    """A command cannot go on.

    Attributes:
        lines: what is wrong, a line for each fault.
        hint: what to do about it, or "".
        code: exit code.
        status: name of gRPC's code, "" if no call failed.
        reason: word for programs; "" if there is none.
        metadata: facts for programs.
        fields: (path, description) of wrong fields.
    """

    def __init__(
        self,
        *lines: str,
        hint: str = "",
        code: Code = Code.FAILURE,
        status: str = "",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        fields: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.hint = hint
        self.code = code
        self.status = status
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.fields = list(fields)

    def tell(self, *, as_json: bool) -> None:
        """Write it to standard error."""
        if as_json:
            told = {
                "code": self.status or self.code.name,
                "reason": self.reason,
                "message": "; ".join(self.lines),
                "metadata": self.metadata,
                "fields": [{"field": field, "description": description} for field, description in self.fields],
                "hint": self.hint,
                "exit_code": int(self.code),
            }
            print(json.dumps(told), file=sys.stderr)
            return
        for line in self.lines:
            print(f"error: {printable(line)}", file=sys.stderr)
        if self.hint:
            print(f"hint: {printable(self.hint)}", file=sys.stderr)


# By the names of gRPC's codes, so that reading this table needs no gRPC.
_CODES = {
    "INVALID_ARGUMENT": Code.USAGE,
    "NOT_FOUND": Code.NOT_FOUND,
    "ALREADY_EXISTS": Code.CONFLICT,
    "FAILED_PRECONDITION": Code.CONFLICT,
    "ABORTED": Code.CONFLICT,
    "OUT_OF_RANGE": Code.CONFLICT,
    "UNAUTHENTICATED": Code.DENIED,
    "PERMISSION_DENIED": Code.DENIED,
    "UNAVAILABLE": Code.UNAVAILABLE,
    "DEADLINE_EXCEEDED": Code.UNAVAILABLE,
    "CANCELLED": Code.UNAVAILABLE,
    "RESOURCE_EXHAUSTED": Code.UNAVAILABLE,
}
_HINTS = {
    "UNAUTHENTICATED": "give a token that is valid by --token-file FILE or in the context (tunnelctl context set)",
    "PERMISSION_DENIED": "the token's role is too small for this; tunnelctl tokens list shows roles",
    "UNIMPLEMENTED": "the hub is older than this tunnelctl",
    "ABORTED": "somebody else changed it meanwhile; look again and repeat",
}
_HINTS_BY_REASON = {
    "SESSION_NOT_FOUND": "tunnelctl sessions list shows the sessions there are",
    "AGENT_NOT_FOUND": "tunnelctl agents list shows the agents there are",
    "ROUTE_NOT_FOUND": "tunnelctl routes list shows the routes there are",
    "CERTIFICATE_REVOKED": "give one that is not by --cert-file FILE or in the context (tunnelctl context set)",
    "TOKEN_NOT_FOUND": "tunnelctl tokens list shows the tokens there are",
}


def of_hub(error: HubError, address: str, *, timeout: float) -> Problem:
    """Return what an error of a call means to the user. ``timeout`` is the deadline calls had."""
    name = error.status.name
    code = _CODES.get(name, Code.FAILURE)
    if not error.reason and name == "UNAVAILABLE":
        return _away(error, address)
    if not error.reason and name == "DEADLINE_EXCEEDED":
        return Problem(
            f"the hub at {address} did not answer within {timeout:g} s",
            hint="give it longer with --timeout",
            code=code,
            status=name,
            reason=name,
        )
    if not error.reason and name == "UNIMPLEMENTED":
        return Problem("the hub has no such call", hint=_HINTS[name], code=code, status=name, reason=name)
    reason = error.reason or name
    lines = [f"{field}: {description}" for field, description in error.fields] or [
        f"{error.message or name.lower().replace('_', ' ')} ({reason})"
    ]
    hint = _HINTS_BY_REASON.get(reason) or _HINTS.get(name, "")
    if name == "PERMISSION_DENIED" and error.message.startswith("cert/"):
        hint = "admin.clients in the hub's settings gives certificates their roles"
    return Problem(
        *lines, hint=hint, code=code, status=name, reason=reason, metadata=error.metadata, fields=error.fields
    )


def why_away(text: str) -> str:
    """Say why nobody answers. gRPC tells it in a sentence of its own making, of which the end is what counts."""
    for part, plain in (
        ("No such file", "there is no such socket"),
        ("Connection refused", "connection refused"),
        ("Permission denied", "permission denied"),
        ("CERTIFICATE_VERIFY_FAILED", "its certificate is not to be trusted"),
        ("Ssl handshake failed", "the TLS handshake failed"),
        ("DNS", "its name cannot be resolved"),
        ("Domain name", "its name cannot be resolved"),
        ("Socket closed", "the connection broke"),
        ("GOAWAY", "it is going away"),
    ):
        if part.lower() in text.lower():
            return plain
    return "no answer"


def _away(error: HubError, address: str) -> Problem:
    why = why_away(error.message)
    hint = "is hubd running? --hub or the context says where it is (tunnelctl context list)"
    if why == "permission denied":
        hint = "the socket belongs to the hub's user; run this as that user, or use TCP with a token"
    elif "certificate" in why or "TLS" in why:
        hint = "--ca-file names the authorities to trust, --cert-file a certificate of your own if the hub asks for one"
    return unreachable(address, why, hint)


def unreachable(address: str, why: str, hint: str) -> Problem:
    """Return that a hub cannot be reached."""
    return Problem(
        f"cannot reach the hub at {address}: {why}",
        hint=hint,
        code=Code.UNAVAILABLE,
        status="UNAVAILABLE",
        reason="HUB_AWAY",
    )
