"""EventService: what happened, and what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from hubd.admin.endless import Endings, follow, resume
from hubd.admin.errors import Faults
from hubd.admin.gate import Context
from hubd.admin.names import stamp
from hubd.feed import Happening, Position
from tunnelpb.hub.v1 import event_pb2 as pb
from tunnelpb.hub.v1.event_pb2_grpc import EventServiceServicer

if TYPE_CHECKING:
    from hubd.state import Hub

TOPICS = ("session", "agent", "route", "token", "config", "auth", "hub")


class EventService(EventServiceServicer):
    """Events.

    Args:
        hub: shared state.
        endings: ends watches.
    """

    def __init__(self, hub: Hub, endings: Endings) -> None:
        self._feed = hub.events.feed
        self._endings = endings

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """Kept events, then new ones."""
        faults = Faults()
        for index, topic in enumerate(request.topics):
            if topic not in TOPICS:
                faults.add(f"topics[{index}]", f"must be one of {', '.join(TOPICS)}")
        faults.check()
        topics = frozenset(request.topics) or frozenset(TOPICS)
        since = request.since.seconds + request.since.nanos / 1e9 if request.HasField("since") else None
        ending = self._endings.current()
        revision = self._start(request, since)
        last = self._feed.revision
        if request.no_follow and revision >= last:
            return
        async for batch in follow(self._feed, revision, ending):
            for revision, event in batch:
                if event.topic in topics and (since is None or event.at >= since):
                    yield pb.WatchEventsResponse(event=_message(revision, event), resume_token=self._token(revision))
                if request.no_follow and revision >= last:
                    return
            if not batch:
                yield pb.WatchEventsResponse(resume_token=self._token(revision))

    def _start(self, request: pb.WatchEventsRequest, since: float | None) -> int:
        """The revision behind which the watch begins."""
        if request.resume_token:
            return resume(self._feed, request.resume_token).revision
        if since is not None or request.no_follow:
            return self._feed.oldest - 1
        return self._feed.revision

    def _token(self, revision: int) -> str:
        return self._feed.token(Position(revision))


def _message(index: int, event: Happening) -> pb.Event:
    return pb.Event(
        index=index,
        time=stamp(event.at),
        topic=event.topic,
        type=event.type,
        subject=event.subject,
        actor=event.actor,
        message=event.message,
        attributes=event.attributes,
    )
