"""Enrolling: an agent that attached with a join token gets a token of its own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hubd.identity.tokens import VALID_AT_ONCE, TokenError

if TYPE_CHECKING:
    from hubd.identity.tokens import TokenBook
    from hubd.sessions import AgentSession
    from hubd.store.tokens import TokenRow
    from tunnel.logs import Secret

logger = logging.getLogger("hubd.identity")


def enroll(book: TokenBook, entry: AgentSession) -> tuple[Secret, TokenRow]:
    """Make the token of an agent that is joining. One use of the join token is gone with it.

    Args:
        book: tokens.
        entry: the session that carried the call.

    Raises:
        TokenError: ``NOT_JOINING`` if it attached with no join token, ``JOIN_SPENT`` if that is used up or over,
            ``AGENT_TAKEN`` if somebody else has the id, ``TOKEN_LIMIT`` if the agent has two tokens already.
    """
    if not entry.joining:
        raise TokenError("NOT_JOINING", "only a session that attached with a join token can enrol")
    join = book.get(entry.token_id)
    valid = book.valid_of(entry.agent_id)
    if valid and not join.agent:
        raise TokenError(
            "AGENT_TAKEN", f"agent {entry.agent_id} has tokens already: ask for a join token that names it"
        )
    if valid >= VALID_AT_ONCE:
        raise TokenError("TOKEN_LIMIT", f"agent {entry.agent_id} has {valid} valid tokens: revoke one first")
    if not book.take_use(join.id):
        raise TokenError("JOIN_SPENT", "the join token is used up, revoked or expired")
    row, secret = book.create("agent", agent=entry.agent_id, comment=f"enrolled with {join.id}")
    logger.info("agent enrolled", extra={"agent": entry.agent_id, "join": join.id, "token": row.id, "peer": entry.peer})
    return secret, row
