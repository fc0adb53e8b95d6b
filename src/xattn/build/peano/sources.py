"""The kernels that there are in C: our own sources, which compile for a core and, as they are, for any host."""

from __future__ import annotations

from importlib import resources

from xattn.errors import InputError
from xattn.numerics.lut import c_header, exp_table

EXP_TABLE = "exp_lut.h"
_HEADERS = {
    "baseline": ("scalar_attention.h", "parabola.h"),
    "tiled": ("scalar_attention.h", "parabola.h"),
    "lut": ("scalar_attention.h",),
}
KERNELS_IN_C = tuple(_HEADERS)


def c_sources(kernel: str) -> dict[str, bytes]:
    """The files of a kernel in C by name, KERNEL.c first; InputError lists the kernels that there are in C."""
    if kernel not in _HEADERS:
        raise InputError(
            f"kernel {kernel} is not there in C, so no C compiler can build it; {', '.join(KERNELS_IN_C)} are. "
            "xattn builds it by itself: leave --toolchain out"
        )
    folder = resources.files("xattn.build.peano").joinpath("sources")
    files = {name: folder.joinpath(name).read_bytes() for name in (f"{kernel}.c", *_HEADERS[kernel])}
    if b'"exp_lut.h"' in files[f"{kernel}.c"]:
        files[EXP_TABLE] = c_header(exp_table()).encode()
    return files


def definitions(tokens: int, width: int, symbol: str) -> list[str]:
    """What the sources want to be defined on the compiler's command line."""
    return [f"-DXATTN_TOKENS={tokens}", f"-DXATTN_WIDTH={width}", f"-DXATTN_KERNEL={symbol}"]
