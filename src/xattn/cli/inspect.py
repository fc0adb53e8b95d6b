"""`xattn inspect`: what a file of an NPU build says, whoever made it."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xattn.cli.files import read_bytes
from xattn.errors import FileFormatError

if TYPE_CHECKING:
    from xattn.array.cdo import Cdo
    from xattn.array.instructions import InstructionStream
    from xattn.array.pdi import Partition, Pdi
    from xattn.array.xclbin import Xclbin
    from xattn.build.manifest import FileEntry, Manifest

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def inspect(
    file: Annotated[
        str, typer.Argument(help="xclbin, PDI, CDO, instruction stream, ELF, or a build's texts; - is stdin.")
    ],
    writes: Annotated[
        bool, typer.Option("--writes", help="Images: every register write by name, in order, instead of the sum.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object with everything.")] = False,
) -> None:
    """Explain a file: sections, the array with its routes, programs, locks, buffer descriptors, instructions.

    Files of any tool are read; a damaged one is refused with the place where it breaks.
    """
    for line in explain(read_bytes(file), file, writes=writes, as_json=json):
        typer.echo(line)


def explain(data: bytes, file: str, *, writes: bool = False, as_json: bool = False) -> list[str]:
    """The lines that explain the contents of `file` ("-" is standard input). FileFormatError for other files."""
    from xattn.isa.elf import is_elf, read_elf
    from xattn.isa.elf_description import describe_elf

    name = "standard input" if file == "-" else file
    if is_elf(data):
        found = describe_elf(read_elf(data, name))
        return _as_json(found) if as_json else list(_elf_lines(found))
    try:
        return _explain_build_file(data, Path(file).parent, writes, as_json)
    except FileFormatError as error:
        raise FileFormatError(f"{name}: {error}") from None


def _explain_build_file(data: bytes, folder: Path, writes: bool, as_json: bool) -> list[str]:
    from msgspec import to_builtins

    from xattn.array.description import describe_file
    from xattn.build.manifest import read_manifest
    from xattn.cli.inspect_text import describe_text, is_text_file, text_lines

    if is_text_file(data):
        found = describe_text(data)
        return _as_json(found) if as_json else text_lines(found)
    if data[:1] == b"{":
        manifest = read_manifest(data)
        return _as_json(to_builtins(manifest)) if as_json else list(_manifest_lines(manifest, folder))
    return _as_json(describe_file(data)) if as_json else list(_array_lines(data, writes))


def _as_json(found: Any) -> list[str]:
    return [json_module.dumps(found, indent=1)]


def _elf_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['format']}, entry {found['entry']}"
    yield (
        f"code {found['code_bytes']:,} of {found['program_memory_bytes']:,} bytes, "
        f"data {found['data_bytes']:,} of {found['data_memory_bytes']:,}"
    )
    yield from _table("sections", found["sections"], ("name", "kind", "address", "bytes"))
    yield from _table("functions", found["functions"], ("name", "address", "bytes", "binding"))
    yield from _table("objects", found["objects"], ("name", "section", "bytes"))
    if found["undefined"]:
        yield f"to be defined elsewhere: {', '.join(found['undefined'])}"
    if found["relocations"]:
        yield f"{found['relocations']} relocations"


def _table(title: str, rows: list[dict[str, Any]], keys: tuple[str, ...]) -> Iterator[str]:
    if not rows:
        return
    yield title
    texts = [[f"{row[key]:,}" if isinstance(row[key], int) else str(row[key]) for key in keys] for row in rows]
    widths = [max(len(text[index]) for text in texts) for index in range(len(keys))]
    for row, text in zip(rows, texts, strict=True):
        cells = (
            cell.rjust(width) if isinstance(row[key], int) else cell.ljust(width)
            for key, cell, width in zip(keys, text, widths, strict=True)
        )
        yield ("  " + "  ".join(cells)).rstrip()


def _manifest_lines(manifest: Manifest, folder: Path) -> Iterator[str]:
    yield f"build of {manifest.kernel} ({manifest.summary}) into {manifest.design}, {manifest.tokens}×{manifest.width}"
    scalars = "".join(f", {name} {value}" for name, value in manifest.scalars.items())
    yield f"xattn {manifest.xattn}{scalars}; columns: {manifest.columns}, buffers an argument: {manifest.buffers_deep}"
    yield f"blocks a core and run: {manifest.blocks}{manifest.block_order and f'; {manifest.block_order}'}"
    keys = ("argument", "name", "direction", "bytes", "blocks")
    yield from _table("host buffers", [{key: getattr(b, key) for key in keys} for b in manifest.buffers], keys)
    files = [{"name": f.name, "bytes": f.bytes, "state": _state(folder / f.name, f)} for f in manifest.files]
    yield from _table("files", files, ("name", "bytes", "state"))


def _state(path: Path, entry: FileEntry) -> str:
    """Whether a file is what the manifest says."""
    from xattn.build.manifest import is_as_built

    try:
        data = path.read_bytes()
    except (OSError, ValueError):
        return "not here"
    return "as built" if is_as_built(entry, data) else "changed since"


def _array_lines(data: bytes, writes: bool) -> Iterator[str]:
    from xattn.array.cdo import read_cdo
    from xattn.array.description import file_kind
    from xattn.array.instructions import read_instructions
    from xattn.array.pdi import read_pdi
    from xattn.array.xclbin import read_xclbin

    kind = file_kind(data)
    if kind == "xclbin":
        return _xclbin_lines(read_xclbin(data), len(data), writes)
    if kind == "PDI":
        return _pdi_lines(read_pdi(data), len(data), writes)
    if kind == "CDO":
        return _cdo_lines(read_cdo(data), writes)
    return _stream_lines(read_instructions(data))


def _stream_lines(stream: InstructionStream) -> Iterator[str]:
    from xattn.array.operation_text import operation_text
    from xattn.lint.rules import STREAM_RULES, lint
    from xattn.lint.subject import Named, Subject

    count = len(stream.operations)
    yield f"instruction stream, {count} operations; array of {stream.rows} rows, columns: {stream.columns}"
    for index, operation in enumerate(stream.operations):
        yield f"{str(index).rjust(len(str(count)))}  {operation_text(operation)}"
    report = lint(Subject("stream", streams=[Named("stream", stream)]), STREAM_RULES)
    yield from (f"remark: {finding.message} [{finding.rule}]" for finding in report.findings)


def _xclbin_lines(xclbin: Xclbin, size: int, writes: bool) -> Iterator[str]:
    from xattn.array.aie_partition import read_aie_partition
    from xattn.array.description import describe_section, lines
    from xattn.array.pdi import read_pdi
    from xattn.array.xclbin import SectionKind

    version = ".".join(map(str, xclbin.version))
    yield f"xclbin, {size:,} bytes, version {version}, {len(xclbin.sections)} sections, UUID {xclbin.uuid}"
    for section in xclbin.sections:
        yield ""
        if section.kind != SectionKind.AIE_PARTITION:
            yield from lines(describe_section(section))
            continue
        yield f"kind {section.kind_name}, bytes {len(section.data):,}"
        try:
            partition = read_aie_partition(section.data)
            columns = ", ".join(map(str, partition.start_columns))
            yield f"  {partition.column_width} columns, which can start at column {columns}"
            for pdi in partition.pdis:
                yield from _pdi_lines(read_pdi(pdi.image), len(pdi.image), writes)
        except FileFormatError as error:
            yield f"  {error}"


def _pdi_lines(pdi: Pdi, size: int, writes: bool) -> Iterator[str]:
    names = ", ".join(image.name for image in pdi.images)
    yield f"PDI, {size:,} bytes, image {names}, id code {pdi.table.id_code:#x}"
    for partition in pdi.partitions:
        yield from _partition_lines(partition, writes)


def _partition_lines(partition: Partition, writes: bool) -> Iterator[str]:
    try:
        cdo = partition.cdo()
    except FileFormatError as error:
        yield f"partition of {partition.data_words:,} words: {error}"
        return
    yield from _cdo_lines(cdo, writes)


def _cdo_lines(cdo: Cdo, writes: bool) -> Iterator[str]:
    from xattn.array.configuration_reader import read_configuration
    from xattn.array.description import describe_cdo, lines
    from xattn.array.overview import overview

    yield f"CDO, {len(cdo.commands):,} commands"
    yield ""
    yield from lines(describe_cdo(cdo)) if writes else overview(read_configuration(cdo.commands))
