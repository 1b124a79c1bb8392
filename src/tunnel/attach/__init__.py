"""Attach: the HTTP Upgrade by which an agent turns a carrier connection into a session. Both sides.

The client (`attach`) dials, sends `GET /api/v1/hubs/{id}` with `Upgrade`, and on 101 hands the connection to the
session. The server's part (`parse_attach_path`, `check_upgrade`, `encode_101`) is pure: it reads a request head and
says what to answer; whoever owns the connection writes the answer and starts the framing.
"""

from __future__ import annotations

from tunnel.attach.client import AttachFailed, AttachInfo, AttachRefused, attach, attach_path
from tunnel.attach.server import ATTACH_PREFIX, Accepted, check_upgrade, encode_101, parse_attach_path

__all__ = [
    "ATTACH_PREFIX",
    "Accepted",
    "AttachFailed",
    "AttachInfo",
    "AttachRefused",
    "attach",
    "attach_path",
    "check_upgrade",
    "encode_101",
    "parse_attach_path",
]
