"""TokenService: tokens made, listed and taken back. A secret is in one answer and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hubd.admin.caller import current
from hubd.admin.errors import ApiError, Code, Faults, invalid, not_found
from hubd.admin.gate import Context
from hubd.admin.names import seconds, stamp, take
from hubd.admin.paging import paginate
from hubd.admin.repeats import check_request_id
from hubd.identity.tokens import MAX_TTL, TokenError
from tunnelpb.hub.v1 import token_pb2 as pb
from tunnelpb.hub.v1.token_pb2_grpc import TokenServiceServicer

if TYPE_CHECKING:
    from hubd.identity.texts import Kind
    from hubd.identity.tokens import Role, TokenBook
    from hubd.state import Hub
    from hubd.store.tokens import TokenRow

KINDS = {
    pb.Token.KIND_AGENT: "agent",
    pb.Token.KIND_JOIN: "join",
    pb.Token.KIND_ADMIN: "admin",
    pb.Token.KIND_VISITOR: "visitor",
}
ROLES = {pb.Token.ROLE_VIEWER: "viewer", pb.Token.ROLE_OPERATOR: "operator", pb.Token.ROLE_ADMIN: "admin"}
_KIND_NUMBERS = {name: number for number, name in KINDS.items()}
_ROLE_NUMBERS = {name: number for number, name in ROLES.items()}
# The whole list is read for a page: a look at 10,000 tokens is some 50 ms, and nobody has more.
MAX_LISTED = 100_000


class TokenService(TokenServiceServicer):
    """Tokens.

    Args:
        hub: shared state.
        book: all tokens.
    """

    def __init__(self, hub: Hub, book: TokenBook) -> None:
        self._hub = hub
        self._book = book

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.CreateTokenResponse:
        """Make one."""
        faults = Faults()
        kind = KINDS.get(request.kind, "")
        if not kind:
            faults.add("kind", "must be AGENT, JOIN, ADMIN or VISITOR")
        if request.role and request.role not in ROLES:
            faults.add("role", "must be VIEWER, OPERATOR or ADMIN")
        agent = take("agents", request.agent, "agent", faults) if request.agent else ""
        ttl = seconds(request, "ttl", 0.0, least=1.0, most=MAX_TTL, faults=faults)
        request_id = check_request_id(request.request_id, faults)
        faults.check()
        if self._hub.requests.answer(request_id, "CreateToken", pb.CreateTokenResponse) is not None:
            # The secret was in the first answer; here it is not known any more.
            raise ApiError(
                Code.ALREADY_EXISTS, "TOKEN_CREATED", "this request has made a token already; revoke it if its secret is lost",
                metadata={"request_id": request_id},
            )  # fmt: skip
        try:
            row, secret = self._book.create(
                cast("Kind", kind), agent=agent, role=cast("Role", ROLES.get(request.role, "")), ttl=ttl or None,
                uses=request.uses or None, comment=request.comment,
            )  # fmt: skip
        except TokenError as exc:
            raise _refused(exc) from None
        token = _message(row)
        self._hub.requests.keep(request_id, "CreateToken", pb.CreateTokenResponse(token=token))
        self._hub.events.emit(
            "token", "token.created", token.name, f"{kind} token{f' for {agent}' if agent else ''}",
            actor=current().actor, kind=kind, agent=agent,
        )  # fmt: skip
        return pb.CreateTokenResponse(token=token, secret=secret.reveal())

    async def ListTokens(self, request: pb.ListTokensRequest, context: Context) -> pb.ListTokensResponse:
        """A page of them, by id."""
        faults = Faults()
        kind = KINDS.get(request.kind, "")
        if request.kind and not kind:
            faults.add("kind", "must be AGENT, JOIN, ADMIN or VISITOR")
        agent = take("agents", request.agent, "agent", faults) if request.agent else ""
        faults.check()
        rows = self._book.page(limit=MAX_LISTED, kind=cast("Kind", kind), agent=agent, ended=request.show_ended).rows
        page = paginate(request, rows, lambda row: row.id)
        return pb.ListTokensResponse(
            tokens=[_message(row) for row in page.rows], next_page_token=page.next_token, total_size=page.total
        )

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:
        """Take one back, with everything that lives by it."""
        token_id = take("tokens", request.name, "name")
        try:
            before = self._book.get(token_id)
            row, evicted = self._book.revoke(token_id)
        except TokenError:
            raise not_found("token", request.name) from None
        if before.revoked is None:
            self._hub.events.emit(
                "token", "token.revoked", request.name, f"{row.kind} token revoked, {evicted} sessions ended",
                actor=current().actor, kind=row.kind, agent=row.agent, sessions=evicted,
            )  # fmt: skip
        return pb.RevokeTokenResponse(token=_message(row), evicted_sessions=evicted)


def _refused(exc: TokenError) -> ApiError:
    if exc.reason == "FIELD_INVALID":
        return invalid((exc.field, str(exc)))
    return ApiError(Code.FAILED_PRECONDITION, exc.reason, str(exc))


def _message(row: TokenRow) -> pb.Token:
    return pb.Token(
        name=f"tokens/{row.id}",
        kind=_KIND_NUMBERS[row.kind],
        role=_ROLE_NUMBERS.get(row.role, pb.Token.ROLE_UNSPECIFIED),
        agent=f"agents/{row.agent}" if row.agent else "",
        create_time=stamp(row.created),
        expire_time=stamp(row.expires),
        last_use_time=stamp(row.last_use),
        uses_left=row.uses_left or 0,
        comment=row.comment,
        revoke_time=stamp(row.revoked),
    )
