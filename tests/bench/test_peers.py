"""Peers: each gives attention, faults stay in their row, and what is missing is said with how to get it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xattn.bench.peers import Peer, Tensors, host_models, measure_host, peers
from xattn.bench.peers import run as module
from xattn.bench.peers.worker import measure_peer
from xattn.errors import InputError
from xattn.numerics.reference import attention
from xattn.numerics.synthetic import synthetic_activations

MADE = synthetic_activations(3, heads=2)
TENSORS = Tensors(*(x[:, :192] for x in (MADE.q, MADE.k, MADE.v)))
TRUTH = attention(TENSORS.q, TENSORS.k, TENSORS.v, scaling=1.0)
LARGEST_ERROR = {"fp32": 1e-5, "bf16": 0.01, "int8": 0.02}


OWN = ("numpy", "llvmlite")
FOREIGN = pytest.mark.slow  # a library that takes long to load, and that make test-all installs
ALL = [pytest.param(peer, marks=[] if peer.packages[0] in OWN else [FOREIGN]) for peer in peers()]


@pytest.mark.parametrize("peer", ALL, ids=lambda peer: peer.name)
def test_a_peer_attends(peer: Peer) -> None:
    """In every precision, and as many processors as asked; the truth is float64 attention, made here."""
    if peer.missing is not None:
        pytest.skip(f"NOT CHECKED: {peer.missing}")
    rows = measure_peer(peer, TENSORS, TRUTH, 1, 0.01)
    assert [row.precision for row in rows] == list(peer.precisions)
    for row in rows:
        assert row.fault is None and row.rel_l2 is not None and row.timing is not None
        assert row.rel_l2 < LARGEST_ERROR[row.precision], row
        assert row.timing.min > 0 and row.library.startswith(peer.packages[0])


def faulty(prepare: Callable[..., Any], *packages: str) -> Peer:
    return Peer("odd", packages or ("numpy",), ("fp32", "bf16"), prepare)


def test_what_a_library_raises_stands_in_its_row() -> None:
    def prepare(_tensors: Tensors, precision: str, _threads: int) -> tuple[Any, Any]:
        if precision == "fp32":
            raise RuntimeError("no such\nprecision")
        return lambda: TRUTH, lambda output: output

    bad, good = measure_peer(faulty(prepare), TENSORS, TRUTH, 1, 0.01)
    assert (bad.fault, bad.timing) == ("RuntimeError: no such", None)
    assert good.fault is None and good.rel_l2 == 0


def test_an_output_of_another_shape_is_a_fault() -> None:
    rows = measure_peer(faulty(lambda *_: (lambda: TRUTH[0], lambda output: output)), TENSORS, TRUTH, 1, 0.01)
    assert rows[0].fault == "its output is [192, 64], expected [2, 192, 64]" and rows[0].timing is None


def test_what_is_missing_says_how_to_get_it() -> None:
    peer = faulty(lambda *_: None, "numpy", "no_such_package")
    assert peer.missing == 'odd: not installed (no_such_package): pip install no_such_package, or "xattn[peers]"'
    assert faulty(lambda *_: None, "numpy").missing is None


def test_the_models_run_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "host_models", lambda: [*host_models()[:1], faulty(lambda *_: None, "no_such_package")])
    seen: list[tuple[int, int, str]] = []
    record = measure_host(TENSORS, "made here", budget=0.01, progress=lambda *at: seen.append(at))
    (row,) = record.rows
    assert (row.name, row.precision, row.threads, row.fault) == ("v0 model", "int8", 1, None)
    assert (record.what, record.heads, record.tokens, record.width) == ("host", 2, 192, 64)
    assert record.missing[0].startswith("odd: not installed") and record.passed
    assert seen == [(0, 1, "v0 model, 1 thread")]


def fake_python(tmp_path: Path, script: str) -> str:
    """An executable that stands for Python."""
    file = tmp_path / "python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.skipif(os.name != "posix", reason="NOT CHECKED: the stand-in is a shell script")
@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("kill -9 $$", "its process ended with code -9: it said nothing"),
        ("echo broken >&2; exit 3", "its process ended with code 3: broken"),
        ("exec sleep 60", "stopped after 1 s"),
    ],
)
def test_a_process_that_dies_is_a_fault_in_each_row(
    script: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path, script))
    rows = module.run_worker(faulty(lambda *_: None), 2, 0.1, tmp_path / "none", timeout=1)
    assert [(row.precision, row.threads, row.fault) for row in rows] == [("fp32", 2, fault), ("bf16", 2, fault)]


def test_the_number_of_threads_reaches_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "executable", fake_python(tmp_path, 'echo "$OMP_NUM_THREADS $OPENBLAS_NUM_THREADS" >&2; exit 1')
    )
    (row, _) = module.run_worker(faulty(lambda *_: None), 7, 0.1, tmp_path / "none")
    assert row.fault == "its process ended with code 1: 7 7"


def test_a_peer_nobody_knows() -> None:
    with pytest.raises(InputError, match="no peer is called 'x'; there are v0 model"):
        module.peer_named("x")


def test_the_truth_is_attention() -> None:
    """The float64 reference of this file, by hand for one row."""
    logits = TENSORS.k[1].astype(np.float64) @ TENSORS.q[1, 5].astype(np.float64)
    weights = np.exp(logits - logits.max())
    np.testing.assert_allclose(TRUTH[1, 5], weights / weights.sum() @ TENSORS.v[1], rtol=1e-9)
