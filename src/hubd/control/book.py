"""Configurations as people handle them: changed in part or whole, checked, kept by version, taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import field_mask_pb2

from hubd.admin.errors import ApiError, Code, invalid
from hubd.store.configs import ConfigRecord, Configs
from tunnel.agentconfig import Fault, faults
from tunnelpb.agent.v1.config_pb2 import AgentConfig

if TYPE_CHECKING:
    from hubd.state import Hub

LONGEST_COMMENT = 1024


class ConfigBook:
    """The configurations of all agents.

    Args:
        hub: shared state. Without control streams its agents never hear of any of this.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._configs = Configs(hub.database)

    def get(self, agent: str, version: int = 0) -> ConfigRecord:
        """A version, 0 being the newest; an empty version 0 if there never was one.

        Raises:
            ApiError: nobody knows the agent, or the version is not there.
        """
        self._check_agent(agent)
        if not version:
            return self._configs.newest(agent) or ConfigRecord(agent, 0, b"", 0.0)
        record = self._configs.get(agent, version)
        if record is None:
            raise ApiError(
                Code.NOT_FOUND, "CONFIG_VERSION_NOT_FOUND",
                f"agents/{agent} has no configuration {version}, or no longer",
                metadata={"agent": agent, "version": str(version)},
            )  # fmt: skip
        return record

    def versions(self, agent: str) -> list[ConfigRecord]:
        """Every version that is kept, newest first. Raises ApiError for an agent nobody knows."""
        self._check_agent(agent)
        return self._configs.all(agent)

    def update(
        self,
        agent: str,
        config: AgentConfig,
        *,
        mask: field_mask_pb2.FieldMask | None = None,
        etag: str = "",
        comment: str = "",
        author: str,
        validate_only: bool = False,
    ) -> ConfigRecord:
        """Store a new version and push it.

        Args:
            agent: id.
            config: the whole, or what the mask takes from it.
            mask: paths to change; empty or None changes all.
            etag: of the version this is based on; "" does not care.
            comment: for people.
            author: who does it.
            validate_only: check, and store nothing.

        Returns:
            The new version; the newest one if it says the same already.

        Raises:
            ApiError: the agent is unknown, the etag is stale, or the configuration is not good.
        """
        newest = self.get(agent)
        self._check_etag(newest, etag)
        if len(comment) > LONGEST_COMMENT:
            raise invalid(("comment", f"at most {LONGEST_COMMENT} characters"))
        whole = config if mask is None or not mask.paths else _merged(newest, config, mask)
        found = faults(whole)
        if found:
            raise invalid(*((f"config.{field}".rstrip("."), text) for field, text in found))
        blob = whole.SerializeToString(deterministic=True)
        if validate_only:
            return ConfigRecord(agent, newest.version, blob, newest.created, author, comment)
        return self._store(newest, blob, author=author, comment=comment)

    def rollback(self, agent: str, version: int, *, etag: str = "", comment: str = "", author: str) -> ConfigRecord:
        """Store an old version again as a new one, and push it.

        Args:
            agent: id.
            version: to repeat; 0 is the one before the newest.
            etag: of the newest version; "" does not care.
            comment: for people.
            author: who does it.

        Raises:
            ApiError: the agent is unknown, the version is not there, or the etag is stale.
        """
        newest = self.get(agent)
        self._check_etag(newest, etag)
        if not version and newest.version < 2:
            raise ApiError(
                Code.FAILED_PRECONDITION, "NO_EARLIER_CONFIG", f"agents/{agent} has no version before {newest.version}",
                metadata={"agent": agent},
            )  # fmt: skip
        old = self.get(agent, version or newest.version - 1)
        return self._store(newest, old.config, author=author, comment=comment, rollback_of=old.version)

    def _store(
        self, newest: ConfigRecord, blob: bytes, *, author: str, comment: str, rollback_of: int = 0
    ) -> ConfigRecord:
        agent = newest.agent
        if newest.version and newest.config == blob:
            # A call made twice, or nothing to change.
            return newest
        record = self._configs.add(agent, blob, author=author, comment=comment, rollback_of=rollback_of)
        sessions = self._hub.control.push(agent) if self._hub.control is not None else 0
        self._hub.events.emit(
            "config", "config.rolled_back" if rollback_of else "config.updated", f"agents/{agent}/configs/{record.version}",
            f"agent {agent} is to run version {record.version}" + (f", which repeats {rollback_of}" if rollback_of else ""),
            actor=author, agent=agent, sessions=sessions,
        )  # fmt: skip
        return record

    @staticmethod
    def validate(config: AgentConfig) -> list[Fault]:
        """Everything wrong with a configuration."""
        return faults(config)

    def _check_agent(self, agent: str) -> None:
        if self._hub.agents.get(agent) is not None:
            return
        # One that has a token is expected, and may be configured before it comes.
        if self._hub.database.row("SELECT 1 FROM tokens WHERE agent = ? LIMIT 1", (agent,)) is None:
            raise ApiError(
                Code.NOT_FOUND, "AGENT_NOT_FOUND", f"agents/{agent} is not known: it has never attached and has no token",
                metadata={"name": f"agents/{agent}"},
            )  # fmt: skip

    @staticmethod
    def _check_etag(newest: ConfigRecord, given: str) -> None:
        if given and given != etag_of(newest):
            raise ApiError(
                Code.ABORTED, "ETAG_MISMATCH",
                f"agents/{newest.agent} has version {newest.version} by now: read it again and repeat the change",
                metadata={"etag": etag_of(newest), "given": given},
            )  # fmt: skip


def etag_of(record: ConfigRecord) -> str:
    """A version's etag. What a version says never changes, so its number is enough."""
    return f"v{record.version}"


def _merged(newest: ConfigRecord, config: AgentConfig, mask: field_mask_pb2.FieldMask) -> AgentConfig:
    """The newest configuration with what a mask takes from another. Raises ApiError for paths that are none."""
    wrong = []
    for index, path in enumerate(mask.paths):
        if not field_mask_pb2.FieldMask(paths=[path]).IsValidForDescriptor(AgentConfig.DESCRIPTOR):
            wrong.append((f"update_mask.paths[{index}]", f"{path!r} is no field of a configuration"))
    if wrong:
        raise invalid(*wrong)
    whole = AgentConfig.FromString(newest.config)
    mask.MergeMessage(config, whole, True, True)
    return whole
