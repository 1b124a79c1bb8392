"""Why a request was not served: one table from reason to status, code and text.

Bodies are fixed text. Nothing a visitor or an agent sent is ever repeated in one, apart from a request id that was
checked first.
"""

from __future__ import annotations

from dataclasses import dataclass

from hubd.dates import date_line
from tunnel.http1.phrases import STATUS_LINES

SERVER_TOKEN = "hubd"


@dataclass(frozen=True, slots=True)
class Reason:
    """One way in which a request ends without the agent's answer.

    Args:
        code: stable snake-case name; the JSON body's ``code``, the counters' label and the log's ``reason``.
        status: HTTP status.
        message: the JSON body's ``msg``: fixed, for people.
        retry_after: seconds for the Retry-After field; 0 leaves it out.
    """

    code: str
    status: int
    message: str
    retry_after: int = 0


def _table(*reasons: Reason) -> dict[str, Reason]:
    return {reason.code: reason for reason in reasons}


AGENT_UNKNOWN = Reason("agent_unknown", 404, "no agent is known by this name")
NOT_FOUND = Reason("not_found", 404, "nothing is served at this address")
# An agent is back within seconds (backoff starts at 0.5 s); asking again earlier only adds load.
AGENT_OFFLINE = Reason("agent_offline", 503, "the agent is not connected at the moment", 5)
AGENT_DRAINING = Reason("agent_draining", 503, "the agent is about to disconnect", 2)
AGENT_BUSY = Reason("agent_busy", 503, "the agent has no free stream for this request", 1)
OVERLOADED = Reason("overloaded", 503, "the hub has no room for more connections", 2)
BUFFERS_FULL = Reason("buffers_full", 503, "the hub has no memory for more requests at the moment", 1)
RATE_LIMITED = Reason("rate_limited", 429, "too many requests for this agent", 1)
VISITOR_RATE_LIMITED = Reason("visitor_rate_limited", 429, "too many requests from this address", 1)
TOO_MANY_SESSIONS = Reason("too_many_sessions", 429, "this agent has as many sessions as it may", 10)
HUB_DRAINING = Reason("hub_draining", 503, "the hub is shutting down", 5)
ATTACH_BUSY = Reason("attach_busy", 503, "too many agents are attaching at this moment", 1)
ATTACH_TIMEOUT = Reason("attach_timeout", 503, "the hub could not decide on this agent in time", 5)
UNAUTHORIZED = Reason("unauthorized", 401, "the credentials are missing or not valid here")
ATTACH_LIMITED = Reason("attach_limited", 429, "too many refused attempts from this address", 60)
CERTIFICATE_REVOKED = Reason("certificate_revoked", 403, "this client certificate was revoked; ask for a new one")
ATTACH_INSECURE = Reason("attach_insecure", 403, "agents attach over TLS here: use wss:// or tls://")
ATTACH_TAKEN = Reason(
    "agent_taken", 409, "an agent of this name has enrolled already; ask for a join token that names it"
)
ATTACH_DENIED = Reason("agent_denied", 403, "this agent is denied at the moment; ask the hub's administrator")
AGENT_LOST = Reason("agent_lost", 502, "the agent was lost before it answered")
AGENT_RESET = Reason("agent_reset", 502, "the agent gave the request up")
BAD_RESPONSE = Reason("bad_response", 502, "the agent's answer is not valid HTTP")
BAD_UPGRADE = Reason("bad_upgrade", 502, "the agent answered an upgrade that was not asked for")
TRUNCATED = Reason("upstream_truncated", 502, "the answer was cut short")
RESPONSE_TIMEOUT = Reason("response_timeout", 504, "the agent did not answer in time")
LOOP = Reason("loop_detected", 508, "this request has passed through this hub before")
HEADER_TIMEOUT = Reason("header_timeout", 408, "the request head did not arrive in time")
BODY_TIMEOUT = Reason("body_timeout", 408, "the request body arrives too slowly")
TRACE = Reason("method_not_allowed", 405, "this method is not served")
MISDIRECTED = Reason("misdirected_request", 421, "this connection was opened for another name")
BAD_TARGET = Reason("bad_proxy_host", 400, "x-proxy-host is not a valid target")
BAD_PATH = Reason("bad_path", 400, "this path cannot be given to this agent")
VISIT_UNAUTHORIZED = Reason("visit_unauthorized", 401, "this service asks for credentials")
VISIT_FORBIDDEN = Reason("visit_forbidden", 403, "this service is not for you")
VISIT_LIMITED = Reason("visit_limited", 429, "too many wrong credentials from this address", 60)
VISIT_FAILED = Reason("visit_undecided", 503, "the hub could not decide on this request", 5)
VISITOR_LEFT = Reason("visitor_left", 499, "the visitor left")
VISITOR_STALLED = Reason("visitor_stalled", 499, "the visitor does not read")

TABLE = _table(
    BUFFERS_FULL, RATE_LIMITED, VISITOR_RATE_LIMITED, TOO_MANY_SESSIONS, AGENT_UNKNOWN, NOT_FOUND, AGENT_OFFLINE, AGENT_DRAINING, AGENT_BUSY, OVERLOADED, HUB_DRAINING, ATTACH_BUSY,
    ATTACH_TIMEOUT, UNAUTHORIZED, ATTACH_LIMITED, ATTACH_INSECURE, ATTACH_TAKEN, ATTACH_DENIED, AGENT_LOST, AGENT_RESET, BAD_RESPONSE, BAD_UPGRADE, TRUNCATED, RESPONSE_TIMEOUT,
    LOOP, HEADER_TIMEOUT, BODY_TIMEOUT, TRACE, MISDIRECTED, BAD_TARGET, BAD_PATH, VISITOR_LEFT,
    CERTIFICATE_REVOKED, VISITOR_STALLED, VISIT_UNAUTHORIZED, VISIT_FORBIDDEN, VISIT_LIMITED, VISIT_FAILED,
)  # fmt: skip

_MESSAGES = {
    400: "the request is not valid HTTP",
    405: "this method is not served",
    408: "the request did not arrive in time",
    413: "the request body is too large",
    414: "the request target is too long",
    417: "this expectation cannot be met",
    421: "this connection was opened for another name",
    426: "this address needs an Upgrade",
    431: "the request head is too large",
    501: "the request uses something this hub does not implement",
    505: "this HTTP version is not served",
}


def of_message(status: int, code: str) -> Reason:
    """The reason for a malformed message found by the parser, by its status and reason id."""
    return Reason(code, status, _MESSAGES.get(status, "the request cannot be served"))


def json_text(text: str) -> str:
    """``text`` as the inside of a JSON string; only for our own fixed texts and checked ids."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)


def error_body(reason: Reason, request_id: str) -> bytes:
    """The JSON body of an error answer."""
    msg = json_text(reason.message)
    return f'{{"msg":"{msg}","code":"{reason.code}","request_id":"{json_text(request_id)}"}}\n'.encode()


def error_response(
    reason: Reason, request_id: str, *, close: bool, head_only: bool = False, extra: bytes = b""
) -> bytes:
    """A whole error answer.

    Args:
        reason: what to say.
        request_id: repeated in the body.
        close: add ``Connection: close``.
        head_only: leave the body out, for HEAD (its length is still announced).
        extra: further field lines, each ended by CRLF.
    """
    body = error_body(reason, request_id)
    head = b"%b\r\n%bContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: %d\r\n" % (
        STATUS_LINES[reason.status],
        date_line(),
        len(body),
    )
    if reason.retry_after:
        head += b"Retry-After: %d\r\n" % reason.retry_after
    if close:
        head += b"Connection: close\r\n"
    return head + extra + (b"\r\n" if head_only else b"\r\n" + body)
