from __future__ import annotations

from collections.abc import Callable

import pytest
from device_cases import SIDE

from xattn.compiler.compile import compile_kernel
from xattn.compiler.language import Kernel, int8
from xattn.kernels.registry import KernelSpec


@pytest.fixture
def load_on_simulator(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Load a kernel of one's own: `body(k, q, keys, values, out, shift)` for 16×16."""
    from xattn.devices import Simulator

    def load(body: Callable, scalars: tuple[str, ...] = ("shift",)) -> object:
        def build(k: Kernel, tokens: int, width: int) -> None:
            q, keys, values = k.arguments("qkv", int8, (3, tokens, width))
            out = k.argument("out", int8, (tokens, width))
            body(k, q, keys, values, out, *(k.scalar(name) for name in scalars))

        program = compile_kernel(lambda k: build(k, SIDE, SIDE), "mine")
        monkeypatch.setattr("xattn.devices.simulator.compiled", lambda *_: program)
        spec = KernelSpec("mine", "a test's own", build, lambda q, *_: q)
        return Simulator().load(spec, SIDE, SIDE)

    return load
