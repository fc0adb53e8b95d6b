"""Running Peano on a kernel's C sources: its command line, its object, its complaints."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from xattn.build.images import STACK_BYTES
from xattn.build.peano.sources import c_sources, definitions
from xattn.build.peano.tools import PEANO_VARIABLES, Tool, Tools
from xattn.errors import FileFormatError, XattnError
from xattn.isa.elf import ElfImage, read_elf

TARGET = "aie2-none-unknown-elf"
OPTIONS = (
    f"--target={TARGET}",
    "-std=c11",
    "-O2",
    "-ffreestanding",  # there is no C library on a core,
    "-fno-builtin",  # so no loop may become a call of memcpy or memset
    "-Wall",
    f"-Wframe-larger-than={STACK_BYTES}",
    "-Werror=frame-larger-than",  # a frame beyond the stack writes over the first input buffer
)
_SECONDS = 300


class ToolchainError(XattnError):
    """Another compiler is missing, or has failed; with what it says."""


def find_peano(kernel: str, tools: Tools | None = None) -> Tool:
    """Peano's clang; ToolchainError says how to get it."""
    tool = (tools or Tools.here()).peano()
    if tool is None:
        raise ToolchainError(
            "Peano is not installed: no clang of llvm-aie among Python's packages, on PATH, or where "
            f"{PEANO_VARIABLES[0]} points. Install the llvm-aie wheel from the releases of Xilinx/llvm-aie, or set "
            f"{PEANO_VARIABLES[0]} to its folder; or leave --toolchain out: xattn builds {kernel} by itself"
        )
    return tool


def compile_kernel(kernel: str, tokens: int, width: int, symbol: str, tool: Tool) -> bytes:
    """The object that Peano makes of a kernel's C sources; its function is called `symbol`.

    InputError for a kernel that is not there in C. ToolchainError with the compiler's own words when it fails, or its
    object is none for AIE2.
    """
    files = c_sources(kernel)
    with tempfile.TemporaryDirectory(prefix="xattn-") as name:
        folder = Path(name)
        for file, contents in files.items():
            (folder / file).write_bytes(contents)
        command = command_line(kernel, tokens, width, symbol, tool)
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ToolchainError(f"{tool.path} could not be run: {error}") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip() or "it says nothing"
            raise ToolchainError(f"{tool.path} failed with exit code {done.returncode} on {kernel}.c:\n{said}")
        output = folder / f"{kernel}.o"
        data = output.read_bytes() if output.is_file() else b""
    _require_function(data, symbol, tool)
    return data


def command_line(kernel: str, tokens: int, width: int, symbol: str, tool: Tool) -> list[str]:
    """What is run in the folder of the sources."""
    return [
        str(tool.path),
        *OPTIONS,
        *definitions(tokens, width, symbol),
        "-c",
        f"{kernel}.c",
        "-o",
        f"{kernel}.o",
    ]


def _require_function(data: bytes, symbol: str, tool: Tool) -> None:
    try:
        image = read_elf(data)
    except FileFormatError as error:
        raise ToolchainError(f"what {tool.path} wrote is no object for AIE2: {error}") from None
    if not image.is_object or not _defines(image, symbol):
        raise ToolchainError(f"what {tool.path} wrote is no object with a global function {symbol}")


def _defines(image: ElfImage, symbol: str) -> bool:
    return any(item.name == symbol and item.kind == "func" and item.binding == "global" for item in image.symbols)
