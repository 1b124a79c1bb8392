"""The management API: gRPC servers in the hub's own loop, one module a service.

Imported by name only, so that a hub without the API, and its settings, do not load gRPC.
"""

from __future__ import annotations

import os

# gRPC's core writes lines of its own to standard error, for every failed handshake one; what matters comes as errors.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
