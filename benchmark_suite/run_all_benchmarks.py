"""The whole suite: `xattn bench --all`, with its options (--quick, --skip-accuracy, --output-dir FOLDER …)

python -m benchmark_suite.run_all_benchmarks --quick
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from xattn.cli.main import main as xattn

FOLDER = "benchmark_results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; results go to benchmark_results where no folder is named. Returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    named = any(argument.split("=")[0] == "--output-dir" for argument in given)
    return xattn(["bench", "--all", *([] if named else ["--output-dir", FOLDER]), *given])


if __name__ == "__main__":
    sys.exit(main())
