"""The guide's test of the tiled kernel.

python -m benchmark_suite.test_attention_tiled
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # found also where this file is run by its path

from benchmark_suite.test_attention_vectorized import compare_with_baseline


def test_attention_tiled() -> None:
    """The tiled kernel's output is the baseline's."""
    compare_with_baseline("tiled")


if __name__ == "__main__":
    test_attention_tiled()
