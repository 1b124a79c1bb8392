"""The hubs to stay connected to, from URLs: which carrier, which address, which id. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carrier_api import Registry
from tunnel.attach import ATTACH_PREFIX
from tunnel.attach.server import AGENT_ID
from tunnel.settings import Fault
from tunnel.targets import Target
from yamux.carrier import Carrier, CarrierAddress


@dataclass(frozen=True, slots=True)
class Hub:
    """One hub and what to attach there as.

    Attributes:
        carrier: owner of the URL's scheme.
        address: the URL, read.
        agent_id: from the URL or the settings.
    """

    carrier: Carrier
    address: CarrierAddress
    agent_id: str

    @property
    def place(self) -> str:
        """Scheme, host and port, for messages."""
        return f"{self.address.scheme}://{self.address.authority}"


def read_hubs(
    urls: Sequence[str],
    agent_id: str | None,
    targets: Iterable[Target],
    registry: Registry,
    *,
    token: bool = False,
    where: str = "--hub",
) -> tuple[list[Hub], list[Fault]]:
    """Read the hubs' URLs.

    Args:
        urls: as given.
        agent_id: used where the URL has none.
        targets: none of them may be a hub: requests would go round in circles.
        registry: knows the carriers.
        token: one is to be sent, which takes an encrypted carrier or a local one.
        where: named in the faults.

    Returns:
        The hubs, and everything that is wrong with them.
    """
    hubs: list[Hub] = []
    faults: list[Fault] = []
    for url in urls:
        try:
            carrier = registry.for_url(url)
            address = carrier.parse(url)
            hubs.append(Hub(carrier, address, _agent_id(address, agent_id)))
        except ValueError as exc:
            faults.append(Fault(where, "", str(exc)))
    for hub in hubs:
        if token and not (hub.address.secure or hub.address.local):
            text = f"no token is sent to {hub.place}, which is not encrypted: use wss:// or tls://"
            faults.append(Fault("--token-file", "", text))
    places = {(hub.address.host.lower(), hub.address.port) for hub in hubs}
    for target in targets:
        if not target.socket and (target.host, target.port) in places:
            faults.append(Fault("--target", "", f"{target.url} is the hub itself: requests would go round in circles"))
    for index, hub in enumerate(hubs):
        if (hub.address, hub.agent_id) in [(other.address, other.agent_id) for other in hubs[:index]]:
            faults.append(Fault(where, "", f"{hub.address.url} is given twice"))
    return hubs, faults


def unprotected(
    hubs: Iterable[Hub], *, token: bool, certificate: bool, plain: bool, anonymous: bool, where: str = "--hub"
) -> list[Fault]:
    """Hubs on other machines that the agent would trust, or that would trust it, for nothing.

    Args:
        hubs: from `read_hubs`.
        token: there is one; that it goes over no plain line is `read_hubs`' concern.
        certificate: the agent has one of its own.
        plain: lines that can be read on the way are wanted.
        anonymous: hubs that ask for nothing are wanted.
        where: named in the faults.
    """
    faults = []
    for hub in hubs:
        if hub.address.local:
            continue
        if not (hub.address.secure or plain or token):
            text = f"{hub.place} is on another machine and not encrypted: use wss:// or tls://, or say --insecure-plain-hub"
            faults.append(Fault(where, "", text))
        if not (token or certificate or anonymous):
            text = (
                f"nothing proves to {hub.place} who this agent is: give --token-file or --client-cert, "
                "or say --insecure-no-credentials"
            )
            faults.append(Fault(where, "", text))
    return faults


def _agent_id(address: CarrierAddress, given: str | None) -> str:
    _, found, last = address.path.rpartition(ATTACH_PREFIX)
    if not found or not last or "/" in last:
        if given is None:
            raise ValueError(f"{address.url} names no agent: give --id NAME")
        return given
    if not AGENT_ID.fullmatch(last):
        raise ValueError(f"{last!r} in {address.url} is no agent id")
    if given is not None and given != last:
        raise ValueError(f"{address.url} attaches as {last}, --id says {given}: drop one of them")
    return last
