"""Rules for visitors, as stored and as used."""

from __future__ import annotations

import json
from ipaddress import ip_network

import pytest

from hubd.identity.access import Access, AccessError, read_access, to_store
from hubd.identity.passwords import matches

NONE: dict[str, object] = {}


def test_what_a_rule_leaves_out_is_the_hubs() -> None:
    default = Access("bearer", (ip_network("10.0.0.0/8"),))
    assert read_access({}, default) == default
    assert read_access({"mode": "open"}, default) == Access("open", default.networks)
    assert read_access({"allow_networks": ["::1"]}, default) == Access("bearer", (ip_network("::1"),))


def test_open_means_anybody_from_anywhere() -> None:
    assert Access().open
    assert not Access("open", (ip_network("10.0.0.0/8"),)).open and not Access("basic").open


def test_passwords_are_stored_as_hashes_and_kept_when_not_given_again() -> None:
    stored = to_store(mode="basic", allow_networks=["10.0.0.0/8"], users={"ann": "secret"}, before=NONE)
    assert "secret" not in json.dumps(stored)
    rule = read_access(json.loads(json.dumps(stored)), Access())
    assert rule.mode == "basic" and matches(b"secret", rule.users["ann"]) and "scrypt" not in repr(rule)
    again = to_store(mode="basic", allow_networks=[], users={"ann": "", "bob": "x"}, before=stored)
    assert again["users"]["ann"] == stored["users"]["ann"] and set(again["users"]) == {"ann", "bob"}
    assert to_store(mode="", allow_networks=[], users={}, before=again) == {}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"mode": "closed"}, "mode"),
        ({"allow_networks": ["nowhere"]}, "allow_networks"),
        ({"allow_networks": ["10.0.0.1/8"]}, "allow_networks"),
        ({"allow_networks": ["10.0.0.0/8"] * 1001}, "allow_networks"),
        ({"users": {"a:b": "x"}}, "users"),
        ({"users": {"": "x"}}, "users"),
        ({"users": {"ann": ""}}, "users"),
        ({"users": {"ann": "x" * 2000}}, "users"),
        ({"users": {str(number): "" for number in range(1001)}}, "users"),
    ],
)
def test_a_wish_that_cannot_be_names_its_field(given: dict[str, object], field: str) -> None:
    with pytest.raises(AccessError) as caught:
        to_store(**({"mode": "", "allow_networks": [], "users": {}, "before": NONE} | given))  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize("stored", [{"mode": "closed"}, {"allow_networks": ["x"]}, {"users": {"ann": "plain"}}])
def test_a_stored_rule_that_cannot_be_is_told(stored: dict[str, object]) -> None:
    with pytest.raises(AccessError):
        read_access(stored, Access())
