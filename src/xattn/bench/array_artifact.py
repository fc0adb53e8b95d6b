"""Timing the files of a whole array: an xclbin or PDI with the instruction stream beside it, on the simulated array."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xattn.array.image_file import configuration_of
from xattn.array.instructions import read_instructions
from xattn.devices import KernelFaultError
from xattn.errors import FileFormatError, InputError
from xattn.sim.array.buffers import buffer_bytes
from xattn.sim.array.findings import ArrayError
from xattn.sim.array.machine import Array

_STREAMS = ("insts.bin", "insts.txt")


def array_cycles(path: Path, iterations: int) -> list[int]:
    """Cycles of each run, from the first instruction to the last one's end; the host's buffers hold random bytes.

    The first run starts everything; runs end as soon as two in a row take the same cycles. FileFormatError for files
    that cannot be used, InputError where no instruction stream lies beside, KernelFaultError when a run fails.
    """
    if not path.is_file():
        raise FileFormatError(f"{path}: no such file")
    streams = [path.with_name(name) for name in _STREAMS if path.with_name(name).is_file()]
    if not streams:
        raise InputError(
            f"{path}: no {' or '.join(_STREAMS)} beside it: an array does nothing without its instructions"
        )
    stream = read_instructions(streams[0].read_bytes())
    random, used = np.random.default_rng(0), buffer_bytes(stream)
    buffers = [random.bytes(used.get(number, 0)) for number in range(max(used, default=-1) + 1)]
    cycles: list[int] = []
    try:
        array = Array()
        array.load(configuration_of(str(path), path.read_bytes()))
        while len(cycles) < iterations and (len(cycles) < 2 or cycles[-1] != cycles[-2]):
            cycles.append(array.run(stream, buffers).cycles)
    except ArrayError as error:
        raise KernelFaultError(f"{path}: {error}") from error
    return cycles
