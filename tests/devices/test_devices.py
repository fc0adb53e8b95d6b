"""Devices: a kernel's output is that of the arithmetic, its faults are named, and runs do not disturb each other."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from device_cases import SIDE, operands
from plain_attention import plain_attention, plain_lut_attention, plain_product, plain_scores

from xattn.compiler.language import Kernel, int8, int32
from xattn.devices import Host, KernelFaultError, Simulator
from xattn.errors import InputError
from xattn.isa import assemble
from xattn.kernels.registry import compiled, kernel_spec, kernels
from xattn.numerics.sound import BlockMask, init_state

PLAIN = dict.fromkeys(("baseline", "tiled", "vectorized", "vectorized_pv"), plain_attention)
PLAIN |= dict.fromkeys(("lut", "vectorized_lut", "fused"), plain_lut_attention)
PLAIN |= {"qkt": plain_scores, "matmul_int8": plain_product}


def _extremes() -> list[list[np.ndarray]]:
    """Operands at which sums, clamps and ties show."""
    full = np.full((SIDE, SIDE), -128, np.int8)
    top = np.full((SIDE, SIDE), 127, np.int8)
    zero = np.zeros((SIDE, SIDE), np.int8)
    one_hot = (np.eye(SIDE) * 100).astype(np.int8)
    return [[full, full, full], [top, full, top], [zero, zero, top], [one_hot, one_hot, operands(3)[2]]]


@pytest.mark.parametrize("name", [name for name, spec in kernels().items() if (SIDE, SIDE) in spec.shapes])
@pytest.mark.parametrize("place", ["simulator", "host"])
def test_output_is_that_of_the_arithmetic(name: str, place: str) -> None:
    device = Simulator() if place == "simulator" else Host()
    kernel = device.load(kernel_spec(name), SIDE, SIDE)
    for q, k, v in [operands(1), operands(2), operands(2), *_extremes()]:
        for shift in (4, 7):
            output = kernel.run(q, k, v, shift).output
            assert (output.dtype, output.shape) == (np.int8, (SIDE, SIDE))
            assert output.tolist() == PLAIN[name](q.tolist(), k.tolist(), v.tolist(), shift)


def test_the_host_counts_nothing() -> None:
    result = Host().load(kernel_spec("baseline"), SIDE, SIDE).run(*operands(1), 4)
    assert (result.cycles, result.stalls, result.cycles_at, result.findings) == (None, None, None, ())


def test_the_simulator_counts_every_cycle_of_each_run() -> None:
    kernel = Simulator().load(kernel_spec("baseline"), SIDE, SIDE)
    first, second = (kernel.run(*operands(1), 4) for _ in range(2))
    assert first.cycles is not None and first.cycles > 2 * SIDE**3  # at least one cycle for each multiplication
    assert first.cycles_at is not None
    assert sum(first.cycles_at.values()) == first.cycles
    assert (first.cycles_at, first.cycles) == (second.cycles_at, second.cycles)


@pytest.mark.parametrize("place", [Simulator(), Host()], ids=lambda device: device.name)
def test_wrong_operands_are_refused(place: Simulator | Host) -> None:
    kernel = place.load(kernel_spec("baseline"), SIDE, SIDE)
    q, k, v = operands(1)
    with pytest.raises(InputError, match=r"K is int8 \[8, 16\]; .* int8 \[16, 16\]"):
        kernel.run(q, k[:8], v, 4)
    with pytest.raises(InputError, match="V is float64"):
        kernel.run(q, k, v.astype(np.float64), 4)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", [Simulator(), Host()], ids=lambda device: device.name)
def test_a_state_that_the_kernel_does_not_carry_is_refused(place: Simulator | Host) -> None:
    kernel = place.load(kernel_spec("baseline"), SIDE, SIDE)
    with pytest.raises(InputError, match="kernel baseline carries no state"):
        kernel.run(*operands(1), 4, init_state((SIDE,), SIDE))
    with pytest.raises(InputError, match="kernel baseline takes no mask"):
        kernel.run(*operands(1), 4, None, BlockMask(np.ones(SIDE, np.bool_)))


def test_a_shape_that_the_kernel_cannot_take_is_refused() -> None:
    with pytest.raises(InputError, match="64×64"):
        Simulator().load(kernel_spec("baseline"), 24, 64)


def test_tables_are_put_where_the_program_looks(load_on_simulator) -> None:
    steps = np.arange(SIDE, dtype=np.int8) - 3

    def add_table(k: Kernel, q, keys, values, out, shift) -> None:  # noqa: ARG001
        table = k.constant("steps", steps, int8)
        for i in k.loop(SIDE):
            for c in k.loop(SIDE):
                out[i, c] = q[i, c] + table[c]

    q, k, v = operands(4)
    q //= 2  # so that no sum leaves int8
    assert np.array_equal(load_on_simulator(add_table).run(q, k, v, 4).output, q + steps)


def test_memory_that_nobody_wrote_is_no_input(load_on_simulator) -> None:
    def read_scratch(k: Kernel, q, keys, values, out, shift) -> None:  # noqa: ARG001
        scratch = k.scratch("scratch", int32, (SIDE,))
        for i in k.loop(SIDE):
            out[i, 0] = scratch[i]

    with pytest.raises(KernelFaultError, match=r"undefined-(memory|register)"):
        load_on_simulator(read_scratch).run(*operands(1), 4)


def test_a_stack_that_leaves_its_kilobyte_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = compiled("baseline", SIDE, SIDE)
    for frame, refused in ((1024, False), (1056, True)):
        code = assemble(f"paddb [sp], #{frame}\nret lr\n" + "nop\n" * 4 + f"paddb [sp], #-{frame}\n")
        fields = ("arrays", "addresses", "arguments", "scalars")
        program = SimpleNamespace(code=code, **{name: getattr(sound, name) for name in fields})
        monkeypatch.setattr("xattn.devices.simulator.compiled", lambda *_, program=program: program)
        kernel = Simulator().load(kernel_spec("baseline"), SIDE, SIDE)
        if refused:
            with pytest.raises(KernelFaultError, match="stack"):
                kernel.run(*operands(1), 4)
        else:
            assert kernel.run(*operands(1), 4).cycles == 7


def test_what_a_run_leaves_is_there_in_the_next(load_on_simulator) -> None:
    def count(k: Kernel, q, keys, values, out, shift) -> None:  # noqa: ARG001
        counter = k.constant("counter", np.zeros(1, np.int32), int32)
        counter[0] = counter[0] + 1
        for i in k.loop(SIDE):
            for c in k.loop(SIDE):
                out[i, c] = counter[0]

    kernel = load_on_simulator(count)
    assert [int(kernel.run(*operands(1), 4).output[2, 3]) for _ in range(3)] == [1, 2, 3]


def test_an_argument_that_nobody_gives_is_named(load_on_simulator) -> None:
    def nothing(k: Kernel, q, keys, values, out, temperature) -> None:  # noqa: ARG001
        out[0, 0] = temperature

    with pytest.raises(InputError, match="mine wants temperature"):
        load_on_simulator(nothing, ("temperature",)).run(*operands(1), 4)
