"""Measuring kernels: inputs, exactness, cycles, accuracy, and the table and JSON that say so.

`measure_ladder` runs kernels on a device and gives a `BenchRecord`; `tile_for` takes what a kernel attends to (tokens
by `cut_tile`, a block in mid-sequence by `cut_block`) out of one head's activations, real
(xattn.whisper.speech_activations) or `synthetic_activations`.
"""

from xattn.bench.activations import Activations, Tile, cut_tile, synthetic_activations
from xattn.bench.blocks import cut_block, tile_for
from xattn.bench.ladder import measure_ladder
from xattn.bench.record import BenchRecord, InputRecord, KernelRecord

__all__ = [
    "Activations",
    "BenchRecord",
    "InputRecord",
    "KernelRecord",
    "Tile",
    "cut_block",
    "cut_tile",
    "measure_ladder",
    "synthetic_activations",
    "tile_for",
]
