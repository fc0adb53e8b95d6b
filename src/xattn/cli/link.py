"""`xattn link`: relocatable objects to an executable."""

from __future__ import annotations

from typing import Annotated

import typer

from xattn.cli.files import integer, write_bytes
from xattn.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def link(
    files: Annotated[list[str], typer.Argument(help="Relocatable objects (ELF, AIE2).")],
    output: Annotated[str, typer.Option("--output", "-o", help="ELF executable to write.")],
    code: Annotated[str, typer.Option(help="Address of the first code, in program memory.")] = "0",
    data: Annotated[
        str, typer.Option(help="Address of the first data, in data memory (the stack lies below).")
    ] = "0x70400",
    define: Annotated[
        list[str] | None, typer.Option(help="NAME=ADDRESS of a symbol that no file defines; repeatable.")
    ] = None,
    entry: Annotated[str | None, typer.Option(help="Function to start with [default: the first code].")] = None,
) -> None:
    """Place objects in a core's memories, join them, and write an executable that xattn run and loaders take."""
    from xattn.isa.elf import load_elf
    from xattn.isa.elf_writer import write_elf
    from xattn.isa.linker import link as join

    symbols = {}
    for text in define or []:
        name, equals, address = text.partition("=")
        if not equals or not name:
            raise InputError(f"--define {text}: expected NAME=ADDRESS")
        symbols[name] = integer(address)
    objects = [load_elf(file) for file in files]
    image = join(objects, code_base=integer(code), data_base=integer(data), symbols=symbols, entry=entry)
    write_bytes(output, write_elf(image))
