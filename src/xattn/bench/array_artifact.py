"""Timing the files of a whole array: an xclbin or PDI with the instruction stream beside it, on the simulated array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xattn.array.image_file import configuration_of
from xattn.array.instructions import read_instructions
from xattn.bench.activations import Activations
from xattn.bench.array_blocks import blocks_of
from xattn.bench.peers.peer import Tensors
from xattn.build.manifest import MANIFEST, read_manifest
from xattn.devices import KernelFaultError
from xattn.devices.array_build import ArrayBuild
from xattn.errors import FileFormatError, InputError
from xattn.sim.array.buffers import buffer_bytes
from xattn.sim.array.findings import ArrayError
from xattn.sim.array.machine import Array

_STREAMS = ("insts.bin", "insts.txt")


@dataclass(frozen=True)
class ArrayTimes:
    """Cycles of each run, from the first instruction to the last one's end. The first run starts everything.

    `blocks`: how many a run computed, each of them checked; None where no manifest says what the buffers hold.
    """

    cycles: tuple[int, ...]
    blocks: int | None


def array_times(path: Path, activations: Activations, iterations: int) -> ArrayTimes:
    """Run an xclbin or PDI; runs end as soon as two in a row take the same cycles.

    Where the manifest of `xattn build` lies beside, its kernel gets blocks of the activations, and each block of output
    must equal the integer model's; else the host's buffers hold random bytes. FileFormatError for files that cannot be
    used, InputError where no instruction stream lies beside, KernelFaultError when a run fails or a block is wrong.
    """
    if not path.is_file():
        raise FileFormatError(f"{path}: no such file")
    if _is_of_build(path):
        return _of_build(path, ArrayBuild.read(path.parent), activations, iterations)
    return _of_files(path, iterations)


def _is_of_build(path: Path) -> bool:
    """Whether a manifest beside tells of the file."""
    manifest = path.parent / MANIFEST
    return manifest.is_file() and path.name in {entry.name for entry in read_manifest(manifest.read_bytes()).files}


def _of_build(path: Path, build: ArrayBuild, activations: Activations, iterations: int) -> ArrayTimes:
    host = build.host
    head = Tensors(*(matrix[np.newaxis] for matrix in (activations.q, activations.k, activations.v)))
    blocks = blocks_of(head, host.blocks, host.tokens, host.width)
    expected = build.expected(*blocks)

    def run() -> int:
        result = build.run_blocks(*blocks)
        wrong = sum(not np.array_equal(a, b) for a, b in zip(result.outputs, expected, strict=True))
        if wrong:
            raise KernelFaultError(f"{path}: {wrong} of {len(expected)} blocks are not the integer model's")
        return result.cycles

    return ArrayTimes(_until_equal(run, iterations), len(expected))


def _of_files(path: Path, iterations: int) -> ArrayTimes:
    streams = [path.with_name(name) for name in _STREAMS if path.with_name(name).is_file()]
    if not streams:
        raise InputError(
            f"{path}: no {' or '.join(_STREAMS)} beside it: an array does nothing without its instructions"
        )
    stream = read_instructions(streams[0].read_bytes())
    random, used = np.random.default_rng(0), buffer_bytes(stream)
    buffers = [random.bytes(used.get(number, 0)) for number in range(max(used, default=-1) + 1)]
    try:
        array = Array()
        array.load(configuration_of(str(path), path.read_bytes()))
        return ArrayTimes(_until_equal(lambda: array.run(stream, buffers).cycles, iterations), None)
    except ArrayError as error:
        raise KernelFaultError(f"{path}: {error}") from error


def _until_equal(run: Callable[[], int], most: int) -> tuple[int, ...]:
    """Cycles of runs until two in a row take the same, or `most`."""
    cycles: list[int] = []
    while len(cycles) < most and (len(cycles) < 2 or cycles[-1] != cycles[-2]):
        cycles.append(run())
    return tuple(cycles)
