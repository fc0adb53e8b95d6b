"""What is built, and what the manifest of a build says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from xattn.errors import FileFormatError

MANIFEST = "manifest.json"
INSTRUCTIONS = "insts.bin"


@dataclass(frozen=True)
class BuildRequest:
    """What to build: a kernel for blocks of `tokens` × `width`, into a design, with its integers by name.

    `dialect` is the time whose MLIR text is wanted (`xattn.array.mlir_dialect.Dialect`; "" is the newest), `symbol` the
    name of the kernel's function ("" is the kernel's own), `blocks` how many blocks each core computes in a run,
    `toolchain` what compiles the kernel: "xattn", or "peano" from C.
    """

    kernel: str
    design: str = "tile"
    tokens: int = 64
    width: int = 64
    scalars: tuple[tuple[str, int], ...] = ()
    dialect: str = ""
    symbol: str = ""
    blocks: int = 1
    toolchain: str = "xattn"


class FileEntry(msgspec.Struct, frozen=True):
    """A file of the build."""

    name: str
    what: str
    bytes: int
    sha256: str


class BufferEntry(msgspec.Struct, frozen=True):
    """A host buffer: its number as a kernel argument, and how many blocks it holds, one behind another.

    A block is a row-major int8 matrix, or as the kernel's `pack` makes it where that does more than move bytes.
    """

    argument: int
    name: str
    direction: str
    bytes: int
    blocks: int


class CoreEntry(msgspec.Struct, frozen=True):
    """A core that works, and the file with its program."""

    column: int
    row: int
    program: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What was built of what. The same request gives the same manifest, byte for byte.

    `blocks`: how many each core computes in a run; `block_order`: in which order host buffers hold those of all cores.
    """

    xattn: str
    kernel: str
    summary: str
    symbol: str
    tokens: int
    width: int
    scalars: dict[str, int]
    design: str
    columns: int
    blocks: int = 1
    block_order: str = ""
    buffers_deep: int
    stack_bytes: int
    cores: tuple[CoreEntry, ...]
    buffers: tuple[BufferEntry, ...]
    files: tuple[FileEntry, ...]
    toolchain: str = "xattn"
    toolchain_version: str = ""


def is_as_built(entry: FileEntry, data: bytes) -> bool:
    """Whether a file with these contents is the one that was built."""
    return hashlib.sha256(data).hexdigest() == entry.sha256


def read_manifest(data: bytes) -> Manifest:
    """The manifest in a file; FileFormatError for anything else."""
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FileFormatError(f"no manifest of a build: {error}") from None
