"""RouteService: which requests and connections go to which agent's service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hubd.admin.caller import current
from hubd.admin.endless import Endings, follow, resume
from hubd.admin.errors import ApiError, Code, Faults, etag_mismatch, invalid, not_found
from hubd.admin.gate import Context
from hubd.admin.names import take
from hubd.admin.paging import paginate
from hubd.admin.repeats import check_request_id
from hubd.admin.route_rows import ROUTE_ID, changed, made, message
from hubd.feed import Position
from hubd.listeners import ListenError
from hubd.reasons import Reason
from hubd.routes import Local, Route
from hubd.store.routes import RouteRecord
from tunnel.http1 import BadMessage, RequestReader
from tunnelpb.hub.v1 import route_pb2 as pb
from tunnelpb.hub.v1.route_pb2_grpc import RouteServiceServicer

if TYPE_CHECKING:
    from hubd.app import App


class RouteService(RouteServiceServicer):
    """Routes.

    Args:
        app: the hub, with its ports.
        endings: ends watches.
    """

    def __init__(self, app: App, endings: Endings) -> None:
        self._hub = app.hub
        self._book = app.hub.routes
        self._ports = app.ports
        self._endings = endings

    def _record(self, name: str) -> RouteRecord:
        record = self._book.get(take("routes", name, "name"))
        if record is None:
            raise not_found("route", name)
        return record

    def _free(self, record: RouteRecord) -> None:
        """Raises ApiError if another route has its place."""
        holder = self._book.holder(record)
        if holder is None:
            return
        metadata = {"holder": f"routes/{holder.id}", "agent": f"agents/{holder.agent}"}
        if record.tcp_port:
            raise ApiError(
                Code.ALREADY_EXISTS, "ROUTE_PORT_TAKEN", f"port {record.tcp_port} belongs to routes/{holder.id}",
                metadata=metadata,
            )  # fmt: skip
        raise ApiError(
            Code.ALREADY_EXISTS, "ROUTE_HOST_TAKEN", f"{record.host}{record.path} belongs to routes/{holder.id}",
            metadata=metadata,
        )  # fmt: skip

    async def GetRoute(self, request: pb.GetRouteRequest, context: Context) -> pb.GetRouteResponse:
        """One route."""
        return pb.GetRouteResponse(route=message(self._record(request.name), self._ports))

    async def ListRoutes(self, request: pb.ListRoutesRequest, context: Context) -> pb.ListRoutesResponse:
        """A page of routes, by id."""
        agent = take("agents", request.agent, "agent") if request.agent else ""
        rows = self._book.of_agent(agent) if agent else self._book.all()
        page = paginate(request, rows, lambda row: row.id, mark=self._book.feed.revision)
        return pb.ListRoutesResponse(
            routes=[message(row, self._ports) for row in page.rows],
            next_page_token=page.next_token,
            resume_token=self._book.feed.token(Position(page.mark)),
            total_size=page.total,
        )

    async def CreateRoute(self, request: pb.CreateRouteRequest, context: Context) -> pb.CreateRouteResponse:
        """Make one; a port is open when this returns."""
        faults = Faults()
        route_id = request.route_id or self._hub.ids.next()
        if not ROUTE_ID.fullmatch(route_id):
            faults.add("route_id", 'must be lower-case letters, digits and "-", at most 63 of them')
        record = made(route_id, request.route, faults)
        request_id = check_request_id(request.request_id, faults)
        faults.check()
        repeated = self._hub.requests.answer(request_id, "CreateRoute", pb.CreateRouteResponse)
        if repeated is not None:
            return repeated
        if self._book.get(route_id) is not None:
            raise ApiError(
                Code.ALREADY_EXISTS, "ROUTE_EXISTS", f"there is a routes/{route_id}",
                metadata={"holder": f"routes/{route_id}"},
            )  # fmt: skip
        self._free(record)
        if record.tcp_port:
            await self._open(None, record)
        try:
            self._book.put(record)
        except BaseException:
            self._ports.close(record.id)
            raise
        answer = pb.CreateRouteResponse(route=message(record, self._ports))
        self._hub.requests.keep(request_id, "CreateRoute", answer)
        self._tell("created", record)
        return answer

    async def _open(self, before: RouteRecord | None, record: RouteRecord) -> None:
        try:
            if before is None:
                await self._ports.open(record)
            else:
                await self._ports.change(before, record)
        except ListenError as exc:
            raise ApiError(
                Code.ALREADY_EXISTS, "ROUTE_PORT_TAKEN", f"port {record.tcp_port} cannot be opened: {exc}",
                metadata={"holder": "another program"},
            ) from None  # fmt: skip

    async def UpdateRoute(self, request: pb.UpdateRouteRequest, context: Context) -> pb.UpdateRouteResponse:
        """Change one; connections that are open go on."""
        given = request.route
        before = self._book.get(take("routes", given.name, "route.name"))
        if before is None:
            raise not_found("route", given.name)
        if given.etag and given.etag != str(before.revision):
            raise etag_mismatch(given.name, str(before.revision))
        faults = Faults()
        record = changed(before, given, request.update_mask, faults)
        faults.check()
        self._free(record)
        if before.tcp_port or record.tcp_port:
            await self._open(before, record)
        self._book.put(record)
        self._tell("updated", record)
        return pb.UpdateRouteResponse(route=message(record, self._ports))

    async def DeleteRoute(self, request: pb.DeleteRouteRequest, context: Context) -> pb.DeleteRouteResponse:
        """Forget one; its port is closed, connections that are open go on."""
        record = self._record(request.name)
        if request.etag and request.etag != str(record.revision):
            raise etag_mismatch(request.name, str(record.revision))
        self._book.delete(record)
        self._ports.close(record.id)
        self._tell("deleted", record)
        return pb.DeleteRouteResponse()

    def _tell(self, what: str, record: RouteRecord) -> None:
        place = f"tcp port {record.tcp_port}" if record.tcp_port else record.host + record.path
        self._hub.events.emit(
            "route", f"route.{what}", f"routes/{record.id}", f"route {what}: {place} to agent {record.agent}",
            actor=current().actor, agent=record.agent, service=record.service,
        )  # fmt: skip

    async def WatchRoutes(
        self, request: pb.WatchRoutesRequest, context: Context
    ) -> AsyncIterator[pb.WatchRoutesResponse]:
        """Rows, then changes."""
        feed, ending = self._book.feed, self._endings.current()
        start = resume(feed, request.resume_token) if request.resume_token else Position(feed.revision)
        if not request.resume_token or start.after:
            for row in [row for row in self._book.all() if row.id > start.after]:
                yield pb.WatchRoutesResponse(
                    upsert=message(row, self._ports), resume_token=feed.token(Position(start.revision, row.id))
                )
            yield pb.WatchRoutesResponse(
                bookmark=pb.WatchRoutesResponse.Bookmark(synced=True), resume_token=feed.token(Position(start.revision))
            )
        revision = start.revision
        async for batch in follow(feed, revision, ending):
            for revision, change in batch:
                token = feed.token(Position(revision))
                if change.after is not None:
                    yield pb.WatchRoutesResponse(upsert=message(change.after, self._ports), resume_token=token)
                elif change.before is not None:
                    yield pb.WatchRoutesResponse(removed=message(change.before), resume_token=token)
            if not batch:
                yield pb.WatchRoutesResponse(
                    bookmark=pb.WatchRoutesResponse.Bookmark(), resume_token=feed.token(Position(revision))
                )

    async def ResolveRoute(self, request: pb.ResolveRouteRequest, context: Context) -> pb.ResolveRouteResponse:
        """Who would get a request, decided by what decides on requests."""
        try:
            url = urlsplit(request.url)
            port = url.port
        except ValueError:
            url, port = urlsplit(""), None
        if url.scheme == "tcp" and port:
            return self._resolve_port(port)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise invalid(("url", 'must be like "https://app.example.com/path" or "tcp://:2201"'))
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        reader = RequestReader()
        try:
            reader.feed(f"GET {target} HTTP/1.1\r\nHost: {url.netloc.rpartition('@')[2]}\r\n\r\n".encode("ascii"))
            head = reader.next_head()
        except (BadMessage, UnicodeEncodeError):
            head = None
        if head is None:
            raise invalid(("url", "no visitor can ask for this: the host or the path is not valid"))
        decided = self._hub.router.resolve(head)
        if not isinstance(decided, Route):
            return pb.ResolveRouteResponse(reason=_not_routed(decided))
        table = self._hub.router.table
        found = table.find(head.host, head.path) if table is not None else False
        record = found if isinstance(found, RouteRecord) else None
        how = f"route {record.id!r} has this host and path" if record is not None else "by the name of the agent"
        return self._resolved(
            decided.agent_id, (decided.host or b"").decode("latin-1"), record, how, decided.path.decode("latin-1")
        )

    def _resolve_port(self, port: int) -> pb.ResolveRouteResponse:
        record = self._book.of_port(port)
        if record is None:
            return pb.ResolveRouteResponse(reason=f"no route has the port {port}")
        return self._resolved(record.agent, record.service, record, f"route {record.id!r} has this port", "")

    def _resolved(
        self, agent: str, service: str, record: RouteRecord | None, how: str, path: str
    ) -> pb.ResolveRouteResponse:
        pool = self._hub.pools.get(agent)
        sessions = len(pool.entries) if pool is not None else 0
        why = how if sessions else f"{how}; {self._hub.pools.absent(agent).message}"
        return pb.ResolveRouteResponse(
            agent=f"agents/{agent}",
            service=service,
            route=message(record, self._ports) if record is not None else None,
            reason=why,
            sessions=sessions,
            path=path,
        )


def _not_routed(decided: Local | Reason) -> str:
    if isinstance(decided, Local):
        return f"the hub answers this itself ({decided.value})"
    return f"{decided.status}: {decided.message}"
