"""One window of Whisper base, eight heads of 1500 tokens, against PyTorch's attention in float32: not slower."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import numpy as np
import pytest

import xattn
from xattn.cpu.engine import is_available

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_available(), reason="NOT CHECKED: the native engine needs the extra jit"),
]

Call = Callable[[], object]


def shortest(first: Call, second: Call, rounds: int = 12) -> tuple[float, float]:
    """Seconds of each, the shortest of calls taken in turns, so that both meet the same noise."""
    times: tuple[list[float], list[float]] = ([], [])
    for call in (first, second):
        call()
    for _ in range(rounds):
        for call, taken in zip((first, second), times, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return min(times[0]), min(times[1])


def window() -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(4)
    return tuple(generator.standard_normal((1, 8, 1500, 64)).astype(np.float32) for _ in range(3))


def test_no_slower_than_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="NOT CHECKED: there is no torch to be compared with")
    q, k, v = window()
    tensors = [torch.from_numpy(x) for x in (q, k, v)]
    attend = torch.nn.functional.scaled_dot_product_attention
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            ours, theirs = shortest(lambda: xattn.attention(q, k, v, threads=1), lambda: attend(*tensors))
    finally:
        torch.set_num_threads(before)
    assert ours <= theirs, f"{ours * 1000:.1f} ms, PyTorch takes {theirs * 1000:.1f} ms, one thread each"


def test_memory_does_not_hold_the_scores() -> None:
    """The scores of 48,000 tokens would be 9 GB in float32; what is held grows by far less."""
    generator = np.random.default_rng(5)
    q, k, v = (generator.standard_normal((1, 1, tokens, 64)).astype(np.float32) for tokens in (48_000,) * 3)
    xattn.attention(q[..., :64, :], k, v)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    xattn.attention(q, k, v)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 200e6
