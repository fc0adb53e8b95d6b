"""Benchmarks for small reports: two kernels on 16×16 tiles, of which one loops; one on 32×32, all on the multiplier."""

from __future__ import annotations

from functools import lru_cache

import pytest

from xattn.bench import BenchRecord, measure_ladder, synthetic_activations

NAMES = {16: ("vectorized_pv", "qkt"), 32: ("qkt",)}
LOOPING = (("vectorized_pv", 16), ("qkt", 32))


def require_extra() -> None:
    for module in ("matplotlib", "jinja2"):
        pytest.importorskip(module, reason=f'NOT CHECKED, {module} is not installed: pip install "xattn[report]"')


@lru_cache(maxsize=2)
def small_bench(size: int = 16) -> BenchRecord:
    return measure_ladder(synthetic_activations(0), NAMES[size], tokens=size, width=size)
