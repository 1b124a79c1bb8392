from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

from carrier_api import RawUpgrade, Registry, hookimpl
from carrier_tcp import TcpCarrier
from yamux.carrier import Carrier


class Dist(metadata.Distribution):
    def __init__(self, name: str) -> None:
        self._text = f"Name: {name}\nVersion: 1.2\n"

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        return Path("/nowhere")


def entry(name: str, module: str, dist: str = "somedist") -> metadata.EntryPoint:
    point = metadata.EntryPoint(name, module, "tunnel.carriers")
    vars(point)["dist"] = Dist(dist)
    return point


class Other(TcpCarrier):
    """A carrier of another name and scheme."""

    def __init__(self, name: str, *schemes: str, token: bytes = b"yamux") -> None:
        self.name = name  # type: ignore[misc]
        self.schemes = schemes  # type: ignore[assignment]
        self.upgrade = RawUpgrade(token)  # type: ignore[misc]


Make = Callable[..., str]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes importable plugin modules."""
    count = 0

    def make(*carriers: object, **attributes: object) -> str:
        nonlocal count
        count += 1
        name = f"plugin_under_test_{count}"
        made = types.ModuleType(name)

        @hookimpl
        def tunnel_carriers() -> list[object]:
            return list(carriers)

        made.__dict__.update({"tunnel_carriers": tunnel_carriers, **attributes})
        monkeypatch.setitem(sys.modules, name, made)
        return name

    yield make


def test_a_good_plugin_is_usable(module: Make) -> None:
    carrier = Other("pigeon", "pigeon", "dove")
    registry = Registry.load(entry_points=[entry("birds", module(carrier))])
    assert registry.for_url("pigeon://roof") is carrier is registry.for_url("DOVE://roof")
    assert registry.failures == []
    assert registry.upgrades() == {b"yamux": RawUpgrade()}
    assert list(registry.carriers) == ["pigeon"]
    (row,) = registry.plugins()
    assert (row.name, row.dist, row.version, row.state) == ("birds", "somedist", "1.2", "loaded")
    assert row.detail == "pigeon:// dove://"


def test_one_broken_plugin_leaves_the_others_alone(module: Make) -> None:
    good = Other("pigeon", "pigeon")
    registry = Registry.load(
        entry_points=[entry("broken", "no_such_module_anywhere", "brokendist"), entry("good", module(good))]
    )
    assert registry.for_url("pigeon://x") is good
    (line,) = registry.failures
    assert line.startswith("carrier plugin broken (brokendist): import failed: ModuleNotFoundError")
    assert "\n" not in line


@pytest.mark.parametrize("fault", [RuntimeError("no\nway \x1b[31m"), SystemExit(3), KeyError("x" * 5000)])
def test_whatever_an_import_raises_is_one_short_printable_line(
    fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Finder:
        def find_spec(self, name: str, path: object, target: object = None) -> None:
            if name == "plugin_that_raises":
                raise fault

    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    (line,) = Registry.load(entry_points=[entry("bad", "plugin_that_raises")]).failures
    assert line.isprintable() and len(line) < 400 and type(fault).__name__ in line


def hook_with_argument() -> object:
    @hookimpl
    def tunnel_carriers(config: object) -> list[Carrier]:
        return []

    return tunnel_carriers


def misspelt_hook() -> object:
    @hookimpl
    def tunnel_carrier() -> list[Carrier]:
        return []

    return tunnel_carrier


def failing_hook() -> object:
    @hookimpl
    def tunnel_carriers() -> list[Carrier]:
        raise RuntimeError("no antenna")

    return tunnel_carriers


def wrapper_hook() -> object:
    @hookimpl(wrapper=True)
    def tunnel_carriers() -> Iterator[None]:
        return (yield)

    return tunnel_carriers


def none_hook() -> object:
    @hookimpl
    def tunnel_carriers() -> None:
        return None

    return tunnel_carriers


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"tunnel_carriers": hook_with_argument()}, "bad hook: tunnel_carriers takes no arguments"),
        (
            {"tunnel_carrier": misspelt_hook()},
            "bad hook: unknown hook tunnel_carrier, the known one is tunnel_carriers",
        ),
        ({"tunnel_carriers": None}, "implements no tunnel_carriers hook"),
        ({"tunnel_carriers": failing_hook()}, "tunnel_carriers failed: RuntimeError: no antenna"),
        ({"tunnel_carriers": wrapper_hook()}, "bad hook: tunnel_carriers cannot be a wrapper"),
        ({"tunnel_carriers": none_hook()}, "tunnel_carriers failed: TypeError"),
    ],
)
def test_bad_hooks(module: Make, attributes: dict[str, object], reason: str) -> None:
    good = Other("pigeon", "pigeon")
    points = [entry("bad", module(Other("dove", "dove"), **attributes)), entry("good", module(good))]
    registry = Registry.load(entry_points=points)
    (line,) = registry.failures
    assert reason in line
    # Nothing of the bad plugin stays behind, not even for the check of the next one.
    assert registry._manager.get_plugins() == {sys.modules[points[1].value]}
    assert list(registry.carriers) == ["pigeon"]


class NoDial(Other):
    dial = None  # type: ignore[assignment]


class NoToken(Other):
    def __init__(self) -> None:
        super().__init__("notoken", "notoken")
        self.upgrade = object()  # type: ignore[misc, assignment]


@pytest.mark.parametrize(
    ("carrier", "reason"),
    [
        (object(), "object is no carrier: name must match"),
        (Other("Upper", "upper"), "name must match"),
        (Other("pigeon"), "schemes must be"),
        (Other("pigeon", "Pigeon"), "schemes must be"),
        (Other("pigeon", "a b"), "schemes must be"),
        (NoDial("pigeon", "pigeon"), "no method dial"),
        (NoToken(), "upgrade.token"),
        (Other("pigeon", "pigeon", token=b"Yamux"), "upgrade.token"),
    ],
)
def test_objects_that_are_no_carriers(module: Make, carrier: object, reason: str) -> None:
    registry = Registry.load(entry_points=[entry("bad", module(carrier))])
    (line,) = registry.failures
    assert reason in line
    assert registry.carriers == {}


def test_no_carrier_at_all(module: Make) -> None:
    (line,) = Registry.load(entry_points=[entry("empty", module())]).failures
    assert "returned no carrier" in line


def test_two_distributions_with_one_name_are_both_refused(module: Make) -> None:
    points = [entry("tcp", module(Other("a", "a")), "ours"), entry("tcp", module(Other("b", "b")), "theirs")]
    registry = Registry.load(entry_points=points)
    assert registry.carriers == {}
    assert len(registry.failures) == 2
    assert all("claimed by ours and theirs" in line for line in registry.failures)
    assert [row.dist for row in registry.plugins()] == ["ours", "theirs"]


def test_a_name_claimed_twice_is_not_imported() -> None:
    points = [entry("tcp", "module_never_imported", "ours"), entry("tcp", "module_never_imported", "theirs")]
    assert not any("import" in line for line in Registry.load(entry_points=points).failures)


@pytest.mark.parametrize(
    ("first", "second", "claim"),
    [
        (Other("same", "one"), Other("same", "two"), "carrier name same"),
        (Other("one", "same"), Other("two", "other", "same"), "scheme same://"),
    ],
)
def test_duplicate_carriers_and_schemes(module: Make, first: Other, second: Other, claim: str) -> None:
    third = Other("third", "third")
    points = [entry("p1", module(first), "d1"), entry("p2", module(second), "d2"), entry("p3", module(third))]
    registry = Registry.load(entry_points=points)
    assert len(registry.failures) == 2
    assert all(f"{claim} is claimed by p1 (d1) and p2 (d2)" in line for line in registry.failures)
    assert list(registry.carriers) == ["third"]
    # Which of the two is meant is for the settings to say.
    assert list(Registry.load(entry_points=points, disabled=["p1"]).carriers) == [second.name, "third"]


class OddUpgrade(RawUpgrade):
    """Same token, other meaning."""


class Odd(Other):
    def __init__(self) -> None:
        super().__init__("odd", "odd")
        self.upgrade = OddUpgrade()  # type: ignore[misc]


def test_upgrade_tokens_are_shared_by_one_kind_only(module: Make) -> None:
    one, two = Other("one", "one"), Other("two", "two")
    registry = Registry.load(entry_points=[entry("p1", module(one)), entry("p2", module(two))])
    assert registry.failures == []
    assert registry.upgrades() == {b"yamux": RawUpgrade()}
    registry = Registry.load(entry_points=[entry("p1", module(one)), entry("p2", module(Odd()))])
    assert all("upgrade token yamux is claimed by different kinds" in line for line in registry.failures)
    assert registry.upgrades() == {}


def test_disabled_plugins_are_not_imported(module: Make) -> None:
    points = [entry("off", "module_never_imported"), entry("on", module(Other("on", "on")))]
    registry = Registry.load(entry_points=points, disabled={"off"})
    assert registry.failures == []
    assert [(row.name, row.state) for row in registry.plugins()] == [("off", "disabled"), ("on", "loaded")]


def test_only_the_named_plugins_are_loaded(module: Make) -> None:
    points = [entry("off", "module_never_imported"), entry("on", module(Other("on", "on")))]
    registry = Registry.load(entry_points=points, only={"on", "gone"})
    assert list(registry.carriers) == ["on"]
    assert registry.failures == ["carrier plugin gone is named in the settings but not installed"]


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("tpc://hub:1", ["no carrier for tpc://", "known schemes: tcp, wss", "did you mean tcp://?"]),
        ("https://s3cret@hub", ["no carrier for https://", "did you mean wss://?"]),
        ("carrot://hub", ["no carrier for carrot://", "1 plugin(s) could not be loaded"]),
        ("hub:8882", ["starts with a scheme", "known schemes: tcp, wss"]),
        ("", ["starts with a scheme"]),
        ("\n://s3cret", ["starts with a scheme"]),
    ],
)
def test_unknown_schemes_are_one_helpful_line(module: Make, url: str, parts: list[str]) -> None:
    points = [entry("good", module(Other("x", "tcp", "wss"))), entry("bad", "no_such_module_anywhere")]
    registry = Registry.load(entry_points=points)
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        registry.for_url(url)
    assert all(part in str(caught.value) for part in parts)
    assert "s3cret" not in str(caught.value)


def test_nothing_installed() -> None:
    registry = Registry.load(group="tunnel.group_of_nobody")
    assert (registry.plugins(), registry.failures, registry.upgrades()) == ([], [], {})
    with pytest.raises(ValueError, match="known schemes: none"):
        registry.for_url("tcp://x")
