"""Sound attention by the native program: operands prepared, query rows shared out to threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.cpu.engine import Function, functions
from xattn.cpu.program import PACKED, PARAMETERS, TASK_ROWS, WIDTH
from xattn.errors import InputError
from xattn.numerics.quantize import QMAX
from xattn.numerics.sound import BLOCK, SoundOperands, SoundState, dither_pattern
from xattn.numerics.sound.operands import Share, power_of_two_scales

Array = NDArray[Any]

_INFINITE = 0x7F800000  # the bits of infinity in float32
_CHUNKS = 4  # for each thread, so that none waits long for the last one


@dataclass(frozen=True)
class Prepared:
    """Operands in the program's order; `heads` stands for all leading axes together.

    Attributes:
        q: `[heads, rows, 64]` int8, rows filled up to a multiple of 32.
        correction: `[heads, rows]` int32.
        k: `[heads, key blocks, 4096]` uint8, packed.
        v: the same, int8.
        shift: `[heads]` int32.
        v_scale: `[heads, 64]` float64.
        queries: rows of q that count.
        keys: keys that count.
    """

    q: NDArray[np.int8]
    correction: NDArray[np.int32]
    k: NDArray[np.uint8]
    v: NDArray[np.int8]
    shift: NDArray[np.int32]
    v_scale: NDArray[np.float64]
    queries: int
    keys: int


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="xattn")


def usable_threads() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shared_out(work: Callable[[int, int], None], count: int, threads: int) -> None:
    """`work(first, last)` for pieces of `count`, on so many threads."""
    if threads == 1 or count == 1:
        work(0, count)
        return
    step = -(-count // (threads * _CHUNKS))
    for done in [_pool(threads).submit(work, at, min(at + step, count)) for at in range(0, count, step)]:
        done.result()


def _addresses(heads: Array) -> list[int]:
    """Where each head of `[..., tokens, 64]` starts."""
    offsets = np.zeros(heads.shape[:-2], dtype=np.int64)
    for axis, stride in enumerate(heads.strides[:-2]):
        steps = np.arange(heads.shape[axis], dtype=np.int64) * stride
        offsets += steps.reshape(-1, *[1] * (offsets.ndim - axis - 1))
    return [int(heads.ctypes.data + offset) for offset in offsets.ravel()]


def _rows_in_place(x: Array) -> Array:
    """The array itself where each row lies in one piece, else a copy."""
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


def prepare_floats(q: Array, k: Array, v: Array, scaling: float, share: Share, threads: int) -> Prepared:
    """Quantize and pack float32 `[..., tokens, 64]`, bit for bit as `quantize_operands` does.

    InputError for NaN or infinity, and logits that int8 cannot tell apart.
    """
    run = functions()
    arrays = [_rows_in_place(x) for x in (q, k, v)]
    starts = [_addresses(x) for x in arrays]
    count = len(starts[0])
    bits = np.empty((3, count, WIDTH), np.uint32)

    def measure(first: int, last: int) -> None:
        for head in range(first, last):
            for which, x in enumerate(arrays):
                run["largest_magnitudes"](
                    starts[which][head], x.shape[-2], x.strides[-2], bits[which, head].ctypes.data
                )

    _shared_out(measure, count, threads)
    if (bits >= _INFINITE).any():
        names = [name for name, b in zip("qkv", bits, strict=True) if (b >= _INFINITE).any()]
        raise InputError(f"{' and '.join(names)} hold NaN or infinite values: attention of them has no meaning")
    ranges = bits.view(np.float32).astype(np.float64)[:, :, np.newaxis, :]
    if share == "head":
        ranges = ranges.max(axis=-1, keepdims=True)
    q_scale, k_scale, shift = power_of_two_scales(ranges[0], ranges[1], scaling)
    top = bits[2].view(np.float32).astype(np.float64) / QMAX
    v_scale = np.where(top > 0, top, 1.0)
    scales = [np.ascontiguousarray(np.broadcast_to(s, (count, 1, WIDTH))) for s in (q_scale, k_scale)]
    scales.append(np.ascontiguousarray(v_scale[:, np.newaxis, :]))
    made = _empty(count, q.shape[-2], k.shape[-2], shift.reshape(-1), v_scale)

    def convert(first: int, last: int) -> None:
        blocks = np.zeros((made.k.shape[1] * BLOCK, WIDTH), np.int8)
        for head in range(first, last):
            targets = (made.q[head], blocks, blocks)
            for which, x in enumerate(arrays):
                run["quantize_rows"](
                    starts[which][head],
                    x.shape[-2],
                    x.strides[-2],
                    scales[which][head].ctypes.data,
                    targets[which].ctypes.data,
                )
                _pack(run, made, which, head, blocks)

    _shared_out(convert, count, threads)
    return made


def prepare_integers(operands: SoundOperands, threads: int) -> Prepared:
    """Pack int8 operands."""
    run = functions()
    heads = [x.reshape(-1, *x.shape[-2:]) for x in (operands.q, operands.k, operands.v)]
    count, queries, keys = heads[0].shape[0], heads[0].shape[1], heads[1].shape[1]
    shift = np.broadcast_to(operands.shift, (*operands.q.shape[:-2], 1, 1)).reshape(-1)
    v_scale = np.broadcast_to(operands.v_scale, (*operands.v.shape[:-2], 1, WIDTH)).reshape(count, WIDTH)
    made = _empty(count, queries, keys, shift, np.ascontiguousarray(v_scale, dtype=np.float64))

    def convert(first: int, last: int) -> None:
        blocks = np.zeros((made.k.shape[1] * BLOCK, WIDTH), np.int8)
        for head in range(first, last):
            made.q[head, :queries] = heads[0][head]
            _pack(run, made, 0, head, blocks)
            for which in (1, 2):
                blocks[:keys] = heads[which][head]
                _pack(run, made, which, head, blocks)

    _shared_out(convert, count, threads)
    return made


def _empty(count: int, queries: int, keys: int, shift: Array, v_scale: NDArray[np.float64]) -> Prepared:
    rows, blocks = -(-queries // TASK_ROWS) * TASK_ROWS, -(-keys // BLOCK)
    return Prepared(
        np.zeros((count, rows, WIDTH), np.int8),
        np.empty((count, rows), np.int32),
        np.empty((count, blocks, PACKED), np.uint8),
        np.empty((count, blocks, PACKED), np.int8),
        np.ascontiguousarray(shift, dtype=np.int32),
        v_scale,
        queries,
        keys,
    )


def _pack(run: dict[str, Function], made: Prepared, which: int, head: int, blocks: NDArray[np.int8]) -> None:
    if which == 0:
        run["row_corrections"](made.q[head].ctypes.data, made.q.shape[1], made.correction[head].ctypes.data)
    elif which == 1:
        run["pack_keys"](blocks.ctypes.data, made.k.shape[1], made.k[head].ctypes.data)
    else:
        run["pack_values"](blocks.ctypes.data, made.v.shape[1], made.v[head].ctypes.data)


def visible_keys(keys: int, heads: int, key_mask: NDArray[np.bool_] | None) -> NDArray[np.uint64]:
    """`[heads, key blocks]`: the keys of each block that may be attended to, a bit each, as `key_bits` orders them.

    `key_mask`: `[heads, keys]` bool, or None for all.
    """
    blocks = -(-keys // BLOCK)
    seen = np.zeros((heads, blocks * BLOCK), np.bool_)
    seen[:, :keys] = True if key_mask is None else key_mask
    return key_bits(seen.reshape(heads, blocks, BLOCK))


def key_bits(seen: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """`[..., 64]` bool → `[...]` uint64, in the order of packed scores: first the even eighths, then the odd ones."""
    packed = np.packbits(seen.reshape(*seen.shape[:-1], 4, 2, 8).swapaxes(-2, -3), axis=-1, bitorder="little")
    return np.ascontiguousarray(packed).reshape(*seen.shape[:-1], 8).view("<u8")[..., 0].astype(np.uint64)


def run_prepared(
    prepared: Prepared,
    *,
    visible: NDArray[np.uint64],
    diagonal: bool,
    causal: bool,
    threads: int,
    out: Array | None = None,
    accumulators: bool = False,
) -> SoundState:
    """Attend; the rows of `out` `[..., queries, 64]`, float32 or float64, are filled if there is one.

    Returns the state, `[heads, queries, ...]`; its accumulators are empty unless `accumulators` are wanted.
    """
    heads, rows = prepared.q.shape[:2]
    reference = np.empty((heads, rows), np.int32)
    running = np.empty((heads, rows), np.int32)
    sums = np.empty((heads, rows, WIDTH), np.int32) if accumulators else None
    dither = np.ascontiguousarray(dither_pattern("dither64").reshape(4, 2, 8).transpose(1, 0, 2), dtype=np.int16)
    starts = None if out is None else np.array(_addresses(out), np.int64)
    common = {
        "q": prepared.q,
        "correction": prepared.correction,
        "k": prepared.k,
        "v": prepared.v,
        "visible": visible,
        "before": _FIRST_KEYS,
        "shift": prepared.shift,
        "dither": dither,
        "reference": reference,
        "running_sum": running,
        "state": sums,
        "out": starts,
        "out_stride": 0 if out is None else out.strides[-2],
        "out_double": int(out is not None and out.dtype == np.float64),
        "v_scale": prepared.v_scale,
        "queries": prepared.queries,
        "rows": rows,
        "key_blocks": prepared.k.shape[1],
        "diagonal": int(diagonal),
        "causal": int(causal),
        "offset": prepared.keys - prepared.queries,
    }

    def work(first: int, last: int) -> None:
        scratch = {
            "accumulator": np.empty((TASK_ROWS, WIDTH), np.int32),
            "partial_sums": np.empty((TASK_ROWS, 16), np.int32),
            "weights": np.empty((4, BLOCK), np.uint8),
        }
        values = common | scratch
        given = np.array([_number(values[name]) for name in PARAMETERS], np.int64)
        functions()["attend"](given.ctypes.data, first, last)

    _shared_out(work, heads * rows // TASK_ROWS, threads)
    kept = slice(None), slice(0, prepared.queries)
    return SoundState(np.empty(0, np.int32) if sums is None else sums[kept], running[kept], reference[kept])


def _number(value: Any) -> int:
    if value is None:
        return 0
    return int(value.ctypes.data) if isinstance(value, np.ndarray) else int(value)


_FIRST_KEYS = key_bits(np.arange(BLOCK) < np.arange(BLOCK + 1)[:, np.newaxis])
