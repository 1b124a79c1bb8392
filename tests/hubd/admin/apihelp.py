"""Stubs, failures and certificates for tests of the management API."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme
from google.rpc import error_details_pb2, status_pb2

from hubd.admin.errors import STATUS_KEY
from tunnelpb.hub.v1 import (
    agent_pb2_grpc,
    event_pb2_grpc,
    hub_pb2_grpc,
    route_pb2_grpc,
    session_pb2_grpc,
    stats_pb2_grpc,
    token_pb2_grpc,
)


class Api:
    """Stubs of every service over one channel."""

    def __init__(self, channel: Any, bench: Any = None, actor: str = "admin@unix") -> None:
        self.actor = actor
        self.channel = channel
        self.bench = bench
        self.sessions = session_pb2_grpc.SessionServiceStub(channel)
        self.stats = stats_pb2_grpc.StatsServiceStub(channel)
        self.agents = agent_pb2_grpc.AgentServiceStub(channel)
        self.events = event_pb2_grpc.EventServiceStub(channel)
        self.hub = hub_pb2_grpc.HubServiceStub(channel)
        self.routes = route_pb2_grpc.RouteServiceStub(channel)
        self.tokens = token_pb2_grpc.TokenServiceStub(channel)


class Failure:
    """What a failed call said."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code()
        self.message = error.details()
        self.trailing = dict(error.trailing_metadata() or ())
        self.reason = ""
        self.metadata: dict[str, str] = {}
        self.fields: list[str] = []
        self.retry_after: float | None = None
        status = status_pb2.Status.FromString(self.trailing.get(STATUS_KEY, b""))
        for detail in status.details:
            info, bad, retry = (
                error_details_pb2.ErrorInfo(),
                error_details_pb2.BadRequest(),
                error_details_pb2.RetryInfo(),
            )
            if detail.Unpack(info):
                assert info.domain == "tunnelpb"
                self.reason, self.metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(bad):
                self.fields = [violation.field for violation in bad.field_violations]
            elif detail.Unpack(retry):
                self.retry_after = retry.retry_delay.ToMilliseconds() / 1000


async def failure(call: Awaitable[Any]) -> Failure:
    """The failure of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return Failure(caught.value)


class Certificates:
    """An authority, and files of what it signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.cert, self.key = self.issue("localhost", "127.0.0.1")

    def issue(self, *names: str, common: str | None = None) -> tuple[Path, Path]:
        """Certificate and key files."""
        issued = self.authority.issue_cert(*names, common_name=common)
        name = common or names[0]
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        issued.private_key_pem.write_to_path(str(key))
        cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        return cert, key

    def credentials(self, *names: str) -> grpc.ChannelCredentials:
        """A client's, with a certificate if it has a name."""
        if not names:
            return grpc.ssl_channel_credentials(self.ca.read_bytes())
        cert, key = self.issue(*names)
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), key.read_bytes(), cert.read_bytes())
