"""Sweeps: which points there are, and that a finished one is never lost, nor done twice."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sweep_cases import activations

from xattn.bench import measure_ladder, synthetic_activations
from xattn.bench.sweep import Point, Row, SweepLog, local_pool, points_of, run, run_sweep
from xattn.bench.sweep import log as log_module
from xattn.bench.sweep.run import SweepError, measure_point
from xattn.devices import Simulator
from xattn.errors import FileFormatError, InputError

SEEDS = [{"seed": n} for n in range(4)]
POINTS = points_of(["qkt"], [(16, 16)], SEEDS)[0]


def test_points_are_all_combinations_once() -> None:
    inputs = [{"layer": a, "head": b} for a in (0, 1) for b in (2, 3)]
    points, left_out = points_of(["qkt", "tiled", "qkt"], [(32, 32), (16, 16)], inputs, token=64)
    found = {(p.kernel, p.tokens, p.layer, p.head) for p in points}
    assert found == {(k, t, a, b) for k, t in (("qkt", 32), ("qkt", 16), ("tiled", 16)) for a in (0, 1) for b in (2, 3)}
    assert len(points) == len(found) and {p.token for p in points} == {64} and left_out == ["tiled 32×32"]
    everything, quiet = points_of([], [(32, 32)], SEEDS[:1])
    assert {p.kernel for p in everything} == {"qkt", "matmul_int8"} and quiet == []
    with pytest.raises(InputError, match="no kernel takes its shape: tiled 32×32"):
        points_of(["tiled"], [(32, 32)], SEEDS)
    with pytest.raises(InputError, match="no kernel is called 'x'"):
        points_of(["x"], [(16, 16)], SEEDS)


def test_a_row_is_what_the_ladder_finds() -> None:
    (point, *_) = points_of(["tiled"], [(16, 16)], [{"seed": 5}], token=32)[0]
    row = measure_point(point, activations)
    kernel = measure_ladder(synthetic_activations(5), ["tiled"], first=32, tokens=16, width=16, runs=1).kernels[0]
    assert (row.passed, row.cycles, row.stalls, row.program_bytes) == (
        True, kernel.cycles, kernel.stalls, kernel.program_bytes
    )  # fmt: skip
    assert (row.cosine, row.rel_l2, row.faults) == (kernel.cosine, kernel.rel_l2, [])


def test_the_second_run_of_a_kernel_is_translated_and_gives_the_same_row(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite", reason="NOT CHECKED: translating needs the extra jit")
    engines: list[str] = []

    def simulator(engine: str) -> Simulator:
        engines.append(engine)
        return Simulator(engine=engine)

    monkeypatch.setattr(run, "Simulator", simulator)
    monkeypatch.setattr(run, "_interpreted", set())
    (point,) = points_of(["tiled"], [(16, 16)], [{"seed": 5}])[0]
    first, second = (measure_point(point, activations) for _ in range(2))
    assert engines == ["interpreter", "translator"] and first == second and first.passed and first.cycles


def test_what_a_point_cannot_have_is_its_fault() -> None:
    row = measure_point(Point(kernel="qkt", tokens=16, width=16, seed=13), activations)
    assert not row.passed and row.cycles is None and row.faults == ["no luck with 13"]


class Here(Executor):
    """Runs at once, in this process; dies on the calls whose numbers are in `deaths`."""

    def __init__(self, done: list[Point], deaths: set[int]) -> None:
        self.done, self.deaths = done, deaths

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.done.append(arguments[0])
        if len(self.done) in self.deaths:
            future.set_exception(BrokenExecutor("a process died"))
        else:
            future.set_result(function(*arguments))
        return future


def here(done: list[Point], deaths: set[int] | None = None) -> Any:
    @contextmanager
    def opened() -> Iterator[Executor]:
        yield Here(done, deaths or set())

    return opened


def test_finished_points_are_not_done_again(tmp_path: Path) -> None:
    done: list[Point] = []
    with SweepLog(tmp_path / "log.jsonl") as log:
        first = run_sweep(POINTS[:2], activations, log, here(done))
    with SweepLog(tmp_path / "log.jsonl") as log:
        rows = run_sweep(POINTS, activations, log, here(done))
    assert done == POINTS and [row.point for row in rows] == POINTS and rows[:2] == first
    with SweepLog(tmp_path / "log.jsonl", restart=True) as log:
        run_sweep(POINTS[:1], activations, log, here(done))
    assert done == [*POINTS, POINTS[0]] and (tmp_path / "log.jsonl").read_bytes().count(b"\n") == 2


def test_points_under_way_when_a_process_dies_run_again(tmp_path: Path) -> None:
    done: list[Point] = []
    with SweepLog(tmp_path / "log.jsonl") as log:
        rows = run_sweep(POINTS, activations, log, here(done, {4}))
    assert [row.point for row in rows] == POINTS and len(done) > len(POINTS)
    lines = (tmp_path / "log.jsonl").read_bytes().splitlines()
    assert len(lines) == 1 + len(POINTS)


def test_processes_that_die_always_end_the_sweep(tmp_path: Path) -> None:
    done: list[Point] = []
    with (
        SweepLog(tmp_path / "log.jsonl") as log,
        pytest.raises(SweepError, match=r"died 3 times .*log\.jsonl"),
    ):
        run_sweep(POINTS[:1], activations, log, here(done, set(range(100))))
    assert len(done) == 3


def test_a_line_that_was_cut_off_is_written_anew(tmp_path: Path) -> None:
    file, warnings = tmp_path / "log.jsonl", []
    with SweepLog(file) as log:
        run_sweep(POINTS, activations, log, here([]))
    whole = file.read_bytes()
    last = msgspec.json.decode(whole.splitlines()[-1], type=Row).point
    for cut in (1, 20, len(whole.splitlines()[-1])):
        file.write_bytes(whole[:-cut])
        done: list[Point] = []
        with SweepLog(file, warn=warnings.append) as log:
            run_sweep(POINTS, activations, log, here(done))
        with SweepLog(file) as log:
            assert set(log.rows) == set(POINTS)
        assert done == [last] and len(file.read_bytes().splitlines()) == 5
        assert b"\n".join(file.read_bytes().splitlines()[:4]) in whole
    assert all("its last line was cut off" in line for line in warnings if "cut off" in line)
    file.write_bytes(whole[:9])  # the first line itself
    with SweepLog(file) as log:
        assert log.rows == {}


def test_a_damaged_line_is_named_and_done_again(tmp_path: Path) -> None:
    file, warnings = tmp_path / "log.jsonl", []
    with SweepLog(file) as log:
        run_sweep(POINTS, activations, log, here([]))
    lines = file.read_bytes().splitlines(keepends=True)
    damaged, lines[2] = msgspec.json.decode(lines[2], type=Row).point, b'{"point": 7}\n'
    file.write_bytes(b"".join(lines))
    with SweepLog(file, warn=warnings.append) as log:
        assert set(log.rows) == {*POINTS} - {damaged}
    assert any(line.startswith(f"{file}, line 3: skipped, not a row (") for line in warnings)


def test_what_is_no_sweep_is_left_alone(tmp_path: Path) -> None:
    for content in (b"precious\n", b"precious", b'{"kind":"ladder"}\n'):
        file = tmp_path / "file"
        file.write_bytes(content)
        with pytest.raises(FileFormatError, match="file: not a sweep of xattn"):
            SweepLog(file)
        assert file.read_bytes() == content
    with pytest.raises(InputError, match=r"cannot write .*: File exists"):
        SweepLog(file / "log.jsonl")


def test_another_program_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "log.jsonl"
    with SweepLog(file) as log:
        run_sweep(POINTS[:1], activations, log, here([]))
    made = log_module.provenance()
    made.commit = "c" * 40
    monkeypatch.setattr(log_module, "provenance", lambda: made)
    with pytest.raises(InputError, match=r"begun by xattn .*, this is .*\(commit c{9}\); --restart"):
        SweepLog(file)
    with SweepLog(file, restart=True) as log:
        assert log.rows == {}
    first = msgspec.json.decode(file.read_bytes().splitlines()[0])
    assert first["provenance"]["commit"] == "c" * 40


def test_processes_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    seen: list[tuple[int, int]] = []
    with SweepLog(tmp_path / "log.jsonl") as log:
        rows = run_sweep(POINTS, activations, log, local_pool(1), lambda done, total, _: seen.append((done, total)))
    assert [row.passed for row in rows] == [True] * 4 and len({row.worker for row in rows}) == 1
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(InputError, match="0 processes; expected at least 1"):
        local_pool(0)
