"""`xattn build`: a kernel as files for the NPU."""

from __future__ import annotations

import hashlib
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xattn.cli.files import scalar_values, tile_shape, write_bytes
from xattn.cli.progress import progress_bar
from xattn.errors import InputError

if TYPE_CHECKING:
    from xattn.build.manifest import BuildRequest, Manifest

_MAX_CYCLES = 100_000  # of a run on the simulator, for each block of a core; `xattn lint` allows more
_LARGEST = 1 << 20  # bytes of all builds' lines together

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Toolchain(str, Enum):
    """What compiles a kernel."""

    xattn = "xattn"
    peano = "peano"


@app.command()
def build(
    kernel: Annotated[str, typer.Argument(metavar="KERNEL", help="A kernel by name.")],
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder to write the files to; it is made if need be.")],
    design: Annotated[
        str, typer.Option(metavar="NAME", help="tile: one core; columns4: one in each column; array16: four in each.")
    ] = "tile",
    blocks: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Blocks that each core computes in a run, 1 to 64. A run's transfers take the controller about 10,000 "
            "cycles a column to start, however many blocks follow.",
        ),
    ] = 32,
    shape: Annotated[str, typer.Option(metavar="TxW", help="Tokens × channels of a block.")] = "64x64",
    define: Annotated[
        list[str] | None,
        typer.Option("--define", "-D", metavar="NAME=VALUE", help="An integer argument of the kernel; repeatable."),
    ] = None,
    symbol: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the kernel's function in the object [default: the kernel's]")
    ] = "",
    dialect: Annotated[
        str, typer.Option(metavar="TIME", help="MLIR as mlir-aie took it in 2025, 2026-04 or 2026-08 [default: newest]")
    ] = "",
    toolchain: Annotated[
        Toolchain,
        typer.Option(help="What compiles the kernel: xattn itself; or Peano (llvm-aie), from C, if installed."),
    ] = Toolchain.xattn,
    check: Annotated[
        bool, typer.Option("--lint/--no-lint", help="Look for mistakes in what was built; errors stop the build.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest instead of a summary.")] = False,
) -> None:
    """Build a kernel: core programs, a relocatable object, PDI, xclbin, instruction stream, MLIR and a manifest.

    Nothing but xattn is needed, unless --toolchain names another compiler. The same input gives the same bytes, and
    what was built before is taken from the cache. Not run on an NPU here: `xattn inspect` shows what the files say.
    What `xattn lint` finds in them goes to standard error; when that is an error, nothing is written and the exit code
    is 1.
    """
    from xattn.build.cache import build as build_files
    from xattn.build.manifest import MANIFEST, BuildRequest, read_manifest

    tokens, width = tile_shape(shape)
    scalars = tuple(sorted(scalar_values(define or []).items()))
    request = BuildRequest(kernel, design, tokens, width, scalars, dialect, symbol, blocks, toolchain.value)
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"cannot write to {out}: it is no folder")
    with progress_bar(f"building {kernel} for {design}"):
        files, cached = build_files(request)
        found = _mistakes(request, files, folder.name) if check else []
    for line in found:
        typer.echo(line, err=True)
    if any(line.startswith("error") for line in found):
        raise typer.Exit(1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror or error}") from None
    for name, data in files.items():
        write_bytes(str(folder / name), data)
    if json:
        typer.echo(files[MANIFEST].decode(), nl=False)
    else:
        typer.echo(_summary(read_manifest(files[MANIFEST]), cached), nl=False)


def _mistakes(request: BuildRequest, files: dict[str, bytes], name: str) -> list[str]:
    """What lints find in the files of a build, a line each; kept like the build itself, since some lints run it."""
    from xattn.build.cache import cache_key
    from xattn.cache import FileCache, cache_folder

    if request.toolchain != Toolchain.xattn.value:
        return _looked_for(files, name)
    kept = FileCache(cache_folder() / "lints", ".txt", _LARGEST)
    digest = hashlib.sha256(f"{cache_key(request)} {name}".encode())
    for data in files.values():
        digest.update(data)
    return kept.kept(digest.hexdigest(), lambda: "\n".join(_looked_for(files, name)).encode()).decode().splitlines()


def _looked_for(files: dict[str, bytes], name: str) -> list[str]:
    from xattn.build.manifest import MANIFEST, read_manifest
    from xattn.cli.lint import report_lines
    from xattn.lint.files import read_subject
    from xattn.lint.rules import lint

    subject = read_subject(files, name, lenient=True)
    subject.max_cycles = _MAX_CYCLES * read_manifest(files[MANIFEST]).blocks
    return report_lines(lint(subject))


def _summary(manifest: Manifest, cached: bool) -> str:
    """What was built, for people."""
    cores, columns = len(manifest.cores), manifest.columns
    scalars = "".join(f", {name} {value}" for name, value in manifest.scalars.items())
    lines = [
        f"{manifest.kernel}: {manifest.summary}; {manifest.tokens}×{manifest.width}{scalars}",
        f"{manifest.design}: {_count(cores, 'core')} in {_count(columns, 'column')}, "
        f"{_count(manifest.buffers_deep, 'buffer')} an argument, {_count(manifest.blocks, 'block')} a core and run"
        f"{', from the cache' if cached else ''}",
    ]
    if manifest.toolchain != Toolchain.xattn.value:
        lines.append(f"compiled by {manifest.toolchain}: {manifest.toolchain_version}")
    for buffer in manifest.buffers:
        blocks = f"{buffer.blocks} × {buffer.bytes // buffer.blocks:,} bytes"
        lines.append(f"host buffer {buffer.argument}  {buffer.name} ({buffer.direction}), {blocks}")
    width = max(len(item.name) for item in manifest.files)
    lines += [f"{item.name.ljust(width)}  {item.bytes:>9,} bytes  {item.what}" for item in manifest.files]
    return "\n".join(lines) + "\n"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
