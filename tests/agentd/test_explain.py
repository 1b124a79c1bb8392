"""Every failure names the thing and, where there is one, the remedy."""

from __future__ import annotations

import pytest

from agentd.explain import explain_end, explain_failure
from agentd.hubs import read_hubs
from carrier_api import Registry
from tunnel.attach import AttachFailed, AttachRefused
from tunnel.settings import SecretFileError
from yamux import KeepaliveTimeout, RemoteGoAway, SessionClosed

(HUB,), _ = read_hubs(["wss://hub.example:8443"], "a", [], Registry.load())


def failed(code: str, message: str, cause: Exception | None = None) -> AttachFailed:
    error = AttachFailed(code, message)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            failed("dial_failed", "connection refused", ConnectionRefusedError()),
            ["wss://hub.example:8443", "is hubd running"],
        ),
        (failed("dial_failed", "cannot resolve hub.example"), ["cannot resolve", "check the address"]),
        (failed("dial_timeout", "no connection within 15 s"), ["within 15 s", "nothing on the way"]),
        (failed("tls_failed", "not trusted"), ["not trusted", "--ca-file"]),
        (failed("insecure_carrier", "not encrypted"), ["no token is sent", "wss://"]),
        (failed("bad_tls", "cannot use CA file x"), ["cannot use CA file x"]),
        (failed("bad_response", "does not answer as a hub"), ["is no hub", "check the URL"]),
        (failed("closed", "closed without an answer"), ["closed without an answer"]),
        (AttachRefused(401, "token_missing", "no token", None), ["401 token_missing: no token", "--token-file"]),
        (AttachRefused(302, "http_302", "no", None), ["is no hub", "answered 302", "redirect is not followed"]),
        (AttachRefused(200, "http_200", "no", None), ["is no hub", "answered 200", "check the URL"]),
        (AttachRefused(403, "forbidden", "no", None), ["403", "--id"]),
        (AttachRefused(404, "http_404", "no", None), ["check the URL"]),
        (AttachRefused(409, "taken", "no", None), ["another --id"]),
        (AttachRefused(426, "upgrade", "no", None), ["wss://"]),
        (AttachRefused(503, "draining", "the hub is shutting down", 5.0), ["503 draining: the hub is shutting down"]),
        (SecretFileError("/t: cannot read"), ["/t: cannot read"]),
        (RuntimeError("boom"), ["RuntimeError: boom"]),
    ],
)
def test_failures(error, words):
    line = explain_failure(error, HUB)
    assert "\n" not in line
    assert "wss://hub.example:8443" in line
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (KeepaliveTimeout("x"), "stopped answering"),
        (RemoteGoAway("x"), "ended the session"),
        (None, "was closed"),
        (SessionClosed("the carrier was lost: reset"), "carrier was lost: reset"),
    ],
)
def test_ends(reason, words):
    assert words in explain_end(reason)


def test_a_hub_that_takes_no_agents_is_no_matter_of_tokens():
    line = explain_failure(AttachRefused(401, "agent_taken", "ask for another token", None), HUB)
    assert line.endswith("401 agent_taken: ask for another token")
