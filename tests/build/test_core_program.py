"""Core programs: the lock protocol around a kernel, executed with the locks granted, against the integer model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from array_stand_in import StandIn

from xattn.array.design import Design, Scratch
from xattn.array.placement import Placement, place
from xattn.array.walks import TwoWalks
from xattn.build.core_program import link_core, protocol_text
from xattn.build.designs import KernelPort, KernelUse, tile
from xattn.build.images import assemble_images, kernel_use
from xattn.build.kernel_object import kernel_object, preferred_places
from xattn.errors import InputError
from xattn.isa.assembly import assemble_program
from xattn.isa.elf import read_elf
from xattn.isa.elf_writer import write_elf, write_object
from xattn.kernels.registry import compiled, kernel_spec

SIZE = 16


def use(kernel: str) -> KernelUse:
    return kernel_use(kernel_spec(kernel), compiled(kernel, SIZE, SIZE), SIZE, SIZE, {})


def placed(kernel: str, depth: int, rounds: int | None) -> Placement:
    return place(with_rounds(tile(use(kernel), depth), rounds))


def with_rounds(design: Design, rounds: int | None) -> Design:
    return replace(design, cores=tuple(replace(core, rounds=rounds) for core in design.cores))


@pytest.mark.parametrize(
    ("kernel", "depth", "rounds"),
    [("qkt", 2, 4), ("qkt", 2, 3), ("qkt", 1, 3), ("qkt", 2, 1), ("matmul_int8", 2, 2), ("vectorized_pv", 2, 2)],
)
def test_turns_are_exact(kernel: str, depth: int, rounds: int) -> None:
    placement = placed(kernel, depth, rounds)
    images = assemble_images(placement, use(kernel), kernel_object(compiled(kernel, SIZE, SIZE), kernel), SIZE, SIZE)
    spec = kernel_spec(kernel)
    generator = np.random.default_rng(3)
    turns = [[generator.integers(-127, 128, (SIZE, SIZE)).astype(np.int8) for _ in range(3)] for _ in range(rounds)]
    packed = [spec.pack(*operands) for operands in turns]
    core = placement.design.cores[0]
    read = [name for name in core.arguments if name not in core.outputs]
    run = StandIn(images.cores[0], core, placement, {name: [p[name] for p in packed] for name in read})
    run.run()
    outputs = run.outputs[spec.outputs[0]]
    assert len(outputs) == rounds
    for operands, output in zip(turns, outputs, strict=True):
        result = spec.unpack(np.frombuffer(output, np.int8), *spec.output_shape(SIZE, SIZE))
        assert np.array_equal(result, spec.model(*operands, 4))
    # Each turn takes what it needs before the kernel and hands everything on after it.
    per_turn = 2 * len(core.arguments)
    for turn in range(rounds):
        events = run.order[turn * per_turn : (turn + 1) * per_turn]
        assert [verb for verb, _ in events] == ["acquire"] * len(core.arguments) + ["release"] * len(core.arguments)
        assert {what for _, what in events[: len(core.arguments)]} == {
            f"{name} {'free' if name in core.outputs else 'full'}" for name in core.arguments
        }


def test_for_ever_comes_back_to_the_first_buffers() -> None:
    """Two turns of two buffers, and a jump: the run never ends by itself."""
    text = protocol_text(placed("qkt", 2, None).design.cores[0], placed("qkt", 2, None))
    assert text.count("jl #qkt") == 2
    assert "j #again" in text
    assert "done" not in text


@pytest.mark.parametrize("late", range(6))
def test_calls_return_to_multiples_of_16(late: int) -> None:
    """Whatever settings stand in the delay slots, the bundle behind them is where the fetch unit wants it."""
    placement = placed("qkt", 1, 1)
    core = replace(placement.design.cores[0], scalars=tuple(range(late)))
    program = assemble_program(protocol_text(core, placement))
    calls = [i for i, item in enumerate(program.bundles) if any(n.opcode.name == "JL" for n in item.bundle.operations)]
    assert len(calls) == 1
    assert program.bundles[calls[0] + 6].address % 16 == 0


def test_too_many_arguments_are_refused() -> None:
    placement = placed("qkt", 1, 1)
    core = replace(placement.design.cores[0], scalars=(0,) * 9)
    with pytest.raises(InputError, match="takes 3 pointers and 9 integers; registers take 6 and 8"):
        protocol_text(core, placement)


@pytest.mark.parametrize("kernel", ["vectorized_pv", "vectorized_lut"])
def test_objects_can_be_moved(kernel: str) -> None:
    """The same kernel linked elsewhere, code and data, computes the same: every address has a relocation."""
    from xattn.isa.linker import link
    from xattn.sim.core import Core, Pointer
    from xattn.sim.findings import Kind, Severity

    program = compiled(kernel, SIZE, SIZE)
    image = read_elf(write_elf(kernel_object(program, kernel)))
    filler = read_elf(write_object(assemble_program(".func filler\n nop*40\n")))
    places = {name: 0x70800 + 0x1000 * n + 32 * n for n, name in enumerate(preferred_places(program, kernel))}
    moved = link([filler, image], places=places, entry=kernel)
    assert moved.entry > 0
    core = Core(strict=True, severity={Kind.READ_IN_FLIGHT: Severity.IGNORE}, stack=(0x70000, 0x70400))
    for address, code in moved.code():
        core.load(code, address)
    for segment in moved.segments:
        if not segment.is_code and segment.data:
            core.write_memory(segment.address, segment.data)
    spec = kernel_spec(kernel)
    q, k, v = (np.random.default_rng(n).integers(-127, 128, (SIZE, SIZE)).astype(np.int8) for n in range(3))
    core.write_memory(0x7C000, spec.pack(q, k, v)["qkv"].tobytes())
    core.call(moved.entry, [Pointer(0x7C000), Pointer(0x7E000), 4], sp=0x70000)
    result = np.frombuffer(core.read_memory(0x7E000, SIZE * SIZE), np.int8).reshape(SIZE, SIZE)
    assert np.array_equal(result, spec.model(q, k, v, 4))


def test_a_kernel_that_fills_program_memory_is_refused() -> None:
    placement = placed("qkt", 2, None)
    big = read_elf(write_object(assemble_program(".func qkt\n" + "nopb; nopa; nops; nopx; nopm; nopv\n" * 1020)))
    with pytest.raises(InputError, match="code would end at 0x40"):
        link_core(placement.design.cores[0], placement, big, {})


def test_the_last_store_is_in_memory_before_the_release() -> None:
    """A byte stored in the kernel's very last cycle, by the slowest of stores, is there when the lock is handed on."""
    text = ".func last\n    mova r1, #42\n    nop\n    ret lr\n    nop*4\n    st.s8 r1, [p1, #0]\n"
    ports = tuple(KernelPort(name, 32, None, TwoWalks((), ())) for name in ("a", "out"))
    kernel = KernelUse("last", ports, ("out",), (("shift", 0),), (Scratch("stack", 1024, 0),))
    placement = place(with_rounds(tile(kernel, 1), 1))
    images = assemble_images(placement, kernel, read_elf(write_object(assemble_program(text))), SIZE, SIZE)
    core = placement.design.cores[0]
    run = StandIn(images.cores[0], core, placement, {"a": [np.zeros(32, np.int8)]}, lenient=True)
    run.run()
    assert run.outputs["out"][0][0] == 42


def test_a_buffer_is_changed_in_place() -> None:
    """It comes in full, is changed where it lies, and goes on as done: here, its first byte rises by one."""
    body = ("lda.s8 r1, [p1, #0]", "nop*6", "ret lr", "add r1, r1, #1", "st.s8 r1, [p1, #0]", "nop*3")
    text = ".func rise\n" + "".join(f"    {line}\n" for line in body)
    ports = tuple(KernelPort(name, 32, None, TwoWalks((), ())) for name in ("a", "state"))
    kernel = KernelUse("rise", ports, ("state",), (), (Scratch("stack", 1024, 0),), in_place=("state",))
    placement = place(with_rounds(tile(kernel, 2), 3))
    images = assemble_images(placement, kernel, read_elf(write_object(assemble_program(text))), SIZE, SIZE)
    core = placement.design.cores[0]
    states = [np.full(32, 10 * number, np.int8) for number in range(3)]
    run = StandIn(images.cores[0], core, placement, {"a": states, "state": states})
    run.run()
    assert [output[:2] for output in run.outputs["state"]] == [bytes([1, 0]), bytes([11, 10]), bytes([21, 20])]
    assert (
        run.order
        == [*(("acquire", "a full"), ("acquire", "state full"), ("release", "a free"), ("release", "state done"))] * 3
    )


@pytest.mark.slow
def test_sound_goes_from_state_to_state() -> None:
    """A block of flash attention twice: the state comes in full, is changed where it lies, and goes on as done."""
    spec = kernel_spec("sound")
    kernel = kernel_use(spec, compiled("sound", 64, 64), 64, 64, {})
    placement = place(with_rounds(tile(kernel, 1), 2))
    images = assemble_images(placement, kernel, kernel_object(compiled("sound", 64, 64), "sound"), 64, 64)
    core = placement.design.cores[0]
    generator = np.random.default_rng(4)
    turns = [[generator.integers(-60, 61, (64, 64)).astype(np.int8) for _ in range(3)] for _ in range(2)]
    packed = [spec.pack(*operands) for operands in turns]
    run = StandIn(images.cores[0], core, placement, {name: [p[name] for p in packed] for name in core.arguments})
    run.run()
    for number, operands in enumerate(turns):
        after = b"".join(run.outputs[name][number] for name in spec.outputs)
        result = spec.unpack(np.frombuffer(after, np.int8), *spec.output_shape(64, 64))
        assert np.array_equal(result, spec.model(*operands, 4))
    half = len(run.order) // 2
    assert run.order[:half] == run.order[half:]
    assert ("acquire", "state full") in run.order and ("release", "state done") in run.order
