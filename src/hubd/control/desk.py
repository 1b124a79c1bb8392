"""Everybody's way to the agents' control streams: takes them in, pushes configurations, tells of drains."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hubd.control.bridge import Bridge
from hubd.control.link import Link, Wanted
from hubd.control.server import ControlServer
from hubd.store.configs import Configs
from tunnel.agentconfig import LABEL, MAX_LABELS, MAX_SERVICES, digest
from tunnelpb.agent.v1 import config_pb2
from tunnelpb.agent.v1 import control_pb2 as pb

if TYPE_CHECKING:
    from hubd.identity.tokens import TokenBook
    from hubd.sessions import AgentSession
    from hubd.state import Hub

logger = logging.getLogger("hubd.control")

# Descriptors of one control stream: both ends of its connection to the private listener.
FILES = 2


class ControlDesk:
    """The control streams of one hub.

    Args:
        hub: shared state.
        tokens: for agents that join.

    Attributes:
        configs: what is stored.
        links: live control streams by session id.
    """

    def __init__(self, hub: Hub, tokens: TokenBook) -> None:
        self._hub = hub
        self.tokens = tokens
        self.configs = Configs(hub.database)
        self.links: dict[str, Link] = {}
        self._by_agent: dict[str, set[Link]] = {}
        self._bridges: dict[str, Bridge] = {}
        self._names: dict[str, Bridge] = {}
        self._folder: Path | None = None
        self._server: ControlServer | None = None
        hub.roster.on_end.append(self.cut)

    async def start(self) -> None:
        """Open the private listener.

        Raises:
            OSError: there is nowhere to put its socket.
        """
        # Made with mode 0700; the kernel lets nobody else connect to what is inside.
        self._folder = Path(tempfile.mkdtemp(prefix="hubd-", dir=_runtime_folder()))
        self._server = ControlServer(self, self._hub, str(self._folder / "agents.sock"))
        await self._server.start()

    async def stop(self) -> None:
        """End every control stream and close the listener. Harmless when repeated."""
        for bridge in list(self._bridges.values()):
            bridge.end()
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- streams -----------------------------------------------------------------------------------------------------

    def accept(self, entry: AgentSession) -> Bridge | None:
        """A protocol for a stream the agent opened; None if it is to be refused, as a second one is."""
        hub = self._hub
        if self._server is None or self._folder is None or entry.id in self._bridges or entry.closing:
            return None
        if hub.budget.full:
            # Visitors and sessions need the descriptors more.
            return None
        hub.budget.agents += FILES
        bridge = Bridge(entry, self._folder, self._server.path, self._named, self._ended)
        self._bridges[entry.id] = bridge
        return bridge

    def _named(self, bridge: Bridge) -> None:
        self._names[bridge.peer] = bridge

    def _ended(self, bridge: Bridge) -> None:
        self._names.pop(bridge.peer, None)
        if self._bridges.get(bridge.entry.id) is bridge:
            del self._bridges[bridge.entry.id]
        self._hub.budget.agents -= FILES
        self._hub.on_budget()

    def session_of(self, peer: str) -> AgentSession | None:
        """The session whose stream a gRPC peer is the end of."""
        bridge = self._names.get(peer)
        return bridge.entry if bridge is not None else None

    def cut(self, entry: AgentSession) -> None:
        """End the control stream of a session, if it has one."""
        bridge = self._bridges.get(entry.id)
        if bridge is not None:
            bridge.end()

    # -- links -------------------------------------------------------------------------------------------------------

    def join(self, link: Link, hello: pb.Hello) -> None:
        """An agent has said hello: welcome it, and push what it should run."""
        entry = link.entry
        link.allowed = tuple(hello.allowed_services)[:MAX_SERVICES]
        labels = {key: value for key, value in hello.labels.items() if LABEL.fullmatch(f"{key}={value}")}
        link.own_labels = dict(list(labels.items())[:MAX_LABELS])
        self.links[entry.id] = link
        self._by_agent.setdefault(entry.agent_id, set()).add(link)
        wanted = self.wanted(entry.agent_id)
        if wanted is not None and hello.applied_config_version == wanted.version:
            # Another hub may have given the same number to something else.
            if hello.applied_config_digest == wanted.digest:
                link.applied = wanted.version
        entry.controlled = True
        logger.info("agent controlled", extra={"agent": entry.agent_id, "session": entry.id})
        self._show(link, wanted if link.applied else None)
        if wanted is not None:
            link.push(wanted)

    def leave(self, link: Link) -> None:
        """Its control stream has ended."""
        entry = link.entry
        link.over()
        if self.links.get(entry.id) is link:
            del self.links[entry.id]
        others = self._by_agent.get(entry.agent_id)
        if others is not None:
            others.discard(link)
            if not others:
                del self._by_agent[entry.agent_id]
        entry.controlled = False
        self._hub.roster.changed(entry)

    def of_agent(self, agent_id: str) -> list[Link]:
        """Live control streams of an agent, by session."""
        return sorted(self._by_agent.get(agent_id, ()), key=lambda link: link.entry.id)

    def _show(self, link: Link, running: Wanted | None) -> None:
        """Have the session's row say what it runs; labels of the configuration go over the agent's own."""
        entry = link.entry
        if running is not None:
            entry.config_version = running.version
            labels = link.own_labels | dict(running.config.labels)
            entry.labels = tuple(f"{key}={value}" for key, value in sorted(labels.items()))
        self._hub.roster.changed(entry)

    # -- configurations ----------------------------------------------------------------------------------------------

    def wanted(self, agent_id: str) -> Wanted | None:
        """What an agent should run; None if nobody ever said."""
        record = self.configs.newest(agent_id)
        if record is None:
            return None
        config = config_pb2.AgentConfig.FromString(record.config)
        return Wanted(agent_id, record.version, config, digest(config))

    def push(self, agent_id: str) -> int:
        """Push what is newest to every live session of an agent; returns how many there are."""
        links = self._by_agent.get(agent_id)
        if not links:
            return 0
        wanted = self.wanted(agent_id)
        if wanted is not None:
            for link in links:
                link.push(wanted)
        return len(links)

    def answered(self, link: Link, answer: pb.ConfigAnswer) -> None:
        """An agent says what became of a push."""
        wanted = link.answer(answer)
        if wanted is None:
            return
        subject = f"agents/{wanted.agent}/configs/{wanted.version}"
        session = f"sessions/{link.entry.id}"
        if link.applied == wanted.version:
            self._show(link, wanted)
            self._hub.events.emit(
                "config", "config.applied", subject, f"agent {wanted.agent} runs version {wanted.version}",
                actor=f"agents/{wanted.agent}", session=session,
            )  # fmt: skip
        else:
            self.configs.refused(wanted.agent, wanted.version, link.last_error)
            logger.warning(
                "an agent refused its configuration",
                extra={"agent": wanted.agent, "version": wanted.version, "why": link.last_error},
            )
            self._hub.events.emit(
                "config", "config.refused", subject, link.last_error, actor=f"agents/{wanted.agent}", session=session
            )
        link.go_on()

    # -- drains ------------------------------------------------------------------------------------------------------

    def notify_drain(self, entry: AgentSession, deadline: float, reason: str, reconnect_after: float) -> bool:
        """Tell an agent that its session drains, so that it opens another one first.

        Args:
            entry: the session.
            deadline: when it is cut, in seconds since the epoch.
            reason: for people.
            reconnect_after: seconds to wait before attaching again.

        Returns:
            Whether the session has a control stream to tell it on.
        """
        link = self.links.get(entry.id)
        if link is None:
            return False
        notice = pb.DrainNotice(reason=reason)
        notice.deadline.FromMilliseconds(round(deadline * 1000))
        notice.reconnect_after.FromMilliseconds(round(reconnect_after * 1000))
        return link.send(pb.ConnectResponse(drain_notice=notice))


def _runtime_folder() -> str | None:
    """Where sockets belong on this machine; None for the place of temporary files."""
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        folder = os.environ.get(name, "").partition(":")[0]
        if folder and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return None
