"""The guide's test, made whole: a kernel on random int8 Q, K, V (seed 42), compared with the baseline's output.

python -m benchmark_suite.test_attention_vectorized
"""

from __future__ import annotations

import numpy as np

from xattn.devices import Simulator
from xattn.kernels.registry import kernel_spec
from xattn.numerics.compat import DEFAULT_SHIFT

SIZE = 64


def compare_with_baseline(name: str) -> None:
    """Run a kernel and the baseline on the simulated core; AssertionError where one element differs."""
    rng = np.random.default_rng(42)
    q, k, v = (rng.integers(-127, 128, (SIZE, SIZE)).astype(np.int8) for _ in range(3))
    runs = {n: Simulator().load(kernel_spec(n), SIZE, SIZE).run(q, k, v, DEFAULT_SHIFT) for n in ("baseline", name)}
    output, expected = runs[name].output, runs["baseline"].output
    print(f"Output shape: {output.shape}")
    print(f"Output range: [{output.min()}, {output.max()}]")
    print(f"Output mean: {output.mean():.2f}")
    print(f"Cycles (simulated): {runs[name].cycles:,}, baseline {runs['baseline'].cycles:,}")
    wrong = int((output != expected).sum())
    assert wrong == 0, f"{wrong} of {output.size} elements differ from the baseline's"
    print("Every element equals the baseline's")


def test_attention_vectorized() -> None:
    """The vectorized kernel's output is the baseline's."""
    compare_with_baseline("vectorized")


if __name__ == "__main__":
    test_attention_vectorized()
