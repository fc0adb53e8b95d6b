"""Peers one after another on the same tensors, each in a process of its own, with one thread and with all."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import msgspec
import numpy as np

from xattn.bench.peers import host_model, xattn_sound
from xattn.bench.peers.peer import Peer, Tensors
from xattn.bench.peers.worker import failed_row
from xattn.bench.provenance import provenance, usable_cpus
from xattn.bench.record import MeasuredRecord, MeasuredRow
from xattn.errors import InputError
from xattn.numerics.reference import attention

MODULES = ("xattn_native", "xattn_sound", "torch_sdpa", "onnxruntime_mha", "openvino_sdpa")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_TIMEOUT_S = 120.0

Progress = Callable[[int, int, str], None]


def peers() -> list[Peer]:
    """Every peer, installed or not."""
    return [import_module(f"xattn.bench.peers.{name}").PEER for name in MODULES]


def host_models() -> list[Peer]:
    """The integer models on the host: the published arithmetics, and sound attention."""
    return [*host_model.models(), xattn_sound.PEER]


def peer_named(name: str) -> Peer:
    """The peer or model of that name; InputError lists the names."""
    known = {peer.name: peer for peer in (*host_models(), *peers())}
    if name not in known:
        raise InputError(f"no peer is called {name!r}; there are {', '.join(known)}")
    return known[name]


def measure_peers(
    tensors: Tensors, description: str, *, budget: float = 2.0, progress: Progress | None = None
) -> MeasuredRecord:
    """Every installed peer with one thread and with all; `budget` seconds of timing for each figure."""
    counts = sorted({1, usable_cpus()})
    return _measure("peers", peers(), tensors, description, counts, budget, progress)


def measure_host(
    tensors: Tensors, description: str, *, budget: float = 0.5, progress: Progress | None = None
) -> MeasuredRecord:
    """The integer models, with one thread."""
    return _measure("host", host_models(), tensors, description, [1], budget, progress)


def _measure(
    what: str,
    chosen: Sequence[Peer],
    tensors: Tensors,
    description: str,
    counts: Sequence[int],
    budget: float,
    progress: Progress | None,
) -> MeasuredRecord:
    present = [peer for peer in chosen if peer.missing is None]
    rows: list[MeasuredRow] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tensors.npz"
        truth = attention(tensors.q, tensors.k, tensors.v, scaling=1.0)
        np.savez(file, q=tensors.q, k=tensors.k, v=tensors.v, truth=truth)
        calls = [(peer, threads) for peer in present for threads in counts]
        for i, (peer, threads) in enumerate(calls):
            if progress is not None:
                progress(i, len(calls), f"{peer.name}, {threads} thread{'' if threads == 1 else 's'}")
            rows += run_worker(peer, threads, budget, file)
    heads, tokens, width = tensors.q.shape
    return MeasuredRecord(
        provenance=provenance(),
        what=what,
        description=description,
        heads=heads,
        tokens=tokens,
        width=width,
        rows=rows,
        missing=[line for peer in chosen if (line := peer.missing) is not None],
    )


def run_worker(
    peer: Peer, threads: int, budget: float, tensors: Path, timeout: float = _TIMEOUT_S
) -> list[MeasuredRow]:
    """One peer's rows, from a process of its own; a process that dies or takes too long is a fault in each of them."""
    environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}
    call = [sys.executable, "-m", "xattn.bench.peers.worker", peer.name, str(threads), str(budget), str(tensors)]
    try:
        done = subprocess.run(call, env=environment, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        fault = f"stopped after {timeout:g} s"
    else:
        if done.returncode == 0:
            return msgspec.json.decode(done.stdout, type=list[MeasuredRow])
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        fault = f"its process ended with code {done.returncode}: {last[0]}"
    return [failed_row(peer, precision, threads, fault) for precision in peer.precisions]
