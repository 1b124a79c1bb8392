"""Why a request was not served, and the agent's own answers. Fixed text: whatever is particular goes to the log."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tunnel.http1.phrases import STATUS_LINES

ERROR_FIELD = b"Tunnel-Error"
"""Tells the hub that the answer is the agent's own; taken out there."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One way in which a request ends without the target's answer.

    Args:
        code: stable snake-case name: in the body, in ``Tunnel-Error``, in counters and logs.
        status: HTTP status; 0 where nothing can be answered any more and the stream is reset.
        message: for people; names nothing inside the agent's network.
    """

    code: str
    status: int
    message: str


TARGET_NOT_ALLOWED = Reason("target_not_allowed", 502, "this agent does not serve that target")
TARGET_DENIED = Reason("target_denied", 502, "the target has an address this agent does not connect to")
TARGET_REFUSED = Reason("target_refused", 502, "the target refused the connection")
TARGET_UNRESOLVED = Reason("target_unresolved", 502, "the target's name could not be resolved")
TARGET_UNREACHABLE = Reason("target_unreachable", 502, "the target could not be reached")
TARGET_TLS = Reason("target_tls", 502, "the connection to the target could not be secured")
TARGET_CLOSED = Reason("target_closed", 502, "the target closed the connection without an answer")
TARGET_TIMEOUT = Reason("target_timeout", 504, "the target did not answer in time")
BAD_RESPONSE = Reason("bad_response", 502, "the target's answer is not valid HTTP")
BAD_UPGRADE = Reason("bad_upgrade", 502, "the target answered an upgrade that was not asked for")
HEADER_TIMEOUT = Reason("header_timeout", 408, "the request head did not arrive in time")
INTERNAL = Reason("internal", 502, "the agent failed")
TRUNCATED = Reason("target_truncated", 0, "the target cut its answer short")
STALLED = Reason("stalled", 0, "nothing moved for too long")
LEFT = Reason("visitor_left", 0, "the visitor left")


def of_message(status: int, code: str) -> Reason:
    """The reason for a request the parser refused."""
    return Reason(code, status, "the request cannot be served")


def error_response(reason: Reason, request_id: bytes, *, head_only: bool) -> bytes:
    """A whole answer.

    Args:
        reason: with a status.
        request_id: repeated in the body; "" if there is none.
        head_only: leave the body out, for HEAD.
    """
    fields = {"msg": reason.message, "code": reason.code, "request_id": request_id.decode("ascii", "replace")}
    body = json.dumps(fields).encode("ascii") + b"\n"
    head = b"%b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b: %b\r\n\r\n" % (
        STATUS_LINES[reason.status], len(body), ERROR_FIELD, reason.code.encode("ascii")
    )  # fmt: skip
    return head if head_only else head + body
