"""`sound` against the integer model `trace_block`, bit for bit: scores, references, weights, sums."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from xattn.compiler.compile import CompiledKernel, compile_kernel
from xattn.isa.timing import DATA_MEMORY_BASE
from xattn.kernels.sound import sound
from xattn.kernels.sound_layout import pack_operands, pack_state, unpack_state
from xattn.numerics.adversarial import ADVERSARIAL_CASES, adversarial_case
from xattn.numerics.sound import SoundState, init_state, quantize_operands, trace_block
from xattn.numerics.synthetic import synthetic_activations
from xattn.sim.core import Core, Pointer
from xattn.sim.findings import Kind, Severity

Int8 = NDArray[np.int8]
FIRST_TARGET = 3000  # simulated cycles, from entry to return
WITH_RESCALE = FIRST_TARGET + 1024  # every sum goes through the load and the store port once more


@pytest.fixture(scope="module")
def compiled() -> CompiledKernel:
    return compile_kernel(lambda k: sound(k, 64, 64), "sound")


class Block:
    """The kernel on a strict simulated core."""

    def __init__(self, program: CompiledKernel) -> None:
        self.program = program
        stack = (DATA_MEMORY_BASE, DATA_MEMORY_BASE + 1024)
        self.core = Core(strict=True, severity={Kind.READ_IN_FLIGHT: Severity.IGNORE}, stack=stack)
        self.core.load(program.code, 0)
        for array in program.arrays:
            if array.contents is not None:
                self.core.write_memory(program.addresses[array.name], array.contents)

    def set_state(self, state: SoundState) -> None:
        self._write(pack_state(state))

    def run(self, q: Int8, k: Int8, v: Int8, shift: int) -> int:
        """Process a block; its cycles."""
        self._write(pack_operands(q, k, v))
        pointers = [Pointer(self.program.addresses[name]) for name in self.program.arguments]
        return self.core.call(0, [*pointers, shift], sp=DATA_MEMORY_BASE).cycles

    @property
    def state(self) -> SoundState:
        return unpack_state({name: self.read(name) for name in ("sums0", "sums1", "state")})

    @property
    def scores(self) -> NDArray[np.int16]:
        tiles = np.frombuffer(self.read("scores"), np.int16).reshape(4, 4, 9, 32)[:, :, :8]
        return tiles.reshape(4, 4, 4, 2, 4, 8).transpose(0, 2, 4, 1, 3, 5).reshape(64, 64)

    @property
    def weights(self) -> NDArray[np.uint8]:
        blocks = np.frombuffer(self.read("weights"), np.uint8).reshape(4, 8, 4, 4, 8)
        return blocks.transpose(0, 2, 3, 1, 4).reshape(64, 64)

    def read(self, name: str) -> bytes:
        size = next(array.size for array in self.program.arrays if array.name == name)
        return self.core.read_memory(self.program.addresses[name], size)

    def _write(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        for name, values in arrays.items():
            self.core.write_memory(self.program.addresses[name], values.tobytes())


def assert_exact(block: Block, before: SoundState, q: Int8, k: Int8, v: Int8, shift: int) -> SoundState:
    """Process a block after `before` and compare everything with the model; the state after it."""
    block.set_state(before)
    cycles = block.run(q, k, v, shift)
    expected = trace_block(before, q, k, v, shift)
    np.testing.assert_array_equal(block.scores, expected.scores)
    np.testing.assert_array_equal(block.weights, expected.p)
    for name in ("reference", "running_sum", "accumulator"):
        np.testing.assert_array_equal(getattr(block.state, name), getattr(expected.state, name), err_msg=name)
    rises = (expected.state.reference > before.reference).any()
    assert cycles <= (WITH_RESCALE if rises else FIRST_TARGET)
    return expected.state


def noise(seed: int, limit: int = 128) -> list[Int8]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-limit, limit, (64, 64), dtype=np.int8) for _ in range(3)]


@pytest.mark.parametrize("shift", [0, 4, 7, 12, 31])
def test_noise_is_exact(compiled: CompiledKernel, shift: int) -> None:
    assert_exact(Block(compiled), init_state((64,)), *noise(shift), shift)


@pytest.mark.parametrize("name", sorted(ADVERSARIAL_CASES))
def test_awkward_rows_are_exact(compiled: CompiledKernel, name: str) -> None:
    case = adversarial_case(name)
    for shift in (0, 5, 9):
        assert_exact(Block(compiled), init_state((64,)), case.q, case.k, case.v, shift)


def test_synthetic_activations_are_exact(compiled: CompiledKernel) -> None:
    data = synthetic_activations(3, heads=2, tokens=128)
    operands = quantize_operands(data.q, data.k, data.v, scaling=1.0)
    for head in range(2):
        for block in (slice(0, 64), slice(64, 128)):
            q, k, v = (x[head, block] for x in (operands.q, operands.k, operands.v))
            assert_exact(Block(compiled), init_state((64,)), q, k, v, int(operands.shift[head, 0, 0]))


def test_state_is_carried_from_block_to_block(compiled: CompiledKernel) -> None:
    q, k, v = noise(1)
    block = Block(compiled)
    state = assert_exact(block, init_state((64,)), q, k, v, 7)
    _, weaker, other_v = noise(2, limit=30)
    after = assert_exact(block, state, q, weaker, other_v, 7)
    np.testing.assert_array_equal(after.reference, state.reference)  # nothing is shifted down
    assert (after.running_sum > state.running_sum).any()


def test_sums_are_shifted_down_where_references_rise(compiled: CompiledKernel) -> None:
    q, k, v = noise(4)
    block = Block(compiled)
    state = assert_exact(block, init_state((64,)), q, (k // 16).astype(np.int8), v, 2)
    octaves = []
    for factor in (16, 8, 3, 1):
        k = np.roll(k, 5, axis=1)
        after = assert_exact(block, state, q, (k // factor).astype(np.int8), v, 2)
        octaves.append((after.reference - state.reference) // 128)
        state = after
    assert {0, 1, 2} <= set(np.ravel(octaves).tolist())
    assert set(range(32, 64)) & set(np.ravel(octaves).tolist())  # further than an int32 has bits, and a shift wraps


def test_one_row_alone_rises(compiled: CompiledKernel) -> None:
    q, k, v = noise(6, limit=30)
    state = assert_exact(Block(compiled), init_state((64,)), q, k, v, 5)
    for row in (0, 17, 63):
        louder = q.copy()
        louder[row] = np.where(k[row] < 0, -128, 127)
        after = assert_exact(Block(compiled), state, louder, k, v, 5)
        assert [int(i) for i in np.flatnonzero(after.reference > state.reference)] == [row]


def test_layouts_keep_the_state() -> None:
    q, k, v = noise(3)
    state = trace_block(init_state((64,)), q, k, v, 6).state
    again = unpack_state({name: values.tobytes() for name, values in pack_state(state).items()})
    for name in ("reference", "running_sum", "accumulator"):
        np.testing.assert_array_equal(getattr(again, name), getattr(state, name))
