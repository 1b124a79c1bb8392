"""Decides who may visit: by the agent's rule or the hub's own, and by what plugins say.

While everybody may visit everything, `Hub.guard` is None and the data path does no more than see that. A rule is judged
at once wherever that can be; a password that was not met before is checked in a thread, and the request waits.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
import enum
import json
import logging
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from hook_api import Visit
from hubd.headers import is_trusted, visitor_address
from hubd.identity.access import Access, AccessError, read_access
from hubd.identity.passwords import Passwords
from hubd.identity.revocations import Revocations
from hubd.peers import certificate_of
from hubd.reasons import (
    CERTIFICATE_REVOKED,
    OVERLOADED,
    VISIT_FAILED,
    VISIT_FORBIDDEN,
    VISIT_LIMITED,
    VISIT_UNAUTHORIZED,
    Reason,
)

if TYPE_CHECKING:
    from hook_api import Deny, Hooks
    from hubd.front import Front
    from hubd.identity.certificates import Authorities
    from hubd.identity.failures import Failures
    from hubd.identity.tokens import TokenBook
    from hubd.routes import Route
    from hubd.state import Hub
    from hubd.store import Database
    from tunnel.http1 import RequestHead

logger = logging.getLogger("hubd.identity")

MAX_WAITING: Final = 256
"""Requests that wait for a decision; each holds its connection and what it has sent ahead."""
MAX_PASSWORDS: Final = 32
"""Of them, those that wait for a password: at 50 ms each the last one waits 1.6 s."""
MAX_REASON: Final = 200

# The realm is shown to people; it tells nothing of the agent.
_ASK: Final = {
    "bearer": b'WWW-Authenticate: Bearer realm="tunnel"\r\n',
    "basic": b'WWW-Authenticate: Basic realm="tunnel", charset="UTF-8"\r\n',
}


class Shown(enum.Enum):
    """What a visitor's certificate is worth."""

    NOTHING = enum.auto()
    TRUSTED = enum.auto()
    REVOKED = enum.auto()


class VisitorGuard:
    """The rules of all agents.

    Args:
        hub: whose requests.
        database: where the agents' rules are.
        book: tokens of visitors.
        failures: of passwords and tokens, by source.
        hooks: plugins.

    Attributes:
        authorities: of visitors' certificates; None takes none.
        revocations: certificates with which nobody is let in, whatever else they show.
    """

    def __init__(self, hub: Hub, database: Database, book: TokenBook, failures: Failures, hooks: Hooks) -> None:
        self._hub = hub
        self._database = database
        self._book = book
        self._failures = failures
        self._hooks = hooks
        self._passwords = Passwords()
        self._rules: dict[str, Access] = {}
        self._default = Access()
        self._forward = False
        self._hashing = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.authorities: Authorities | None = None
        self.revocations = Revocations()
        self._lists = False

    # -- the rules ----------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        """Take the hub's settings and every agent's rule anew."""
        visitors = self._hub.config.visitors
        self._default = Access(visitors.mode, visitors.allow_networks, visitors.users)
        self._forward = visitors.forward_credentials
        self._rules.clear()
        for row in self._database.rows("SELECT id, visitors FROM agents WHERE visitors != '{}'"):
            self._take(row["id"], row["visitors"])
        self._settle()

    def changed(self, agent_id: str) -> None:
        """An agent's row has changed: its rule holds from the next request on."""
        row = self._database.row("SELECT visitors FROM agents WHERE id = ?", (agent_id,))
        self._rules.pop(agent_id, None)
        if row is not None and row["visitors"] != "{}":
            self._take(agent_id, row["visitors"])
        self._settle()

    def rule_of(self, agent_id: str) -> Access:
        """What holds for an agent."""
        return self._rules.get(agent_id, self._default)

    def _take(self, agent_id: str, stored: str) -> None:
        try:
            rule = read_access(json.loads(stored), self._default)
        except (AccessError, ValueError) as exc:
            # Nobody knows what was meant, so nobody is let in.
            logger.error("the rule for visitors of agent %s cannot be used: %s", agent_id, exc)  # noqa: TRY400
            rule = Access("basic")
        self._rules[agent_id] = rule

    def _settle(self) -> None:
        hub = self._hub
        free = self._default.open and all(rule.open for rule in self._rules.values()) and not self._hooks.visitors
        self._lists = bool(self.revocations)
        hub.guard = None if free and not self._lists else self
        for connection in hub.connections:
            # What became of the last head was decided by the old rules.
            connection.reader.forget()
            connection.shown = None

    # -- for each request ---------------------------------------------------------------------------------------------

    def admits(self, front: Front, head: RequestHead, route: Route) -> bool:
        """Whether a request may go on now. If not, it was answered, or is kept and goes on by itself later."""
        rule = self._rules.get(route.agent_id, self._default)
        verdict = self._judge(front, head, route, rule)
        if verdict is None:
            return True
        if isinstance(verdict, Reason):
            self._refuse(front, head, verdict, rule)
        else:
            front.held = True
            task = self._hub.loop.create_task(self._wait(front, head, route, rule, verdict))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return False

    def refuses_tcp(self, agent_id: str, peer: str) -> str:
        """Why a connection to a TCP route is not let in, "" if it is: it can show no more than where it comes from.

        Args:
            agent_id: whose route.
            peer: the visitor's address.
        """
        rule = self.rule_of(agent_id)
        if rule.mode != "open":
            return f"the agent's visitors are to prove who they are ({rule.mode}), which a TCP port cannot ask for"
        if rule.networks and not is_trusted(peer, rule.networks):
            return "the agent's visitors come from other networks"
        if self._hooks.visitors:
            return "plugins decide on visitors, and know only HTTP"
        return ""

    def _judge(
        self, front: Front, head: RequestHead, route: Route, rule: Access
    ) -> Reason | Coroutine[Any, Any, Reason | None] | None:
        """None lets it pass; a coroutine has yet to find out."""
        if self._lists and self._shown(front) is Shown.REVOKED:
            return CERTIFICATE_REVOKED
        address = visitor_address(front.link, head.special, self._hub.config.trusted_proxies)
        if rule.networks and not is_trusted(address, rule.networks):
            return VISIT_FORBIDDEN
        if rule.mode == "open":
            return self._ask(front, head, route, address, "") if self._hooks.visitors else None
        if rule.mode == "certificate":
            if self._shown(front) is not Shown.TRUSTED:
                return VISIT_FORBIDDEN
            return self._ask(front, head, route, address, "cert")
        passed = route.passed
        if passed is not None and passed[0] is rule and self._book.use_again(passed[1]):
            return self._ask(front, head, route, address, f"tokens/{passed[1]}")
        scheme, value = self._credential(head, route)
        if scheme != rule.mode.encode():
            return VISIT_UNAUTHORIZED
        if rule.mode == "bearer":
            row = self._book.verify(value.decode("latin-1"), ("visitor",))
            if row is None or row.agent != route.agent_id:
                return self._failed(address)
            # The same head on the same connection holds the same token, so the next time only its state is looked at.
            route.passed = (rule, row.id)
            return self._ask(front, head, route, address, f"tokens/{row.id}")
        return self._basic(front, head, route, rule, address, value)

    def _basic(
        self, front: Front, head: RequestHead, route: Route, rule: Access, address: str, value: bytes
    ) -> Reason | Coroutine[Any, Any, Reason | None] | None:
        try:
            name, colon, password = base64.b64decode(value, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return self._failed(address)
        user = name.decode("utf-8", "replace")
        kept = rule.users.get(user) if colon else None
        if self._passwords.known(password, kept):
            return self._ask(front, head, route, address, f"users/{user}")
        wait = self._failures.blocked(address)
        if wait:
            return dataclasses.replace(VISIT_LIMITED, retry_after=wait)
        if self._hashing >= MAX_PASSWORDS or len(self._tasks) >= MAX_WAITING:
            return OVERLOADED

        async def find_out() -> Reason | None:
            self._hashing += 1
            try:
                right = await self._hub.loop.run_in_executor(
                    self._passwords.pool, self._passwords.check, password, kept
                )
            finally:
                self._hashing -= 1
            if not right or kept is None:
                return self._failed(address)
            self._passwords.remember(password, kept)
            verdict = self._ask(front, head, route, address, f"users/{user}")
            return verdict if verdict is None or isinstance(verdict, Reason) else await verdict

        return find_out()

    def _ask(
        self, front: Front, head: RequestHead, route: Route, address: str, actor: str
    ) -> Reason | Coroutine[Any, Any, Reason | None] | None:
        """What plugins say."""
        if not self._hooks.visitors:
            return None
        if len(self._tasks) >= MAX_WAITING:
            return OVERLOADED
        visit = Visit(
            route.agent_id, address, actor, head.method.decode("ascii"), route.path.decode("latin-1"),
            head.host.decode("latin-1"), front.link.secure, head.fields,
        )  # fmt: skip
        try:
            answer = self._hooks.visitor(visit)
        except Exception:
            logger.exception("a hook failed")
            return VISIT_FAILED
        if isinstance(answer, Awaitable):
            return _hear(answer)
        return None if answer is None else denied(answer)

    async def _wait(
        self, front: Front, head: RequestHead, route: Route, rule: Access, verdict: Awaitable[Reason | None]
    ) -> None:
        try:
            async with asyncio.timeout(self._hub.timeouts.authorize):
                reason = await verdict
        except TimeoutError:
            reason = VISIT_FAILED
        except Exception:
            logger.exception("a hook failed")
            reason = VISIT_FAILED
        if not front.release():
            return
        if reason is None:
            front.go_on(head, route)
        else:
            self._refuse(front, head, reason, rule)

    def _refuse(self, front: Front, head: RequestHead, reason: Reason, rule: Access) -> None:
        front.refuse(reason, head, extra=_ASK.get(rule.mode, b"") if reason.status == 401 else b"")

    def _failed(self, address: str) -> Reason:
        wait = self._failures.note(address)
        return dataclasses.replace(VISIT_LIMITED, retry_after=wait) if wait else VISIT_UNAUTHORIZED

    def _credential(self, head: RequestHead, route: Route) -> tuple[bytes, bytes]:
        """Scheme and value of Authorization. It was meant for the hub, so the target does not get it, unless asked."""
        if route.credential is None:
            found = [value for name, value in head.fields if name.lower() == b"authorization"]
            scheme, _, value = (found[0] if len(found) == 1 else b"").partition(b" ")
            route.credential = (scheme.lower(), value.strip(b" "))
            route.withhold = not self._forward
        return route.credential

    def _shown(self, front: Front) -> Shown:
        """What the connection's certificate is worth: found out once, and again after the settings were read again."""
        if front.shown is None:
            certificate, authorities = certificate_of(front.transport), self.authorities
            if self.revocations.hold(certificate):
                front.shown = Shown.REVOKED
            elif authorities is not None and authorities.signed(certificate):
                front.shown = Shown.TRUSTED
            else:
                front.shown = Shown.NOTHING
        return front.shown

    async def close(self) -> None:
        """Decide on nothing more."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._passwords.close()


async def _hear(answer: Awaitable[Deny | None]) -> Reason | None:
    said = await answer
    return None if said is None else denied(said)


def denied(answer: Deny) -> Reason:
    """A plugin's no, with its words."""
    text = " ".join(answer.reason.split())[:MAX_REASON]
    return dataclasses.replace(VISIT_FORBIDDEN, code="denied_by_hook", message=text or VISIT_FORBIDDEN.message)
