"""One kernel's time: `benchmark_single_kernel`, or from the command line

python -m benchmark_suite.benchmark_kernels --kernel=attention_vectorized
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from xattn.bench.activations import synthetic_activations
from xattn.bench.artifact import ladder_name, time_one
from xattn.cli.main import main as xattn
from xattn.errors import XattnError

_SEED = 42  # as in the guide's tests


def benchmark_single_kernel(path: str, iterations: int = 20) -> float:
    """Seconds that a kernel takes for one 64×64 tile: simulated cycles at 1.8 GHz, without DMA and launch.

    `path` is a built ELF file with a function `attention_64x64`, an xclbin of `xattn build` (then the figure is a run's
    for each of its blocks, with DMA), or the name of a kernel ("vectorized", "attention_vectorized"). What the figure
    is, and what the simulator found, goes to standard error. XattnError for what cannot be timed.
    """
    timed = time_one(str(path), synthetic_activations(_SEED), iterations)
    print(
        f"{timed.name}: {timed.cycles:,} cycles, {timed.seconds * 1e3:.3f} ms at {timed.clock_hz / 1e9:g} GHz "
        f"(simulated, without {timed.without}; {timed.runs} of {iterations} iterations run, the others would be equal)",
        file=sys.stderr,
    )
    for note in timed.notes:
        print(f"{timed.name}: {note}", file=sys.stderr)
    return timed.seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Time one kernel against the baseline. Returns 0, 1 when it is not twice as fast, or 2 for bad input."""
    parser = argparse.ArgumentParser(prog="benchmark_kernels", description="A kernel's time against the baseline's.")
    parser.add_argument("--kernel", required=True, help="name, such as attention_vectorized or vectorized")
    parser.add_argument("--target", default="2", help="speed-up wanted (default 2)")
    chosen, rest = parser.parse_known_args(arguments)
    try:
        name = ladder_name(chosen.kernel)
    except XattnError as error:
        print(f"benchmark_kernels: {error}", file=sys.stderr)
        return 2
    return xattn(["bench", "--kernel", name, "--against", "baseline", "--target", chosen.target, *rest])


if __name__ == "__main__":
    sys.exit(main())
