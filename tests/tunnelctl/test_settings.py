"""The contexts file and the environment."""

from __future__ import annotations

import tomllib

import pytest

from tunnelctl import settings
from tunnelctl.options import Output
from tunnelctl.problems import Problem


def test_where_the_file_is(home):
    assert settings.path({"HOME": "/h"}).as_posix() == "/h/.config/tunnelctl/config.toml"
    assert settings.path({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}).as_posix() == "/x/tunnelctl/config.toml"
    assert settings.path({"TUNNELCTL_CONFIG": "/c.toml"}).as_posix() == "/c.toml"


def test_layers(home):
    file = home / "c.toml"
    file.write_text('output = "yaml"\ntimeout = "3s"\n')
    environ = {"TUNNELCTL_CONFIG": str(file), "TUNNELCTL_TIMEOUT": "4s"}
    found = settings.read(environ, {"timeout": None})
    assert (found.output, found.timeout) == (Output.YAML, 4.0)
    assert settings.read(environ, {"timeout": "5s"}).timeout == 5.0
    assert settings.read({"HOME": str(home)}) == settings.Settings()


def test_a_file_that_was_named_must_be_there():
    with pytest.raises(Problem, match="cannot read") as caught:
        settings.read({"TUNNELCTL_CONFIG": "/nowhere.toml"})
    assert caught.value.code == 78


def test_a_bad_flag_is_bad_usage():
    with pytest.raises(Problem) as caught:
        settings.read({"HOME": "/nowhere"}, {"timeout": "soon"})
    assert caught.value.code == 2


def test_no_time_at_all_is_no_deadline():
    with pytest.raises(Problem, match="--timeout: .*greater than 0"):
        settings.read({"HOME": "/nowhere"}, {"timeout": "0s"})


def test_odd_names_are_written_so_that_they_read_the_same(home):
    file = home / "deep" / "c.toml"
    name = 'a "b" ü.\x7f'
    found = settings.Settings(current=name, context={name: settings.Context(address="unix:/x", token_file="a\\b")})
    settings.write(file, found)
    assert tomllib.loads(file.read_text())["context"][name] == {"address": "unix:/x", "token_file": "a\\b"}
    assert settings.read({"TUNNELCTL_CONFIG": str(file)}) == found
    assert [path.name for path in file.parent.iterdir()] == ["c.toml"]


def test_a_folder_that_cannot_be_written(home):
    (home / "file").write_text("")
    with pytest.raises(Problem, match="cannot write the contexts file"):
        settings.write(home / "file" / "c.toml", settings.Settings())
