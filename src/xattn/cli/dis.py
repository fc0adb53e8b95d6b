"""`xattn dis`: machine code to assembly text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xattn.cli.files import integer, read_bytes
from xattn.errors import FileFormatError, InputError

if TYPE_CHECKING:
    from xattn.isa.disassembly import DisassembledBundle
    from xattn.isa.elf import ElfImage, Section

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HEX_TEXT = re.compile(rb"(?:\s|[0-9a-fA-F]|//[^\n]*)*")


@app.command()
def dis(
    file: Annotated[str, typer.Argument(help="ELF file, raw machine code, or hex text; - is standard input.")],
    base: Annotated[str, typer.Option(help="Address of the first byte (raw and hex input).")] = "0",
    show_bytes: Annotated[bool, typer.Option("--bytes", help="Show the bytes of each bundle.")] = False,
    symbol: Annotated[str | None, typer.Option(help="Only this function of an ELF file.")] = None,
    compact: Annotated[bool, typer.Option(help="Leave out no-operations that the assembler puts back.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with a list of bundles.")] = False,
) -> None:
    """Disassemble. The text assembles to the same bytes again; addresses and bytes are comments."""
    from xattn.isa.disassembly import listing
    from xattn.isa.elf import is_elf, read_elf

    data = read_bytes(file)
    name = "standard input" if file == "-" else file
    if is_elf(data):
        pieces = _pieces(read_elf(data, name), symbol)
    elif symbol is not None:
        raise InputError(f"{name}: --symbol needs an ELF file, which names its functions")
    else:
        pieces = [Piece("", integer(base), from_hex(data, name))]
    listed = [(piece, _bundles(piece, name, compact)) for piece in pieces]
    if as_json:
        rows = [{"section": piece.section, **_as_json(item)} for piece, bundles in listed for item in bundles]
        typer.echo(json.dumps({"input": name, "bundles": rows}, indent=1))
        return
    for piece, bundles in listed:
        typer.echo(f"// section {piece.section}\n" if len(listed) > 1 else "", nl=False)
        typer.echo("".join(f".extern {other}\n" for other in piece.external), nl=False)
        typer.echo(listing(bundles, piece.symbols, addresses=True, show_bytes=show_bytes), nl=False)


@dataclass(frozen=True)
class Piece:
    """Code to disassemble: a segment of an executable, a section of an object, a function, or a whole raw file."""

    section: str
    address: int
    code: bytes
    symbols: dict[str, int] = field(default_factory=dict)
    relocations: dict[int, tuple[int, str]] = field(default_factory=dict)  # address: (type, operand text)
    external: tuple[str, ...] = ()


def _bundles(piece: Piece, name: str, compact: bool) -> list[DisassembledBundle]:
    from xattn.isa.disassembly import disassemble_bundles

    try:
        return disassemble_bundles(piece.code, piece.address, piece.symbols, piece.relocations, compact=compact)
    except FileFormatError as error:
        raise FileFormatError(f"{name}: {error}") from None


def _pieces(image: ElfImage, function: str | None) -> list[Piece]:
    if image.is_object:
        pieces = [_object_piece(image, section) for section in image.sections if section.is_code and section.data]
    else:
        pieces = [Piece("", address, code, image.addresses()) for address, code in image.code()]
    return [_function(image, pieces, function)] if function is not None else pieces


def _object_piece(image: ElfImage, section: Section) -> Piece:
    """A section of an object: only its own symbols are addresses in it; relocations name what is not linked yet."""
    symbols = {s.name: s.value for s in image.symbols if s.section == section.name and s.kind != "section"}
    own = [r for r in image.relocations if r.section == section.name]
    texts = {r.offset: (r.type, r.symbol + (f" + {r.addend}" if r.addend else "")) for r in own}
    return Piece(section.name, 0, section.data, symbols, texts, tuple(sorted({r.symbol for r in own} - symbols.keys())))


def from_hex(data: bytes, name: str) -> bytes:
    """The bytes that hex text says (spaces, line ends and // comments aside); anything else is returned as it is."""
    if not data:
        raise FileFormatError(f"{name}: empty, expected an ELF file, machine code or hex text")
    if not _HEX_TEXT.fullmatch(data):
        return data
    digits = b"".join(re.sub(rb"//[^\n]*", b"", data).split())
    if len(digits) % 2:
        raise FileFormatError(f"{name}: hex text with an odd number of digits ({len(digits)})")
    return bytes.fromhex(digits.decode())


def _function(image: ElfImage, pieces: list[Piece], name: str) -> Piece:
    """The part of the code that a function is: its size in the symbol table, or up to the next function or global."""
    symbol = image.symbol(name)
    for piece in pieces:
        end = piece.address + len(piece.code)
        if piece.address <= symbol.value < end and piece.section in ("", symbol.section):
            entries = {s.value for s in image.symbols if s.kind == "func" or s.binding == "global"}
            limit = min((v for v in entries if symbol.value < v < end), default=end)
            limit = min(symbol.value + symbol.size, end) if symbol.size else limit
            code = piece.code[symbol.value - piece.address : limit - piece.address]
            return replace(piece, address=symbol.value, code=code)
    raise InputError(f"symbol {name} is {symbol.value:#x}, which is not in the code of the file")


def _as_json(item: DisassembledBundle) -> dict[str, Any]:
    from xattn.isa.syntax import text_of

    return {
        "address": item.address,
        "size": item.bundle.size,
        "bytes": item.bundle.encode().hex(),
        "format": item.bundle.format.name,
        "labels": list(item.labels),
        "text": item.text,
        "operations": [
            {"slot": i.opcode.slot, "opcode": i.opcode.name, "text": text_of(i)} for i in item.bundle.operations
        ],
    }
