"""Write docs/api.md from the .proto files, or check that it is up to date (``--check``)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
PAGE = ROOT / "docs" / "api.md"

_HEAD = """\
# The management API

Made from the `.proto` files under `proto/` by `make gen`; edit those. [tunnelctl](tunnelctl.md) is the API on the command line,
[grpcurl](grpcurl.md) shows it bare, and `tunnelpb.client` is a typed Python client with watches that resume by themselves.

Errors are `google.rpc.Status` with an `ErrorInfo` (domain `tunnelpb`, a reason such as `SESSION_NOT_FOUND`); `INVALID_ARGUMENT`
brings every bad field at once in a `BadRequest`. Only `UNAVAILABLE` is worth a blind retry.
"""

# Numbers of fields in descriptor.proto, of which paths of source locations are made.
_MESSAGE, _ENUM, _SERVICE, _FIELD, _NESTED, _NESTED_ENUM, _VALUE, _METHOD = 4, 5, 6, 2, 3, 4, 2, 2


class Comments:
    """Comments of one file by path."""

    def __init__(self, file: pb.FileDescriptorProto) -> None:
        self._found = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}

    def at(self, *path: int) -> str:
        """Return a comment as one paragraph."""
        return " ".join(self._found.get(path, "").split())


def compiled() -> list[pb.FileDescriptorProto]:
    """Compile the sources, with their comments."""
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", "--include_source_info"]
        subprocess.run([*command, f"--descriptor_set_out={out}", *sources], check=True)
        found = pb.FileDescriptorSet.FromString(out.read_bytes()).file
    # What integrators call comes first.
    return sorted(found, key=lambda file: (".hub." not in file.package, file.name))


def kind(field: pb.FieldDescriptorProto, entries: dict[str, pb.DescriptorProto]) -> str:
    """Return a field's type as the source writes it."""
    name = field.type_name.removeprefix(".")
    if name in entries:
        key, value = entries[name].field
        return f"map<{kind(key, entries)}, {kind(value, entries)}>"
    if name:
        plain = name.removeprefix("google.protobuf.")
        plain = plain if plain != name else ".".join(part for part in name.split(".") if part[:1].isupper())
    else:
        plain = pb.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"repeated {plain}" if field.label == pb.FieldDescriptorProto.LABEL_REPEATED else plain


def messages(file: pb.FileDescriptorProto) -> Iterator[tuple[str, pb.DescriptorProto, tuple[int, ...]]]:
    """Yield (name, message, path) of all messages, those within others behind them."""

    def below(message: pb.DescriptorProto, name: str, path: tuple[int, ...]) -> Iterator[tuple[str, pb.DescriptorProto, tuple[int, ...]]]:  # fmt: skip
        if message.options.map_entry:
            return
        yield name, message, path
        for index, inner in enumerate(message.nested_type):
            yield from below(inner, f"{name}.{inner.name}", (*path, _NESTED, index))

    for index, message in enumerate(file.message_type):
        yield from below(message, message.name, (_MESSAGE, index))


def enums(file: pb.FileDescriptorProto) -> Iterator[tuple[str, pb.EnumDescriptorProto, tuple[int, ...]]]:
    """Yield (name, enum, path) of all enums."""
    for index, enum in enumerate(file.enum_type):
        yield enum.name, enum, (_ENUM, index)
    for name, message, path in messages(file):
        for index, enum in enumerate(message.enum_type):
            yield f"{name}.{enum.name}", enum, (*path, _NESTED_ENUM, index)


def page(files: list[pb.FileDescriptorProto]) -> str:
    """Return the whole page."""
    lines = [_HEAD]
    for file in files:
        lines += section(file, Comments(file))
    return "\n".join(lines).rstrip() + "\n"


def section(file: pb.FileDescriptorProto, comments: Comments) -> list[str]:
    """Return the part of one file."""
    lines = [f"## {file.name}", "", f"Package `{file.package}`.", ""]
    for number, service in enumerate(file.service):
        lines += [f"### {service.name}", "", comments.at(_SERVICE, number), ""]
        lines += ["| RPC | takes | gives | |", "| --- | --- | --- | --- |"]
        for index, method in enumerate(service.method):
            takes, gives = (name.rpartition(".")[2] for name in (method.input_type, method.output_type))
            takes = f"stream {takes}" if method.client_streaming else takes
            gives = f"stream {gives}" if method.server_streaming else gives
            text = cell(comments.at(_SERVICE, number, _METHOD, index))
            lines.append(f"| `{method.name}` | {takes} | {gives} | {text} |")
        lines.append("")
    for name, message, path in messages(file):
        if not message.field:
            continue
        entries = {
            f"{file.package}.{name}.{inner.name}": inner for inner in message.nested_type if inner.options.map_entry
        }
        lines += [f"#### {name}", "", *paragraph(comments.at(*path)), "| field | type | |", "| --- | --- | --- |"]
        for index, field in enumerate(message.field):
            text = cell(comments.at(*path, _FIELD, index))
            if field.HasField("oneof_index"):
                one = message.oneof_decl[field.oneof_index].name
                text = f"One of `{one}`. {text}".rstrip()
            lines.append(f"| `{field.name}` | {kind(field, entries)} | {text} |")
        lines.append("")
    for name, enum, path in enums(file):
        lines += [f"#### {name}", "", *paragraph(comments.at(*path)), "| value | |", "| --- | --- |"]
        lines += [
            f"| `{value.name}` | {cell(comments.at(*path, _VALUE, index))} |" for index, value in enumerate(enum.value)
        ]
        lines.append("")
    return lines


def paragraph(text: str) -> list[str]:
    """Return a paragraph and its blank line, or nothing."""
    return [text, ""] if text else []


def cell(text: str) -> str:
    """Return text that fits into a table."""
    return text.replace("|", "\\|").replace("<", "\\<")


def main(arguments: list[str]) -> None:
    """Write the page, or check it."""
    made = page(compiled())
    if "--check" not in arguments:
        PAGE.write_text(made, "utf-8")
        print(f"apidocs: wrote {PAGE.relative_to(ROOT)}")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != made:
        sys.exit("apidocs: docs/api.md is not what the protos say, run make gen")


if __name__ == "__main__":
    main(sys.argv[1:])
