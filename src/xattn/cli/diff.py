"""`xattn diff`: what two files of NPU builds say differently."""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass
from typing import Annotated

import typer

from xattn.cli.files import read_bytes
from xattn.errors import FileFormatError, InputError, XattnError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_CONTEXT = 2  # unchanged bundles around a change


@dataclass(frozen=True)
class Read:
    """A file as facts by name; for ELF also its code as assembly text."""

    kind: str
    facts: dict[str, str]
    code: tuple[str, ...] = ()


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A file; - is standard input.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another file of the same kind.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare two files of one kind by what they say: registers, memories, BDs, sections, operations, code.

    The order of register writes and padding do not count. Exit code 0 when nothing differs, 1 when something does, 2
    for files that cannot be read or compared.
    """
    data = read_bytes(first), read_bytes(second)
    a, b = read_facts(data[0], first), read_facts(data[1], second)
    if a.kind != b.kind:
        raise InputError(f"{first} is of kind {a.kind}, {second} of kind {b.kind}: give two files of one kind")
    changes = [
        (name, a.facts.get(name), b.facts.get(name))
        for name in dict.fromkeys([*a.facts, *b.facts])
        if a.facts.get(name) != b.facts.get(name)
    ]
    code = _code_changes(a.code, b.code)
    same = not changes and not code
    if json:
        rows = [{"what": name, "a": old, "b": new} for name, old, new in changes]
        found = {"kind": a.kind, "identical_bytes": data[0] == data[1], "same": same, "differences": rows, "code": code}
        typer.echo(json_module.dumps(found, indent=1))
    else:
        typer.echo(_text(a.kind, data[0] == data[1], changes, code), nl=False)
    if not same:
        raise typer.Exit(1)


def _text(kind: str, identical: bool, changes: list[tuple[str, str | None, str | None]], code: list[str]) -> str:
    lines = []
    for name, old, new in changes:
        lines.append(name)
        lines += [f"  - {old}"] if old is not None else []
        lines += [f"  + {new}"] if new is not None else []
    lines += code
    if not lines:
        return f"the same {kind}, {'byte for byte' if identical else 'in other bytes: order or padding differ'}\n"
    count = len(changes)
    lines.append(f"{count} difference{'' if count == 1 else 's'}")
    return "\n".join(lines) + "\n"


def read_facts(data: bytes, name: str) -> Read:
    """What a file says. FileFormatError for what is no file of a build."""
    from xattn.array.description import file_kind
    from xattn.array.facts import facts_of
    from xattn.isa.elf import is_elf, read_elf
    from xattn.isa.elf_description import elf_facts

    if is_elf(data):
        image = read_elf(data, name)
        return Read("ELF", elf_facts(image), tuple(line for item in image.code() for line in _assembly(*item)))
    try:
        return Read(file_kind(data), facts_of(data))
    except FileFormatError as error:
        raise FileFormatError(f"{name}: {error}") from None


def _assembly(address: int, code: bytes) -> list[str]:
    from xattn.isa.disassembly import disassemble

    try:
        return disassemble(code, address, compact=True).splitlines()
    except XattnError as error:
        return [f"code at {address:#x} cannot be decoded: {error}"]


def _code_changes(a: tuple[str, ...], b: tuple[str, ...]) -> list[str]:
    from difflib import unified_diff

    changes = unified_diff(a, b, "A", "B", lineterm="", n=_CONTEXT)
    return [line for line in changes if not line.startswith(("---", "+++"))]
