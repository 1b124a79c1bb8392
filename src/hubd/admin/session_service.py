"""SessionService: looking at sessions, watching them, and ending them in either way."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from hubd.admin.caller import current
from hubd.admin.endless import Endings, follow, resume
from hubd.admin.errors import ApiError, Code, Faults, not_found
from hubd.admin.gate import Context
from hubd.admin.names import reason_of, seconds, take
from hubd.admin.paging import paginate
from hubd.admin.repeats import check_request_id
from hubd.admin.session_rows import Filter, message
from hubd.feed import Position
from tunnelpb.hub.v1 import session_pb2 as pb
from tunnelpb.hub.v1.session_pb2_grpc import SessionServiceServicer

if TYPE_CHECKING:
    from hubd.roster import Change, Row
    from hubd.state import Hub


class SessionService(SessionServiceServicer):
    """Sessions.

    Args:
        hub: shared state.
        endings: ends watches.
    """

    def __init__(self, hub: Hub, endings: Endings) -> None:
        self._hub = hub
        self._roster = hub.roster
        self._endings = endings

    def _row(self, name: str) -> Row:
        """The row of a whole name. Raises ApiError if there is none."""
        row = self._roster.row(take("sessions", name, "name"))
        if row is None:
            raise not_found("session", name)
        return row

    def _meant(self, name: str) -> Row:
        """The row a name or a prefix of one means.

        Raises:
            ApiError: it means none, or several.
        """
        found = self._roster.find(take("sessions", name, "name"))
        if len(found) > 1:
            shown = ", ".join(found[:5])
            raise ApiError(
                Code.FAILED_PRECONDITION, "SESSION_AMBIGUOUS",
                f"{name} means {len(found)} sessions ({shown}{', …' if len(found) > 5 else ''}): write more of the id",
                metadata={"name": name, "sessions": shown},
            )  # fmt: skip
        row = self._roster.row(found[0]) if found else None
        if row is None:
            raise not_found("session", name)
        return row

    def _message(self, session_id: str) -> pb.Session:
        row = self._roster.row(session_id)
        assert row is not None
        return message(self._hub, row)

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.GetSessionResponse:
        """One session."""
        return pb.GetSessionResponse(session=message(self._hub, self._meant(request.name)))

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        """A page of sessions, by id."""
        faults = Faults()
        wanted = Filter(request.filter, faults)
        faults.check()
        rows = [row for row in self._roster.rows() if wanted.wants(row)]
        page = paginate(request, rows, lambda row: row.id, mark=self._roster.feed.revision)
        return pb.ListSessionsResponse(
            sessions=[message(self._hub, row) for row in page.rows],
            next_page_token=page.next_token,
            resume_token=self._roster.feed.token(Position(page.mark)),
            total_size=page.total,
        )

    async def EvictSession(self, request: pb.EvictSessionRequest, context: Context) -> pb.EvictSessionResponse:
        """Reset and close it, and refuse its agent for a while if asked to."""
        faults = Faults()
        deny_for = seconds(request, "deny_for", 0.0, faults=faults)
        reason = reason_of(request.reason, faults)
        request_id = check_request_id(request.request_id, faults)
        faults.check()
        repeated = self._hub.requests.answer(request_id, "EvictSession", pb.EvictSessionResponse)
        if repeated is not None:
            return repeated
        row = self._row(request.name)
        actor = current().actor
        if deny_for:
            self._hub.agents.deny(row.agent_id, reason or "evicted", time.time() + deny_for)
        entry = self._roster.live.get(row.id)
        streams = self._hub.evict_session(entry, reason, actor=actor) if entry is not None else 0
        if entry is not None:
            # Streams and books are told one turn of the loop after the reset.
            await entry.session.wait_closed()
        answer = pb.EvictSessionResponse(session=self._message(row.id), reset_streams=streams)
        self._hub.requests.keep(request_id, "EvictSession", answer)
        return answer

    async def DrainSession(self, request: pb.DrainSessionRequest, context: Context) -> pb.DrainSessionResponse:
        """Take it out of service."""
        faults = Faults()
        deadline = seconds(request, "deadline", self._hub.timeouts.drain, faults=faults)
        reason = reason_of(request.reason, faults)
        faults.check()
        row = self._row(request.name)
        entry = self._roster.live.get(row.id)
        if entry is None:
            raise _closed(request.name)
        self._hub.drain_session(entry, deadline, reason, actor=current().actor)
        if not deadline:
            await entry.session.wait_closed()
        return pb.DrainSessionResponse(session=self._message(row.id))

    async def UndrainSession(self, request: pb.UndrainSessionRequest, context: Context) -> pb.UndrainSessionResponse:
        """Put it back into service, if its agent knows nothing yet."""
        row = self._row(request.name)
        entry = self._roster.live.get(row.id)
        if entry is None:
            raise _closed(request.name)
        waits = entry in self._hub.leaving.untold
        if (entry.draining or waits) and not self._hub.leaving.undrain(entry):
            raise ApiError(
                Code.FAILED_PRECONDITION, "SESSION_DRAINING",
                f"the agent of {request.name} knows that it is to leave: it connects anew by itself",
                metadata={"name": f"sessions/{row.id}"},
            )  # fmt: skip
        self._hub.events.emit(
            "session", "session.undrained", f"sessions/{row.id}", f"agent {row.agent_id} is back in service",
            actor=current().actor, agent=row.agent_id,
        )  # fmt: skip
        return pb.UndrainSessionResponse(session=self._message(row.id))

    async def WatchSessions(
        self, request: pb.WatchSessionsRequest, context: Context
    ) -> AsyncIterator[pb.WatchSessionsResponse]:
        """Rows, then changes."""
        faults = Faults()
        wanted = Filter(request.filter, faults)
        faults.check()
        feed, ending = self._roster.feed, self._endings.current()
        start = resume(feed, request.resume_token) if request.resume_token else Position(feed.revision)
        if not request.resume_token or start.after:
            # Rows change while a slow client takes them; what it has is then too new, never too old.
            for row in [row for row in self._roster.rows(start.after) if wanted.wants(row)]:
                yield pb.WatchSessionsResponse(
                    upsert=message(self._hub, row), resume_token=feed.token(Position(start.revision, row.id))
                )
            yield pb.WatchSessionsResponse(
                bookmark=pb.WatchSessionsResponse.Bookmark(synced=True),
                resume_token=feed.token(Position(start.revision)),
            )
        revision = start.revision
        async for batch in follow(feed, revision, ending):
            for revision, change in batch:
                answer = self._told(change, wanted)
                if answer is not None:
                    answer.resume_token = feed.token(Position(revision))
                    yield answer
            if not batch:
                yield pb.WatchSessionsResponse(
                    bookmark=pb.WatchSessionsResponse.Bookmark(), resume_token=feed.token(Position(revision))
                )

    def _told(self, change: Change, wanted: Filter) -> pb.WatchSessionsResponse | None:
        """What a watch with this filter hears of a change."""
        if change.after is not None and wanted.wants(change.after):
            return pb.WatchSessionsResponse(upsert=message(self._hub, change.after))
        if change.before is not None and wanted.wants(change.before):
            return pb.WatchSessionsResponse(removed=message(self._hub, change.after or change.before))
        return None


def _closed(name: str) -> ApiError:
    return ApiError(Code.FAILED_PRECONDITION, "SESSION_CLOSED", f"{name} is over", metadata={"name": name})
