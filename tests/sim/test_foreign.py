"""Programs that another compiler built: the attention kernel whose speed was published, and what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from xattn.isa import load_elf
from xattn.numerics.compat import compat_model, pack_qkv
from xattn.sim import Core, Pointer
from xattn.sim.core import Result

STACK_BYTES = 1024


@pytest.fixture(scope="module")
def programs() -> list[Path]:
    named = os.environ.get("XATTN_FOREIGN")
    if not named:
        pytest.skip("NOT CHECKED against foreign programs: set XATTN_FOREIGN to a directory of AIE2 ELF files")
    return sorted(Path(named).rglob("*.elf"))


def call(path: Path, sp: int | None) -> tuple[np.ndarray, np.ndarray, Result]:
    """Q, K, V of one tile, what the program made of them, and what it took. `sp` None: where the program wants it."""
    image = load_elf(path)
    symbols = {symbol.name: symbol.value for symbol in image.symbols}
    start = symbols["_sp_start_value_DM_stack"] if sp is None else sp
    core = Core(stack=(start, start + (STACK_BYTES if sp is None else 0x3000)))
    for segment in image.segments:
        (core.load if segment.address < 0x10000 else lambda data, at: core.write_memory(at, data))(
            segment.data, segment.address
        )
    qkv = np.random.default_rng(1).integers(-64, 65, (3, 64, 64)).astype(np.int8)
    source, target = symbols["of_QKV_cons_buff_0"], symbols["of_out_buff_0"]
    core.write_memory(source, pack_qkv(*qkv).tobytes())
    result = core.call(symbols["attention_64x64"], [Pointer(source), Pointer(target), 4], sp=start)
    return qkv, np.frombuffer(core.read_memory(target, 4096), np.int8).reshape(64, 64), result


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model", "cycles"),
    [("*attention_64x64.mlir*", "v3", 2_947_579), ("*attention_64x64_fixed.mlir*", "v0", 2_975_089)],
)
def test_the_published_attention_kernel(programs: list[Path], name: str, model: str, cycles: int) -> None:
    found = [path for path in programs if Path(path).match(name) or path.parent.match(name)]
    if not found:
        pytest.skip(f"NOT CHECKED: no {name} among the foreign programs")
    qkv, output, result = call(found[0], sp=0x79000)
    assert np.array_equal(output, compat_model(model)(*qkv, 4))
    assert result.cycles == cycles and not result.findings

    # with the stack that its linker script gives it, its frame lies over its own input
    qkv, output, result = call(found[0], sp=None)
    assert not np.array_equal(output, compat_model(model)(*qkv, 4))
    assert {finding.kind.value for finding in result.findings} == {"stack"}
