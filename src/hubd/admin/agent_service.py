"""AgentService: agents as they are stored, and keeping them out."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from hubd.admin.agent_rows import DENIED, MODE_NAMES, OFFLINE, ONLINE, limits_to_store, merge, message, newest, state_of
from hubd.admin.caller import current
from hubd.admin.errors import Faults, etag_mismatch, invalid, not_found
from hubd.admin.gate import Context
from hubd.admin.names import reason_of, seconds, take
from hubd.admin.paging import paginate
from hubd.identity.access import AccessError, to_store
from hubd.store.agents import AgentRecord
from tunnelpb.hub.v1 import agent_pb2 as pb
from tunnelpb.hub.v1.agent_pb2_grpc import AgentServiceServicer

if TYPE_CHECKING:
    from hubd.app import App


class AgentService(AgentServiceServicer):
    """Agents.

    Args:
        app: the hub, with its identity.
    """

    def __init__(self, app: App) -> None:
        self._hub = app.hub
        self._identity = app.identity
        self._agents = app.hub.agents
        self._ports = app.ports

    def _record(self, name: str) -> AgentRecord:
        record = self._agents.get(take("agents", name, "name"))
        if record is None:
            raise not_found("agent", name)
        return record

    async def GetAgent(self, request: pb.GetAgentRequest, context: Context) -> pb.GetAgentResponse:
        """One agent."""
        return pb.GetAgentResponse(agent=message(self._hub, self._record(request.name)))

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Context) -> pb.ListAgentsResponse:
        """A page of agents, by id."""
        faults = Faults()
        for index, state in enumerate(request.states):
            if state not in (ONLINE, OFFLINE, DENIED):
                faults.add(f"states[{index}]", "must be ONLINE, OFFLINE or DENIED")
        faults.check()
        now = time.time()
        wanted = frozenset(request.states)
        ids = [
            agent_id
            for agent_id, denied in self._agents.ids(now)
            if (not wanted or state_of(self._hub, agent_id, denied) in wanted) and self._labelled(agent_id, request)
        ]
        page = paginate(request, ids, str)
        records = [record for record in map(self._agents.get, page.rows) if record is not None]
        return pb.ListAgentsResponse(
            agents=[message(self._hub, record) for record in records],
            next_page_token=page.next_token,
            total_size=page.total,
        )

    def _labelled(self, agent_id: str, request: pb.ListAgentsRequest) -> bool:
        if not request.labels:
            return True
        entry = newest(self._hub, agent_id)
        has = entry.labels if entry is not None else ()
        return all(f"{name}={value}" in has for name, value in request.labels.items())

    async def UpdateAgent(self, request: pb.UpdateAgentRequest, context: Context) -> pb.UpdateAgentResponse:
        """Change what people may set of one."""
        faults = Faults()
        given = request.agent
        agent_id = take("agents", given.name, "agent.name", faults)
        faults.check()
        record = self._agents.get(agent_id)
        if record is None and not request.allow_missing:
            raise not_found("agent", given.name)
        if record is not None and given.etag and given.etag != str(record.revision):
            raise etag_mismatch(given.name, str(record.revision))
        before = record or AgentRecord(agent_id)
        wish = merge(before, given, request.update_mask, faults)
        faults.check()
        visitors = await self._visitors(wish.visitors, before)
        if self._agents.revision(agent_id) != (record.revision if record is not None else None):
            # Somebody else was faster while passwords were being hashed.
            raise etag_mismatch(given.name, str(self._agents.revision(agent_id) or ""))
        try:
            self._hub.apply_limits(agent_id, wish.limits)
        except ValueError as exc:
            raise invalid(("agent.limits", str(exc))) from None
        stored = self._agents.put(
            replace(
                before,
                display_name=wish.display_name,
                annotations=dict(wish.annotations),
                limits=limits_to_store(wish.limits),
                visitors=visitors,
            )
        )
        self._identity.visitors.changed(agent_id)
        self._hub.events.emit(
            "agent", "agent.updated", f"agents/{agent_id}", f"agent {agent_id} was changed", actor=current().actor,
            fields=" ".join(request.update_mask.paths),
        )  # fmt: skip
        return pb.UpdateAgentResponse(agent=message(self._hub, stored))

    async def _visitors(self, wish: pb.VisitorAccess, before: AgentRecord) -> dict[str, object]:
        """The rule for visitors as it is stored. New passwords are hashed in a thread."""
        try:
            return await self._hub.loop.run_in_executor(
                None,
                partial(
                    to_store,
                    mode=MODE_NAMES.get(wish.mode, ""),
                    allow_networks=list(wish.allow_networks),
                    users=dict(wish.users),
                    before=before.visitors,
                ),
            )
        except AccessError as exc:
            raise invalid((f"agent.visitors.{exc.field}", str(exc))) from None

    async def DeleteAgent(self, request: pb.DeleteAgentRequest, context: Context) -> pb.DeleteAgentResponse:
        """Forget one, with its sessions, tokens, configurations and routes."""
        record = self._record(request.name)
        if request.etag and request.etag != str(record.revision):
            raise etag_mismatch(request.name, str(record.revision))
        hub, actor = self._hub, current().actor
        self._agents.delete(record.id)
        evicted = self._evict(record.id, "the agent was deleted")
        self._identity.tokens.revoke_agent(record.id)
        for route in hub.routes.of_agent(record.id):
            hub.routes.delete(route)
            self._ports.close(route.id)
        hub.apply_limits(record.id, pb.AgentLimits())
        self._identity.visitors.changed(record.id)
        hub.roster.forget_totals(record.id)
        hub.pools.forget(record.id)
        hub.events.emit("agent", "agent.deleted", request.name, f"agent {record.id} was deleted", actor=actor)
        return pb.DeleteAgentResponse(evicted_sessions=evicted)

    async def DenyAgent(self, request: pb.DenyAgentRequest, context: Context) -> pb.DenyAgentResponse:
        """Keep one out, for a time or until it is allowed; it need not be known yet."""
        faults = Faults()
        agent_id = take("agents", request.name, "name", faults)
        reason = reason_of(request.reason, faults)
        lasting = seconds(request, "duration", 0.0, least=1.0, faults=faults)
        faults.check()
        until = time.time() + lasting if lasting else None
        self._agents.deny(agent_id, reason, until)
        evicted = self._evict(agent_id, f"denied: {reason}" if reason else "denied")
        self._hub.events.emit(
            "agent", "agent.denied", request.name, f"agent {agent_id} is denied: {reason or 'asked'}",
            actor=current().actor, seconds=f"{lasting:g}" if lasting else "", sessions=evicted,
        )  # fmt: skip
        return pb.DenyAgentResponse(agent=message(self._hub, self._record(request.name)), evicted_sessions=evicted)

    async def AllowAgent(self, request: pb.AllowAgentRequest, context: Context) -> pb.AllowAgentResponse:
        """Take back a denial."""
        record = self._record(request.name)
        if record.denied:
            self._agents.allow(record.id)
            self._hub.events.emit(
                "agent", "agent.allowed", request.name, f"agent {record.id} may attach again", actor=current().actor
            )
        return pb.AllowAgentResponse(agent=message(self._hub, self._record(request.name)))

    def _evict(self, agent_id: str, reason: str) -> int:
        """End all sessions of one; returns how many there were."""
        entries = [entry for entry in self._hub.roster.live.values() if entry.agent_id == agent_id]
        for entry in entries:
            self._hub.evict_session(entry, reason, actor=current().actor)
        return len(entries)
