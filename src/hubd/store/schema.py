"""The tables, by version. A version that has been released is never edited: what changes comes as the next one."""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE agents (
        id TEXT PRIMARY KEY,
        display_name TEXT NOT NULL DEFAULT '',
        annotations TEXT NOT NULL DEFAULT '{}',   -- JSON object
        limits TEXT NOT NULL DEFAULT '{}',        -- JSON object
        visitors TEXT NOT NULL DEFAULT '{}',      -- JSON object; passwords as scrypt hashes
        created REAL NOT NULL,                    -- seconds since the epoch, as all times here
        last_seen REAL,
        epoch INTEGER NOT NULL DEFAULT 0,         -- sessions so far
        denied INTEGER NOT NULL DEFAULT 0,
        deny_reason TEXT NOT NULL DEFAULT '',
        deny_until REAL,
        revision INTEGER NOT NULL DEFAULT 1       -- the etag
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE tokens (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,                       -- agent, join, admin, visitor
        role TEXT NOT NULL DEFAULT '',            -- viewer, operator, admin
        agent TEXT NOT NULL DEFAULT '',
        digest BLOB NOT NULL UNIQUE,              -- SHA-256 of the secret
        created REAL NOT NULL,
        expires REAL,
        last_use REAL,
        uses_left INTEGER,                        -- NULL is without limit
        revoked REAL,
        comment TEXT NOT NULL DEFAULT ''
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tokens_by_agent ON tokens (agent);

    CREATE TABLE configs (
        agent TEXT NOT NULL,
        version INTEGER NOT NULL,
        config BLOB NOT NULL,                     -- tunnelpb.agent.v1.AgentConfig
        created REAL NOT NULL,
        author TEXT NOT NULL DEFAULT '',
        comment TEXT NOT NULL DEFAULT '',
        rollback_of INTEGER NOT NULL DEFAULT 0,
        last_error TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (agent, version)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE routes (
        id TEXT PRIMARY KEY,
        host TEXT NOT NULL DEFAULT '',
        path TEXT NOT NULL DEFAULT '',
        tcp_port INTEGER,
        agent TEXT NOT NULL,
        service TEXT NOT NULL DEFAULT '',
        strip_path INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL,
        revision INTEGER NOT NULL DEFAULT 1
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX routes_by_port ON routes (tcp_port) WHERE tcp_port IS NOT NULL;
    CREATE UNIQUE INDEX routes_by_host ON routes (host, path) WHERE tcp_port IS NULL;

    CREATE TABLE requests (
        id TEXT PRIMARY KEY,                      -- request_id of a call that must not be done twice
        call TEXT NOT NULL,
        answer BLOB NOT NULL,
        created REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
)
