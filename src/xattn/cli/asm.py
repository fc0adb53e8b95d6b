"""`xattn asm`: assembly text to machine code."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.files import integer, read_bytes, write_bytes
from xattn.errors import FileFormatError, InputError

if TYPE_CHECKING:
    from xattn.isa.assembly import Program

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Output(str, Enum):
    """What to write."""

    bin = "bin"
    elf = "elf"
    obj = "obj"
    hex = "hex"


_BY_SUFFIX = {".bin": Output.bin, ".elf": Output.elf, ".o": Output.obj, ".hex": Output.hex, ".txt": Output.hex}


@app.command()
def asm(
    file: Annotated[str, typer.Argument(help="Assembly text; - is standard input.")],
    output: Annotated[str, typer.Option("--output", "-o", help="File to write; - is standard output.")] = "-",
    format: Annotated[
        Output | None,
        typer.Option(help="Machine code, ELF executable, ELF object, or hex [default: by suffix, or hex]"),
    ] = None,
    base: Annotated[str, typer.Option(help="Address of the first byte, a multiple of 16.")] = "0",
) -> None:
    """Assemble text: one bundle a line, operations separated by ; and comments after //.

    Labels stand before a colon and can be operands (j #loop). Directives: .align N, .func NAME, .global NAME,
    .extern NAME (objects only), .equ NAME, VALUE. nop*7 stands for seven lines.
    """
    from xattn.isa.assembly import assemble_program

    chosen = format or _BY_SUFFIX.get(Path(output).suffix)
    if chosen is None and output != "-":
        raise InputError(
            f"{output}: name a --format ({', '.join(Output)}) or one of the suffixes {', '.join(_BY_SUFFIX)}"
        )
    try:
        text = read_bytes(file).decode()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{file}: no text (byte {error.start} is not UTF-8)") from None
    try:
        write_bytes(output, encode(assemble_program(text, integer(base)), chosen or Output.hex))
    except InputError as error:
        where = "standard input" if file == "-" else file
        raise InputError(f"{where}: {error}" if str(error).startswith("line ") else str(error)) from None


def encode(program: Program, format: Output) -> bytes:
    """A program as a file of the given kind. InputError for external symbols outside of objects."""
    from xattn.isa.elf_writer import write_executable, write_object

    if format is Output.obj:
        return write_object(program)
    if format is Output.elf:
        return write_executable(program)
    if program.external_symbols:
        names = ", ".join(sorted(program.external_symbols))
        raise InputError(f"{names}: external symbols need an object file (--format obj)")
    if format is Output.bin:
        return program.code
    return "".join(f"{item.bundle.encode().hex()}\n" for item in program.bundles).encode()
