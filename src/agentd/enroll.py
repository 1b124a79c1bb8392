"""Enrolling: a join token becomes a token of the agent's own."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from agentd.control import OPTIONS
from agentd.stitch import Stitch
from agentd.terms import session_config
from tunnel.attach import attach
from tunnel.logs import Secret
from tunnel.version import VERSION
from tunnelpb.agent.v1 import control_pb2 as pb
from tunnelpb.agent.v1.control_pb2_grpc import AgentControlServiceStub
from yamux import Session

if TYPE_CHECKING:
    from agentd.hubs import Hub
    from yamux.carrier import TlsOptions


class EnrollError(Exception):
    """The hub was reached, and there is no token. The text is one line for people."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What the hub gave.

    Args:
        token: the agent's own.
        expires: seconds since the epoch.
    """

    token: Secret
    expires: float


async def enroll(hub: Hub, join: Secret, *, tls: TlsOptions, timeout: float) -> Enrolled:
    """Attach with a join token, ask for a token, and leave.

    Args:
        hub: where, and as which agent.
        join: the join token.
        tls: towards the hub.
        timeout: seconds for each of the two steps.

    Raises:
        AttachFailed: the hub cannot be reached.
        AttachRefused: it does not take the join token.
        EnrollError: it took it, and gave no other.
    """
    session = Session(client=True, config=session_config(1))
    info = await attach(
        hub.carrier,
        hub.address,
        hub.agent_id,
        session,
        tls=tls,
        token=join.reveal(),
        headers=[("X-Agent-Instance", secrets.token_hex(8)), ("Agent-Version", VERSION)],
        timeout=timeout,
    )
    try:
        if not info.offers("control"):
            raise EnrollError(f"hub {hub.place} enrols no agents")
        return await _ask(session, hub, timeout)
    finally:
        session.abort()
        await session.wait_closed()


async def _ask(session: Session, hub: Hub, timeout: float) -> Enrolled:
    stitch = Stitch(session)
    try:
        await stitch.start()
        async with grpc.aio.insecure_channel(stitch.target, options=OPTIONS) as channel:
            call = AgentControlServiceStub(channel).Enroll(pb.EnrollRequest(agent_version=VERSION), timeout=timeout)
            async with asyncio.timeout(timeout + 1.0):
                answer: pb.EnrollResponse = await call
    except grpc.aio.AioRpcError as exc:
        raise EnrollError(f"hub {hub.place} gave no token: {exc.details() or exc.code().name}") from exc
    except TimeoutError as exc:
        raise EnrollError(f"hub {hub.place} did not answer within {timeout:g} s") from exc
    finally:
        stitch.close()
    if not answer.token:
        raise EnrollError(f"hub {hub.place} gave an empty token")
    return Enrolled(Secret(answer.token), answer.expire_time.ToMilliseconds() / 1000)
