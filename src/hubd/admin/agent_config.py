"""AgentConfigService: what agents run, its history, and how far each session is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubd.admin.caller import current
from hubd.admin.gate import Context
from hubd.admin.names import stamp, take
from hubd.admin.paging import paginate
from hubd.control.book import ConfigBook, etag_of
from tunnelpb.agent.v1.config_pb2 import AgentConfig
from tunnelpb.hub.v1 import agent_config_pb2 as pb
from tunnelpb.hub.v1.agent_config_pb2_grpc import AgentConfigServiceServicer

if TYPE_CHECKING:
    from hubd.control.link import Link
    from hubd.state import Hub
    from hubd.store.configs import ConfigRecord


class AgentConfigService(AgentConfigServiceServicer):
    """Configurations of agents.

    Args:
        hub: shared state.
    """

    def __init__(self, hub: Hub) -> None:
        self._book = ConfigBook(hub)
        self._hub = hub

    async def GetAgentConfig(self, request: pb.GetAgentConfigRequest, context: Context) -> pb.GetAgentConfigResponse:
        """One version, and the live sessions."""
        agent = take("agents", request.agent, "agent")
        record = self._book.get(agent, request.version)
        newest = self._book.get(agent)
        links = self._hub.control.of_agent(agent) if self._hub.control is not None else []
        return pb.GetAgentConfigResponse(
            config=_message(record), status=[_status(link, newest.version) for link in links]
        )

    async def UpdateAgentConfig(
        self, request: pb.UpdateAgentConfigRequest, context: Context
    ) -> pb.UpdateAgentConfigResponse:
        """A new version."""
        record = self._book.update(
            take("agents", request.agent, "agent"),
            request.config,
            mask=request.update_mask,
            etag=request.etag,
            comment=request.comment,
            author=current().actor,
            validate_only=request.validate_only,
        )
        return pb.UpdateAgentConfigResponse(config=_message(record))

    async def ValidateAgentConfig(
        self, request: pb.ValidateAgentConfigRequest, context: Context
    ) -> pb.ValidateAgentConfigResponse:
        """Every fault at once."""
        if request.agent:
            take("agents", request.agent, "agent")
        found = [
            pb.ConfigFault(field=field, description=description)
            for field, description in self._book.validate(request.config)
        ]
        return pb.ValidateAgentConfigResponse(faults=found)

    async def ListAgentConfigVersions(
        self, request: pb.ListAgentConfigVersionsRequest, context: Context
    ) -> pb.ListAgentConfigVersionsResponse:
        """The history, newest first."""
        records = self._book.versions(take("agents", request.agent, "agent"))
        # Keys of pages grow, versions here fall.
        page = paginate(request, records, lambda record: f"{2**64 - record.version:020}")
        return pb.ListAgentConfigVersionsResponse(
            configs=[_message(record) for record in page.rows], next_page_token=page.next_token
        )

    async def RollbackAgentConfig(
        self, request: pb.RollbackAgentConfigRequest, context: Context
    ) -> pb.RollbackAgentConfigResponse:
        """An old version, anew."""
        record = self._book.rollback(
            take("agents", request.agent, "agent"),
            request.version,
            etag=request.etag,
            comment=request.comment,
            author=current().actor,
        )
        return pb.RollbackAgentConfigResponse(config=_message(record))


def _message(record: ConfigRecord) -> pb.AgentConfigVersion:
    return pb.AgentConfigVersion(
        name=f"agents/{record.agent}/configs/{record.version}",
        version=record.version,
        config=AgentConfig.FromString(record.config),
        create_time=stamp(record.created or None),
        author=record.author,
        comment=record.comment,
        rollback_of=record.rollback_of,
        last_error=record.last_error,
        etag=etag_of(record),
    )


def _status(link: Link, desired: int) -> pb.AgentConfigStatus:
    # Why an older version was refused says nothing of the one that is wanted now.
    old = link.refused not in (0, desired)
    return pb.AgentConfigStatus(
        session=f"sessions/{link.entry.id}",
        desired_version=desired,
        applied_version=link.applied,
        last_error="" if old else link.last_error,
        answer_time=stamp(link.answered),
    )
