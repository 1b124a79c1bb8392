"""What the hub remembers over a restart, in one sqlite3 file: agents, their configurations, routes, tokens.

Each kind of row has a module of its own that takes the `Database`; nothing else sees SQL.
"""

from __future__ import annotations

from hubd.store.database import Database, StoreError

__all__ = ["Database", "StoreError"]
