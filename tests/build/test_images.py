"""Whole builds: the same bytes each time, the same as bootgen's, and images that say what the design says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from xattn.array.aie_partition import read_aie_partition
from xattn.array.cdo import write_cdo
from xattn.array.configuration import Circuit, configure
from xattn.array.configuration_reader import read_configuration
from xattn.array.design import HostEnd, Scratch, Transfer, Wait
from xattn.array.instructions import AddressPatch, Sync, Write32, read_instructions
from xattn.array.mlir_design import mlir_module
from xattn.array.mlir_dialect import Dialect
from xattn.array.mlir_ir import generic_form
from xattn.array.pdi import bif, read_pdi
from xattn.array.walks import TwoWalks
from xattn.array.xclbin import SectionKind, read_xclbin
from xattn.array.xclbin_sections import read_kernel_metadata
from xattn.build.designs import DESIGNS, KernelPort, KernelUse, tile
from xattn.build.images import build_images, place_deepest
from xattn.build.layouts import input_layouts, output_layout
from xattn.errors import InputError
from xattn.kernels.registry import kernel_spec
from xattn.sim.array.buffers import buffer_bytes

CASES = [(kernel, design) for design in DESIGNS for kernel in ("qkt", "vectorized")]


@pytest.mark.parametrize(("kernel", "design"), CASES)
def test_images_hold_what_was_designed(kernel: str, design: str) -> None:
    images = build_images(kernel, design, 16, 16)
    assert read_configuration(read_pdi(images.pdi).cdo().commands) == images.configuration
    assert read_instructions(images.instructions) == images.stream
    section = read_xclbin(images.xclbin).section(SectionKind.AIE_PARTITION)
    partition = read_aie_partition(section.data)
    assert partition.pdis[0].image == images.pdi
    assert partition.column_width == images.design.columns
    (metadata,) = read_kernel_metadata(read_xclbin(images.xclbin).section(SectionKind.EMBEDDED_METADATA).data)
    assert len(metadata.arguments) == 3 + len(images.design.buffers)
    patched = {op.argument for op in images.stream.operations if isinstance(op, AddressPatch)}
    assert patched == set(range(len(images.design.buffers)))


def test_the_same_input_gives_the_same_bytes() -> None:
    first, second = (build_images("qkt", "columns4", 16, 16) for _ in range(2))
    assert (first.pdi, first.instructions, first.xclbin, first.object) == (
        second.pdi,
        second.instructions,
        second.xclbin,
        second.object,
    )
    assert build_images("qkt", "columns4", 16, 16, {"shift": 3}).pdi != first.pdi


@pytest.mark.parametrize(("kernel", "design"), CASES)
def test_bootgen_makes_the_same_pdi(kernel: str, design: str, tmp_path: Path) -> None:
    if shutil.which("bootgen") is None:
        pytest.skip("NOT CHECKED: bootgen is not installed (Debian: apt-get install xilinx-bootgen)")
    images = build_images(kernel, design, 16, 16)
    names = []
    for name, cdo in zip(("elfs", "init", "enable"), configure(images.configuration), strict=True):
        path = tmp_path / f"{name}.bin"
        path.write_bytes(write_cdo(cdo))
        names.append(str(path))
    (tmp_path / "design.bif").write_text(bif(names))
    out = tmp_path / "out.pdi"
    subprocess.run(
        ["bootgen", "-arch", "versal", "-image", str(tmp_path / "design.bif"), "-o", str(out), "-w"],
        check=True,
        capture_output=True,
    )
    assert out.read_bytes() == images.pdi


def test_four_columns_start_before_they_wait() -> None:
    """All transfers are under way before the host waits for the first: the columns work at the same time."""
    operations = build_images("qkt", "columns4", 16, 16).stream.operations
    waits = [index for index, operation in enumerate(operations) if isinstance(operation, Sync)]
    assert waits == list(range(len(operations) - 4, len(operations)))
    assert sum(isinstance(operation, Write32) for operation in operations) == 12


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("kernel", ["fused", "vectorized"])
def test_many_blocks_take_as_many_starts_as_one(kernel: str, design: str) -> None:
    """A task for each of the host's streams, however many arrays share one; four columns bring all inputs in one."""
    one, many = (build_images(kernel, design, 16, 16, blocks=blocks) for blocks in (1, 12))
    assert (many.pdi == one.pdi) == ((kernel, design) != ("fused", "columns4"))
    assert many.pdi == build_images(kernel, design, 16, 16, blocks=3).pdi
    starts = [sum(isinstance(op, Write32) for op in images.stream.operations) for images in (one, many)]
    streams = sum(isinstance(end, HostEnd) for s in many.design.streams for end in (s.source, *s.sinks))
    columns = many.design.columns
    assert starts[1] == streams == columns * (3 if (kernel, design) in (("fused", "tile"), ("fused", "array16")) else 2)
    assert starts[0] == columns * (4 if kernel == "fused" else 2)
    assert buffer_bytes(many.stream) == {n: buffer.bytes for n, buffer in enumerate(many.design.buffers)}
    assert [buffer.bytes for buffer in many.design.buffers] == [12 * buffer.bytes for buffer in one.design.buffers]
    assert read_instructions(many.instructions) == many.stream
    column = [step for step in many.design.sequence if isinstance(step, Transfer)]
    last_input = max(n for n, step in enumerate(column) if not step.token)
    assert all(step.token for step in column[last_input + 1 :])  # all inputs are on their way before the first output


def test_more_blocks_than_a_descriptor_counts_are_refused() -> None:
    for blocks in (0, 65):
        with pytest.raises(InputError, match=f"{blocks} blocks on each core in a run; expected 1 to 64"):
            build_images("qkt", "tile", 16, 16, blocks=blocks)
    assert build_images("fused", "columns4", 16, 16, blocks=64).instructions


def test_array16_sends_keys_to_four_cores_at_once() -> None:
    images = build_images("qkt", "array16", 16, 16)
    assert len(images.design.cores) == 16
    per_slave: dict[tuple[object, str], int] = {}
    for route in images.configuration.routes:
        if isinstance(route, Circuit):
            key = (route.tile, route.slave)
            per_slave[key] = per_slave.get(key, 0) + 1
    assert max(per_slave.values()) == 2, "no switch sends one stream both on and to its own core"
    assert {buffer.name: buffer.bytes for buffer in images.design.buffers} == {"q": 4096, "k": 1024, "out": 4096}


def test_layouts_are_those_of_pack_and_unpack() -> None:
    """What the layouts say, done with numpy, is what the kernel's own functions do."""
    generator = np.random.default_rng(5)
    for name in ("qkt", "matmul_int8", "vectorized"):
        spec = kernel_spec(name)
        matrices = {key: generator.integers(-127, 128, (16, 16)).astype(np.int8) for key in ("q", "k", "v")}
        packed = spec.pack(matrices["q"], matrices["k"], matrices["v"])
        for argument, layout in input_layouts(spec, 16, 16).items():
            flat = np.ascontiguousarray(packed[argument]).reshape(-1)
            host = matrices[layout.operand].reshape(-1) if layout.operand else flat
            assert np.array_equal(host[layout.source], flat)
        out = generator.integers(-127, 128, 256).astype(np.int8)
        source = output_layout(spec, 16, 16).source
        assert np.array_equal(out[source], spec.unpack(out, *spec.output_shape(16, 16)).reshape(-1))


def test_wrong_names_are_said() -> None:
    with pytest.raises(InputError, match="no design is called 'ring'; there are tile, columns4, array16"):
        build_images("qkt", "ring", 16, 16)
    with pytest.raises(InputError, match="kernel qkt takes the integers shift; scale is wrong"):
        build_images("qkt", "tile", 16, 16, {"scale": 1})
    with pytest.raises(InputError, match="no kernel is called"):
        build_images("nothing")


@pytest.mark.slow
def test_a_state_goes_in_and_out() -> None:
    images = build_images("sound", "tile")
    transfers = [step for step in images.design.sequence if not isinstance(step, Wait)]
    assert [(step.stream, step.buffer) for step in transfers] == [
        *(("q_sums0_sums1_state_in", name) for name in ("q", "sums0", "sums1", "state")),
        *(("k_v_in", name) for name in ("k", "v")),
        *(("sums0_sums1_state_out", name) for name in ("sums0", "sums1", "state")),
    ]
    assert [step.token for step in transfers] == [False] * 8 + [True]
    with pytest.raises(InputError, match="build it for tile or columns4"):
        build_images("sound", "array16")


def use(size: int) -> KernelUse:
    """A kernel with an input and an output of `size` bytes, and 20 KB of memory of its own."""
    ports = tuple(KernelPort(name, size, None, TwoWalks((), ())) for name in ("a", "out"))
    return KernelUse("kernel", ports, ("out",), (), (Scratch("table", 20480),))


@pytest.mark.slow
def test_one_buffer_each_where_a_program_of_two_turns_does_not_fit() -> None:
    images = build_images("vectorized_pv", "tile", blocks=2)
    assert {fifo.depth for fifo in images.design.fifos} == {1}
    assert max(offset + len(data) for core in images.configuration.cores for offset, data in core.pieces) > 0x23F00


def test_one_buffer_each_where_two_do_not_fit() -> None:
    assert {fifo.depth for fifo in place_deepest(tile, use(8192)).design.fifos} == {2}
    assert {fifo.depth for fifo in place_deepest(tile, use(16384)).design.fifos} == {1}
    with pytest.raises(InputError, match="array table needs 1 × 20480 bytes"):
        place_deepest(tile, use(32768))


@pytest.mark.parametrize("design", DESIGNS)
def test_xdsl_accepts_the_modules_of_many_blocks(design: str) -> None:
    pytest.importorskip("xdsl", reason='NOT CHECKED by xDSL: pip install "xattn[mlir]"')
    from xattn.array.mlir_check import check_module

    placement = build_images("fused", design, 16, 16, blocks=5).placement
    for dialect in Dialect:
        text = generic_form(mlir_module(placement, "fused.o", dialect))
        assert check_module(text) > 100
        assert text.count('"aiex.dma_configure_task_for"') == placement.design.columns  # the inputs that take turns
