from __future__ import annotations

from hubd.store.configs import KEPT, Configs
from hubd.store.database import Database


def test_versions(tmp_path):
    path = tmp_path / "hub.db"
    database = Database(path)
    configs = Configs(database)
    assert configs.newest("a") is None
    first = configs.add("a", b"one", author="me", comment="c")
    second = configs.add("a", b"two", author="me", rollback_of=1)
    configs.add("b", b"other", author="me")
    assert (first.version, second.version, configs.newest("a")) == (1, 2, second)
    assert configs.all("a") == [second, first]
    configs.refused("a", 2, "why")
    database.close()
    again = Configs(Database(path))
    assert again.get("a", 2).last_error == "why"
    assert (again.get("a", 1), again.get("a", 3)) == (first, None)


def test_the_oldest_is_forgotten():
    configs = Configs(Database())
    for number in range(KEPT + 5):
        configs.add("a", b"%d" % number, author="me")
    kept = configs.all("a")
    assert [record.version for record in kept] == list(range(KEPT + 5, 5, -1))
