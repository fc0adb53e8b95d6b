"""The guide's table for softmax: writes exp_lut.h into the current folder.

python -m benchmark_suite.generate_exp_lut
"""

from __future__ import annotations

from pathlib import Path

from xattn.numerics.lut import c_header, exp_table


def generate_exp_lut(file: str = "exp_lut.h") -> None:
    """Write the table of 256 bytes, 64·exp(x / 64) for x from -128 to 127, as a C header."""
    table = exp_table()
    Path(file).write_text(c_header(table), encoding="utf-8")
    print(f"{file}: {table.size} bytes, x from -128 to 127 gives {table.min()} to {table.max()}")


if __name__ == "__main__":
    generate_exp_lut()
