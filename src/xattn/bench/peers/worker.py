"""One peer in a process of its own, where its number of threads can be chosen: python -m xattn.bench.peers.worker.

Arguments: the peer's name, the number of threads, the seconds to time each precision, and a file with the tensors. It
prints the rows as JSON.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from xattn.bench.peers.peer import Peer, Tensors
from xattn.bench.record import MeasuredRow
from xattn.bench.timing import time_calls
from xattn.numerics.metrics import cosine, relative_l2

Truth = NDArray[np.float64]


def measure_peer(peer: Peer, tensors: Tensors, truth: Truth, threads: int, budget: float) -> list[MeasuredRow]:
    """A row for each precision; what a library raises becomes the row's fault."""
    return [_measure(peer, tensors, truth, precision, threads, budget) for precision in peer.precisions]


def _measure(peer: Peer, tensors: Tensors, truth: Truth, precision: str, threads: int, budget: float) -> MeasuredRow:
    row = failed_row(peer, precision, threads, "")
    try:
        attend, read = peer.prepare(tensors, precision, threads)
        output = np.asarray(read(attend()), np.float64)
        if output.shape != truth.shape:
            row.fault = f"its output is {list(output.shape)}, expected {list(truth.shape)}"
            return row
        row.cosine, row.rel_l2 = cosine(output, truth), relative_l2(output, truth)
        row.timing, row.fault = time_calls(attend, budget=budget), None
    except Exception as error:  # whatever a foreign library raises stands in its row; the others go on
        row.fault = f"{type(error).__name__}: {error}".splitlines()[0]
    return row


def failed_row(peer: Peer, precision: str, threads: int, fault: str) -> MeasuredRow:
    """A row without figures."""
    return MeasuredRow(
        name=peer.name,
        library=peer.library,
        precision=precision,
        threads=threads,
        timing=None,
        cosine=None,
        rel_l2=None,
        fault=fault,
    )


def main(arguments: list[str]) -> None:
    """Measure the peer that the arguments name, and print its rows."""
    name, threads, budget, file = arguments
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)  # what libraries print is not mixed with the rows
        answer.write(msgspec.json.encode(_rows(name, int(threads), float(budget), Path(file))))


def _rows(name: str, threads: int, budget: float, file: Path) -> list[MeasuredRow]:
    from xattn.bench.peers.run import peer_named

    with np.load(file, allow_pickle=False) as archive:
        tensors, truth = Tensors(*(archive[x] for x in "qkv")), archive["truth"]
    return measure_peer(peer_named(name), tensors, truth, threads, budget)


if __name__ == "__main__":
    main(sys.argv[1:])
