"""Images that another tool chain built, from a folder named by XATTN_FOREIGN, run on the simulated array.

Wanted are folders with main.pdi, main_core_0_2.elf and, if there is one, insts.txt of the build. None of them is part
of the project.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from array_programs import done, fetch, send, stream_of

from xattn.array.instructions import read_instructions
from xattn.array.pdi import read_pdi
from xattn.isa import load_elf
from xattn.numerics.compat import compat_model, pack_qkv
from xattn.sim import Core
from xattn.sim.array.buffers import buffer_bytes
from xattn.sim.array.machine import Array
from xattn.sim.array.report import ArrayResult, CoreReport

TILE_BYTES = 4096


def find(pattern: str) -> Path:
    named = os.environ.get("XATTN_FOREIGN")
    if not named:
        pytest.skip(
            "NOT CHECKED against images of another tool chain: set XATTN_FOREIGN to a folder of mlir-aie builds"
        )
    found = sorted(path for path in Path(named).rglob(pattern) if path.is_file())
    if not found:
        pytest.skip(f"NOT CHECKED: no {pattern} in the folder that XATTN_FOREIGN names")
    return found[0]


def run_one_core(pdi: Path, data: bytes, out: int) -> ArrayResult:
    stream = stream_of(send(0, 1, len(data) // 4, 0), fetch(0, 0, out // 4, 1), done(0))
    array = Array()
    array.load(read_pdi(pdi.read_bytes()).cdo())
    return array.run(stream, [data, bytes(out)])


def on_a_core_alone(elf: Path, source: str, target: str, data: bytes, size: int) -> tuple[bytes, int, set[str]]:
    """What the program makes of the data in one turn on one core, whose locks are handed over at once.

    The output, the cycles that it executes until it waits for more, and the kinds of what is found.
    """
    image = load_elf(elf)
    symbols = {s.name: s.value for s in image.symbols}
    start = symbols["_sp_start_value_DM_stack"]
    core = Core(stack=(start, min(address for address in symbols.values() if address > start)))
    for address, code in image.code():
        core.load(code, address)
    for address, content in image.data():
        core.write_memory(address, content)
    execution = core.steps()
    next(execution)  # the first acquire, of the input
    core.write_memory(symbols[source], data)
    requests = [execution.send(0) for _ in range(4)]  # the output; then both are given back, and it wants more
    assert [request.acquire for request in requests] == [True, False, False, True]
    kinds = {finding.kind.value for finding in core.findings}
    return core.read_memory(symbols[target], size), requests[-1].cycle, kinds


def check(core: CoreReport, output: bytes, alone: tuple[bytes, int, set[str]], found: set[str]) -> None:
    expected, cycles, kinds = alone
    assert output == expected
    assert core.busy == cycles
    assert {finding.kind.value for finding in core.findings} == kinds == found


def test_a_matrix_product() -> None:
    """Its accumulators do not fit the stack, so that it overwrites its input: the same on the array as on one core."""
    pdi = find("matmul_fixed.mlir.prj/main.pdi")
    data = np.random.default_rng(3).integers(-128, 128, 512).astype(np.int8).tobytes()
    result = run_one_core(pdi, data, 256)
    elf = pdi.with_name("main_core_0_2.elf")
    alone = on_a_core_alone(elf, "of_input_cons_buff_0", "of_output_buff_0", data, 256)
    check(result.cores[0], result.buffers[1], alone, {"stack"})


@pytest.mark.slow
def test_the_published_attention_design() -> None:
    pdi = find("attention_64x64.mlir.prj/main.pdi")
    data = qkv(1)
    result = run_one_core(pdi, data, TILE_BYTES)
    elf = pdi.with_name("main_core_0_2.elf")
    alone = on_a_core_alone(elf, "of_QKV_cons_buff_0", "of_out_buff_0", data, TILE_BYTES)
    check(result.cores[0], result.buffers[1], alone, {"stack"})
    assert 5_000 < result.cycles - result.cores[0].busy < 8_000  # the input on its way, and the output


@pytest.mark.slow
def test_the_published_design_on_four_columns_runs_them_in_turn() -> None:
    """The stream as it was built: it starts a column and waits for it before it starts the next one.

    Here the buffers leave room for the stack, and the output is that of the integer model.
    """
    insts = find("build_attention_iron/insts.txt")
    pdi = find("build_attention_iron/*.mlir.prj/main.pdi")
    stream = read_instructions(insts.read_bytes())
    data = [qkv(seed) for seed in range(4)]
    assert buffer_bytes(stream) == {**dict.fromkeys(range(4), 3 * TILE_BYTES), **dict.fromkeys(range(4, 8), TILE_BYTES)}
    array = Array()
    array.load(read_pdi(pdi.read_bytes()).cdo())
    result = array.run(stream, [*data, *[bytes(TILE_BYTES)] * 4])
    for column, core in enumerate(result.cores):
        elf = pdi.with_name(f"main_core_{column}_2.elf")
        names = (f"of_input_{column}_cons_buff_0", f"of_output_{column}_buff_0")
        alone = on_a_core_alone(elf, *names, data[column], TILE_BYTES)
        check(core, result.buffers[4 + column], alone, set())
        tiles = np.frombuffer(data[column], np.int8).reshape(3, 64, 64)
        assert result.buffers[4 + column] == compat_model("v0")(*tiles, 3).tobytes()
    assert result.cycles > 4 * min(core.busy for core in result.cores)


def qkv(seed: int) -> bytes:
    return pack_qkv(*np.random.default_rng(seed).integers(-64, 65, (3, 64, 64)).astype(np.int8)).tobytes()
