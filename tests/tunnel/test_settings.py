from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, model_validator

from tunnel.logs import Secret
from tunnel.settings import (
    EXIT_CONFIG,
    ByteSize,
    Duration,
    HostPort,
    Loaded,
    Section,
    SettingsError,
    load,
)


class Http(Section):
    listen: HostPort = HostPort("127.0.0.1", 8882)
    also: list[HostPort] = []
    timeout: Duration = 30.0
    max_body: ByteSize = 1024
    tags: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Http:
        if self.timeout > 1000:
            raise ValueError("timeout is absurd")
        return self


class Service(Section):
    target: str
    port: int | None = None


class Model(Section):
    name: str = "h1"
    http: Http = Http()
    service: dict[str, Service] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    items: list[Service] = Field(default_factory=list)
    token: Secret | None = None


class Load:
    """Loads a model from the text of a file, variables and flags."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "hubd.toml"

    def __call__(
        self,
        text: str | None = None,
        environ: dict[str, str] | None = None,
        flags: dict[str, object] | None = None,
        model: type[Any] = Model,
        **more: Any,
    ) -> Loaded[Any]:
        if text is not None:
            self.file.write_text(text)
        file = None if text is None else self.file
        return load(model, prefix="HUBD_", file=file, flags=flags or {}, environ=environ or {}, **more)

    def faults(self, *args: Any, **more: Any) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            self(*args, **more)
        lines = str(caught.value).splitlines()
        assert len(lines) == len(caught.value.faults)
        return [line.replace(str(self.file), "FILE") for line in lines]


@pytest.fixture
def do(tmp_path: Path) -> Load:
    return Load(tmp_path)


def test_nothing_given_means_defaults(do: Load) -> None:
    loaded = do()
    assert loaded.value == Model()
    assert set(loaded.origins.values()) == {"default"}
    assert EXIT_CONFIG == 78


def test_each_layer_wins_over_the_one_below(do: Load) -> None:
    text = '[http]\nlisten = "127.0.0.1:1"\ntimeout = "1s"\nmax_body = "1 KiB"\n'
    environ = {"HUBD_HTTP__TIMEOUT": "2s", "HUBD_HTTP__MAX_BODY": "2 KiB"}
    loaded = do(text, environ, {"http.max_body": "3 KiB", "name": None})
    http = loaded.value.http
    assert (http.listen, http.timeout, http.max_body) == (HostPort("127.0.0.1", 1), 2.0, 3072)
    assert loaded.origins["http.listen"] == f"{do.file}:2"
    assert loaded.origins["http.timeout"] == "HUBD_HTTP__TIMEOUT"
    assert loaded.origins["http.max_body"] == "--http-max-body"
    assert loaded.origins["name"] == loaded.origins["http.tags"] == "default"


def test_a_flag_may_have_another_name(do: Load) -> None:
    loaded = do(flags={"http.listen": "[::1]:7"}, flag_names={"http.listen": "--listen"})
    assert loaded.origins["http.listen"] == "--listen"
    assert do.faults(flags={"http.listen": "7"}, flag_names={"http.listen": "--listen"}) == [
        '--listen: \'7\' is not HOST:PORT, such as "127.0.0.1:8882" or "[::1]:8882"'
    ]


def test_a_flag_without_a_setting_is_a_mistake_in_the_program(do: Load) -> None:
    with pytest.raises(ValueError, match=r"no setting is called http\.lisen"):
        do(flags={"http.lisen": 1})


def test_unknown_keys_in_the_file_name_line_and_likely_key(do: Load) -> None:
    text = (
        'naem = "x"\n\n[http]\nlisen = "127.0.0.1:1"\n\n[service.web]\ntarget = "a"\ncolour = 1\n\n[nonsense]\na = 1\n'
    )
    assert do.faults(text) == [
        'FILE:1: naem: unknown key (did you mean "name"?)',
        'FILE:4: http.lisen: unknown key (did you mean "listen"?)',
        "FILE:8: service.web.colour: unknown key",
        "FILE:10: nonsense: unknown key",
    ]


def test_unknown_keys_inside_lists_and_inline_tables(do: Load) -> None:
    text = 'http = { timeot = 1 }\n[[items]]\ntarget = "a"\n[[items]]\ntarget = "b"\nprot = 1\n'
    assert do.faults(text) == [
        'FILE:1: http.timeot: unknown key (did you mean "timeout"?)',
        'FILE:6: items[1].prot: unknown key (did you mean "port"?)',
    ]


def test_unknown_variables_are_faults_with_the_likely_name(do: Load) -> None:
    assert do.faults(environ={"HUBD_HTTP_LISTEN": "x", "HUBD_NAME__X": "y", "OTHER": "z"}) == [
        'HUBD_HTTP_LISTEN: unknown variable (did you mean "HUBD_HTTP__LISTEN"?)',
        'HUBD_NAME__X: unknown variable (did you mean "HUBD_NAME"?)',
    ]


def test_variables_of_orchestrators_and_reserved_ones_are_left_alone(do: Load) -> None:
    environ = {
        "HUBD_SERVICE_HOST": "10.0.0.1",
        "HUBD_SERVICE_PORT_HTTP": "80",
        "HUBD_PORT": "tcp://10.0.0.1:80",
        "HUBD_PORT_80_TCP_ADDR": "10.0.0.1",
        "HUBD_CONFIG": "/etc/hubd.toml",
    }
    assert do(environ=environ, reserved=["HUBD_CONFIG"]).value == Model()


def test_lists_and_tables_in_variables(do: Load) -> None:
    environ = {
        "HUBD_HTTP__ALSO": "127.0.0.1:1, [::1]:2",
        "HUBD_HTTP__TAGS": '["a,b", "c"]',
        "HUBD_LABELS": '{"region": "eu"}',
        "HUBD_SERVICE__WEB__TARGET": "http://x",
    }
    value = do(environ=environ).value
    assert value.http.also == [HostPort("127.0.0.1", 1), HostPort("::1", 2)]
    assert value.http.tags == ("a,b", "c")
    assert value.labels == {"region": "eu"}
    assert value.service["web"].target == "http://x"


def test_broken_json_in_a_variable(do: Load) -> None:
    assert do.faults(environ={"HUBD_HTTP__TAGS": '["a'}) == ["HUBD_HTTP__TAGS: not valid JSON"]


def test_one_variable_changes_one_key_of_a_table_in_the_file(do: Load) -> None:
    loaded = do('[labels]\na = "1"\nb = "2"\n', {"HUBD_LABELS__B": "3"})
    assert loaded.value.labels == {"a": "1", "b": "3"}
    assert loaded.origins["labels.a"] == f"{do.file}:2"
    assert loaded.origins["labels.b"] == "HUBD_LABELS__B"


def test_a_table_given_whole_replaces_the_weaker_one(do: Load) -> None:
    loaded = do('[labels]\na = "1"\n', {"HUBD_LABELS": '{"b": "2"}'})
    assert loaded.value.labels == {"b": "2"}
    assert loaded.origins["labels.b"] == "HUBD_LABELS"


def test_all_faults_come_at_once_each_with_its_place(do: Load) -> None:
    text = '[http]\nlisten = ":80"\nlisen = 1\ntimeout = [\n  1,\n]\n[service.web]\nport = "x"\n'
    found = do.faults(text, {"HUBD_HTTP__MAX_BODY": "much"}, {"http.tags": 7})
    assert found == [
        'FILE:2: http.listen: \':80\' names no host; write "127.0.0.1:80", or "0.0.0.0:80" for all of IPv4',
        'FILE:3: http.lisen: unknown key (did you mean "listen"?)',
        'FILE:4: http.timeout: [1] is not a duration; write it like "30s", "1.5m" or "250ms"',
        "FILE:7: service.web.target: required, but not set; give it in the file or as HUBD_SERVICE__WEB__TARGET",
        "FILE:8: service.web.port: input should be a valid integer, unable to parse string as an integer",
        'HUBD_HTTP__MAX_BODY: \'much\' is not a size; write it like "64 KiB", "10 MB" or a number of bytes',
        "--http-tags: input should be a valid tuple",
    ]


def test_required_and_set_nowhere(do: Load) -> None:
    class Needy(Section):
        id: str

    assert do.faults(model=Needy) == ["settings: id: required, but not set; give it in the file or as HUBD_ID"]


def test_a_fault_between_keys_names_their_section(do: Load) -> None:
    assert do.faults('[http]\ntimeout = "2h"\n') == ["FILE:1: http: timeout is absurd"]


def test_a_broken_file_does_not_hide_the_other_faults(do: Load) -> None:
    class Needy(Section):
        id: str
        size: ByteSize = 1

    found = do.faults('id = "x"\n[http\n', {"HUBD_SIZE": "x", "HUBD_SIZ": "1"}, model=Needy)
    assert found[0].startswith("FILE:2: not valid TOML: ")
    assert found[1] == 'HUBD_SIZ: unknown variable (did you mean "HUBD_SIZE"?)'
    assert found[2].startswith("HUBD_SIZE: 'x' is not a size")
    assert len(found) == 3


def test_a_file_that_ends_too_early_names_its_last_line(do: Load) -> None:
    assert do.faults('name = "x"\nlabels = [')[0].startswith("FILE:2: not valid TOML: ")


def test_files_that_cannot_be_read(do: Load, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="gone.toml: cannot read the file: No such file"):
        load(Model, prefix="HUBD_", file=tmp_path / "gone.toml", flags={}, environ={})
    do.file.write_bytes(b'name = "\xff"\n')
    with pytest.raises(SettingsError, match="not UTF-8 text"):
        load(Model, prefix="HUBD_", file=do.file, flags={}, environ={})


def test_f11_secrets_show_neither_in_faults_nor_in_rows(do: Load) -> None:
    loaded = do('token = "canary-1"\n')
    assert loaded.value.token == Secret("canary-1")
    assert "canary" not in repr(loaded)
    assert "canary" not in "".join(f"{row}" for row in loaded.rows())
    assert do.faults('token = ["canary-2"]\n') == ["FILE:1: token: a secret must be text"]


def test_rows_show_every_setting_with_its_origin(do: Load) -> None:
    rows = {key: (value, origin) for key, value, origin in do('[service.web]\ntarget = "t"\n').rows()}
    assert rows["name"] == ("h1", "default")
    assert rows["service.web.target"] == ("t", f"{do.file}:2")
    assert rows["labels"] == ({}, "default")


def test_models_that_do_not_forbid_extra_keys_still_have_unknown_keys_refused(do: Load) -> None:
    class Loose(BaseModel):
        name: str = ""

    assert do.faults("nam = 1\n", model=Loose) == ['FILE:1: nam: unknown key (did you mean "name"?)']


def test_a_choice_between_models_reports_the_key_once_per_reason(do: Load) -> None:
    class One(Section):
        a: int

    class Two(Section):
        b: int

    class Either(Section):
        pick: One | Two

    assert do.faults("[pick]\nc = 1\n", model=Either) == [
        "FILE:1: pick.a: required, but not set; give it in the file or as HUBD_PICK__A",
        "FILE:1: pick.b: required, but not set; give it in the file or as HUBD_PICK__B",
        "FILE:2: pick.c: unknown key",
    ]
