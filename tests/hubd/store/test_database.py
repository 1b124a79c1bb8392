"""The store's file: whole, private, and of a version that is known."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hubd.store import Database, StoreError
from hubd.store.schema import MIGRATIONS


def test_a_new_store_is_private_and_of_the_newest_version(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    Database(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    database = Database(path)
    assert database.write("INSERT INTO agents (id, created) VALUES (?, ?)", ("a", 1.0)) == 1
    database.close()
    again = Database(path)
    row = again.row("SELECT * FROM agents")
    assert row is not None and (row["id"], row["revision"]) == ("a", 1)
    again.close()


def test_a_transaction_that_fails_leaves_nothing() -> None:
    database = Database()
    with pytest.raises(ZeroDivisionError), database.transaction():
        database.write("INSERT INTO agents (id, created) VALUES ('a', 1.0)")
        raise ZeroDivisionError
    assert database.rows("SELECT * FROM agents") == []
    database.close()


def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="has version 99, this program knows"):
        Database(path)


@pytest.mark.parametrize("content", [b"no database at all, but quite long" * 100])
def test_a_file_that_is_no_store_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hub.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot use the store .*not a database"):
        Database(path)
    assert path.read_bytes() == content


def test_a_folder_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory"):
        Database(tmp_path / "none" / "hub.db")


WRITER = """
import sys
from pathlib import Path
from hubd.store import Database
database = Database(Path(sys.argv[1]))
number = 0
while True:
    with database.transaction():
        database.write("INSERT INTO agents (id, created) VALUES (?, 0.0)", (f"a{number}",))
        database.write("INSERT INTO configs (agent, version, config, created) VALUES (?, 1, x'', 0.0)", (f"a{number}",))
    print(number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("told", [1, 7, 50])
def test_a_kill_between_any_two_writes_leaves_whole_transactions(tmp_path: Path, told: int) -> None:
    path = tmp_path / "hub.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        last = 0
        for _ in range(told):
            last = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
    database = Database(path)
    agents = {row["id"] for row in database.rows("SELECT id FROM agents")}
    assert agents == {row["agent"] for row in database.rows("SELECT agent FROM configs")}
    assert {f"a{number}" for number in range(last + 1)} <= agents
    database.close()
