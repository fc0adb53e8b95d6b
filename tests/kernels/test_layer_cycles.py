"""Cycle counts of the kernels of layers, as `test_cycles` for the ladder; its options work here too."""

from __future__ import annotations

import re
from pathlib import Path

import golden
import numpy as np
import pytest
from layer_cases import simulated

from xattn.errors import InputError
from xattn.isa.codec import Bundle
from xattn.kernels.layers import compiled_layer, layer_kernel, layer_kernels

FILE = Path(__file__).with_name("golden_layer_cycles.json")
HOW = "pytest tests/kernels/test_layer_cycles.py --update-golden"
ANY = "any"  # the file has a shape for each kernel of the ladder; these have one each


def cycles_of(name: str) -> int:
    """Of a call with zeros: they depend on no number."""
    layer = simulated(name)
    zeros = {array.name: np.zeros(array.size, np.int8) for array in layer.program.arrays if array.base is not None}
    before = {address: count.executed for address, count in layer.core.counts.items()}
    run = layer.run(zeros, dict.fromkeys(layer.program.scalars, 8))
    assert run.findings == ()
    executed = {address: count.executed - before.get(address, 0) for address, count in layer.core.counts.items()}
    multiplications = sum(times for address, times in executed.items() if multiplies(layer.core.bundle(address)))
    assert multiplications == pytest.approx(layer.kernel.multiplier, abs=16)  # a few to start sums
    return run.cycles


def multiplies(bundle: Bundle) -> bool:
    return any(operation.opcode.slot == "vec" for operation in bundle.operations)


@pytest.mark.parametrize("name", layer_kernels())
def test_a_kernel_of_a_layer_takes_the_golden_cycles(name: str, request: pytest.FixtureRequest) -> None:
    update = bool(request.config.getoption("--update-golden", default=False))
    accept_rise = bool(request.config.getoption("--accept-rise", default=False))
    cycles, known = cycles_of(name), golden.read(FILE).get(name, {}).get(ANY)
    assert cycles >= layer_kernel(name).multiplier
    problem = golden.complaint(known, cycles, update, accept_rise, HOW)
    assert problem is None, f"{name}: {problem}"
    if update and known != cycles:
        golden.record(name, ANY, cycles, FILE)


def test_the_golden_file_names_only_kernels_that_there_are() -> None:
    assert set(golden.read(FILE)) == set(layer_kernels())


def test_the_document_tells_the_golden_cycles() -> None:
    text = (Path(__file__).parents[2] / "docs" / "encoder_block.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \|[^|]*\| ([\d,]+) products[^|]*\| ([\d,]+) \|$", text, re.MULTILINE)
    told += [
        (n, "", c) for n, c in re.findall(r"^\| `(\w+)` \|[^|]*\| [\d,]+ loads[^|]*\| ([\d,]+) \|$", text, re.MULTILINE)
    ]
    assert {name: int(cycles.replace(",", "")) for name, _, cycles in told} == {
        name: shapes[ANY] for name, shapes in golden.read(FILE).items()
    }


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(InputError, match="no kernel of a layer is called 'relu'; there are gelu"):
        compiled_layer("relu")


def test_arrays_and_integers_that_do_not_fit_are_refused() -> None:
    layer = simulated("gelu")
    with pytest.raises(InputError, match="array x has 3 bytes, expected 4096"):
        layer.run({"x": np.zeros(3, np.int8)}, {})
    with pytest.raises(InputError, match="array z has 3 bytes, expected one of x, constants, start, factors, y"):
        layer.run({"z": np.zeros(3, np.int8)}, {})
    with pytest.raises(InputError, match="gelu wants the integers fall, narrow too"):
        layer.run({}, {"square": 1})
