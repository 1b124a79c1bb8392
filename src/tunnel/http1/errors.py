"""What can be wrong with a message.

MessageError
├── BadMessage   the peer's bytes break a rule: answer with ``status``, close, parse nothing more
└── Truncated    the peer closed inside a message: its other side must see an unclean end
"""

from __future__ import annotations

Fields = list[tuple[bytes, bytes]]

# Peers that do not speak HTTP/1 at all cannot read an answer, so they get none.
_SILENT = frozenset({"tls_on_plain_port", "h2_preface"})


class MessageError(Exception):
    """A message that cannot be taken.

    Attributes:
        reason: short identifier of the rule, from a closed set; fit for a metric label.
        detail: one line for a log; never holds a field value.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class BadMessage(MessageError):
    """The bytes break a rule. The connection they came on is finished: no byte behind them may be parsed.

    Attributes:
        status: the status to answer with, always together with ``Connection: close``.
        fields: header fields the answer must carry, such as the supported WebSocket version on a 426.
        silent: True if the peer speaks another protocol, so that closing without an answer is right.
    """

    def __init__(
        self, status: int, reason: str, detail: str = "", fields: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(reason, detail)
        self.status = status
        self.fields = fields
        self.silent = reason in _SILENT


class Truncated(MessageError):
    """The peer closed before the message was complete. It must not be passed on as a complete one."""
