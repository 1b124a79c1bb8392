"""Upgrade `yamux`: after the 101 the connection carries the session's bytes as they are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from yamux.carrier import Fields, Framing


class RawFraming:
    """Session bytes directly on the connection."""

    __slots__ = ()

    def start(self, transport: asyncio.Transport, session: asyncio.Protocol, leftover: bytes) -> None:
        """See `yamux.carrier.Framing.start`."""
        transport.set_protocol(session)
        session.connection_made(transport)
        if leftover:
            session.data_received(leftover)


RAW_FRAMING = RawFraming()


class RawOffer:
    """Needs no fields of its own; any 101 for the token confirms it."""

    __slots__ = ()

    @property
    def headers(self) -> Fields:
        """None."""
        return []

    def confirm(self, headers: Fields) -> Framing:
        """See `yamux.carrier.Offer.confirm`."""
        return RAW_FRAMING


@dataclass(frozen=True, slots=True)
class RawUpgrade:
    """An upgrade token that stands for raw session bytes.

    Carriers that bring no framing of their own use it as it is; several may, the registry merges them.
    """

    token: bytes = b"yamux"

    def offer(self) -> RawOffer:
        """See `yamux.carrier.Upgrade.offer`."""
        return RawOffer()

    def accept(self, headers: Fields) -> tuple[Fields, Framing]:
        """See `yamux.carrier.Upgrade.accept`."""
        return [], RAW_FRAMING
