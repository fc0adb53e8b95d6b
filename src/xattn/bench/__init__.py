"""Measuring kernels: inputs, exactness, cycles, accuracy, and the table and JSON that say so.

`measure_ladder` runs kernels on a device and gives a `BenchRecord`; `cut_tile` takes the 64 tokens that they attend to
out of one head's activations, real (xattn.whisper.speech_activations) or `synthetic_activations`.
"""

from xattn.bench.activations import Activations, Tile, cut_tile, synthetic_activations
from xattn.bench.ladder import measure_ladder
from xattn.bench.record import BenchRecord, InputRecord, KernelRecord

__all__ = [
    "Activations",
    "BenchRecord",
    "InputRecord",
    "KernelRecord",
    "Tile",
    "cut_tile",
    "measure_ladder",
    "synthetic_activations",
]
