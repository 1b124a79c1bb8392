"""What a hook is told of the one it decides on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Attach:
    """An agent whose credentials were good.

    Args:
        agent_id: what it wants to attach as.
        address: where it comes from, also behind a trusted proxy; "" on a socket in the file system.
        actor: what it was let in by: "tokens/{id}", "cert/{name}", or "" where nobody asked.
        instance: random name of its process, or "".
        version: as it says.
        labels: as it says.
    """

    agent_id: str
    address: str
    actor: str = ""
    instance: str = ""
    version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Visit:
    """A request whose credentials, if the agent asks for any, were good.

    Args:
        agent_id: whom it is for.
        address: where it comes from, also behind a trusted proxy; "" on a socket in the file system.
        actor: "tokens/{id}", "users/{name}", "cert" or "" where nobody asked.
        method: such as "GET".
        path: at the target, as received; percent-encoded.
        host: the Host it was sent to.
        secure: it came over TLS.
        fields: names and values as received, hop-by-hop and forwarding ones left out. Not to be changed or kept.
    """

    agent_id: str
    address: str
    actor: str
    method: str
    path: str
    host: str
    secure: bool
    fields: Sequence[tuple[bytes, bytes]] = field(repr=False)

    def header(self, name: str) -> str:
        """The value of a field, several joined by commas; "" if there is none."""
        wanted = name.lower().encode("latin-1")
        return b", ".join(value for key, value in self.fields if key.lower() == wanted).decode("latin-1")
