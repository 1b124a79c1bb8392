"""The page of the API says what the protos do, and the other pages name only what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2 as pb
from typer.testing import CliRunner

from tools import apidocs
from tunnelctl.cli import app

DOCS = apidocs.ROOT / "docs"


@pytest.fixture(scope="module")
def files() -> list[pb.FileDescriptorProto]:
    return apidocs.compiled()


def test_the_page_is_up_to_date(files: list[pb.FileDescriptorProto]) -> None:
    assert (DOCS / "api.md").read_text() == apidocs.page(files)


def test_it_names_every_call_and_every_field_with_its_comment(files: list[pb.FileDescriptorProto]) -> None:
    text = apidocs.page(files)
    for file in files:
        for service in file.service:
            assert f"### {service.name}" in text
            for method in service.method:
                assert f"| `{method.name}` |" in text
        for _, message, _ in apidocs.messages(file):
            for field in message.field:
                assert f"| `{field.name}` |" in text
    assert "| `labels` | map<string, string> | All of these must be there with these values. |" in text
    assert "| `upsert` | Session | One of `change`. New or changed. |" in text
    assert "| `WatchSessions` | WatchSessionsRequest | stream WatchSessionsResponse |" in text


def test_a_page_that_is_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apidocs, "PAGE", tmp_path / "api.md")
    monkeypatch.setattr(apidocs, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="run make gen"):
        apidocs.main(["--check"])
    apidocs.main([])
    apidocs.main(["--check"])
    assert (tmp_path / "api.md").read_text() == (DOCS / "api.md").read_text()


def test_calls_that_pages_name_exist(files: list[pb.FileDescriptorProto]) -> None:
    known = {
        f"{file.package}.{service.name}/{method.name}"
        for file in files
        for service in file.service
        for method in service.method
    }
    named = set(re.findall(r"tunnelpb\.\w+\.v1\.\w+/\w+", (DOCS / "grpcurl.md").read_text()))
    assert named
    assert named <= known


def test_commands_that_pages_name_exist() -> None:
    text = (DOCS / "tunnelctl.md").read_text()
    lines = [line.split() for line in re.findall(r"^\$ tunnelctl ([a-z][a-z -]*)", text, re.MULTILINE)]
    named = {tuple(word for word in line if not word.startswith("-"))[:2] for line in lines}
    assert len(named) > 5
    for words in named:
        done = CliRunner().invoke(app, [words[0], "--help"])
        assert done.exit_code == 0, words
        # A group is followed by one of its commands, a command by what it takes.
        if "COMMAND" in done.stdout.splitlines()[1] and len(words) > 1:
            assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0, words
