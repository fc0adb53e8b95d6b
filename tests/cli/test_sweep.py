"""`xattn sweep`: output, resuming after real kills, a real dask cluster, and bad input in one line."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from xattn.cli.main import main

SMALL = ("sweep", "--kernel", "qkt", "--shape", "16x16")
SLOWER = ("sweep", "--kernel", "tiled", "--shape", "16x16", "--seed", "0-9")  # 0.1 s a point or more
POSIX = pytest.mark.skipif(os.name != "posix", reason="NOT CHECKED: processes are killed by POSIX signals")


def rows_of(log: Path) -> list[dict[str, Any]]:
    """The finished rows."""
    content = log.read_bytes() if log.exists() else b""
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()[1:]]


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`xattn` in a process group of its own, which is gone in the end."""
    call = [sys.executable, "-m", "xattn.cli.main", *arguments]
    process = subprocess.Popen(call, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):  # nobody of it is left
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(log: Path, rows: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while len(rows_of(log)) < rows:
        assert process.poll() is None, "it ended before its time"
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
@POSIX
def test_a_killed_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    call = [*SLOWER, "--jobs", "1", "--out", str(log)]
    with started(*call) as process:
        wait_for(log, 2, process)
        process.kill()  # only the command: its worker must end by itself
        process.wait()
        worker = int(rows_of(log)[0]["worker"].rpartition(":")[2])
        end = time.monotonic() + 20
        while alive(worker):
            assert time.monotonic() < end, "a worker outlives its sweep"
            time.sleep(0.05)
    before, finished = log.read_bytes(), len(rows_of(log))
    assert 2 <= finished < 10
    assert main([*call, "--json", str(tmp_path / "rows.json")]) == 0
    rows = rows_of(log)
    assert log.read_bytes().startswith(before[: before.rfind(b"\n") + 1])  # what was finished is as it was
    assert sorted(row["point"]["seed"] for row in rows) == list(range(10))  # each point once
    assert len({row["worker"] for row in rows}) == 2
    assert sorted(row["point"]["seed"] for row in json.loads((tmp_path / "rows.json").read_text())) == list(range(10))


@POSIX
@pytest.mark.slow
def test_a_killed_worker_loses_no_point(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with started(*SLOWER, "--jobs", "1", "--out", str(log)) as process:
        wait_for(log, 2, process)
        victim = int(rows_of(log)[0]["worker"].rpartition(":")[2])
        os.kill(victim, signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    rows = rows_of(log)
    assert sorted(row["point"]["seed"] for row in rows) == list(range(10))
    assert len({row["worker"] for row in rows}) == 2 and all(row["passed"] for row in rows)


def test_rows_as_json_csv_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "rows.csv"
    assert main([*SMALL, "--shape", "32x32", "--seed", "3,5-6", "--jobs", "1", "--json", "-", "--csv", str(table)]) == 0
    captured = capsys.readouterr()
    rows = json.loads(captured.out)
    assert [(row["point"]["tokens"], row["point"]["seed"]) for row in rows] == [
        (t, s) for t in (16, 32) for s in (3, 5, 6)
    ]  # fmt: skip
    with table.open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert [int(row["cycles"]) for row in read] == [row["cycles"] for row in rows]
    assert [read[0][name] for name in ("kernel", "tokens", "seed", "passed")] == ["qkt", "16", "3", "True"]
    assert "6 points, 0 finished already; log: " in captured.err
    shown = next(line for line in captured.err.splitlines() if line.startswith("qkt 16×16"))
    assert shown.split()[2:4] == ["3", "3"] and str(rows[0]["cycles"]) in shown.split()
    assert main([*SMALL, "--shape", "32x32", "--seed", "3,5-6"]) == 0  # the same points: all are there
    assert "6 points, 6 finished already" in capsys.readouterr().err


def test_a_fault_is_printed_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--jobs", "1", "--token", "1400", "--seed", "0"]) == 0
    assert main(["sweep", "--kernel", "tiled", "--shape", "16x16", "--jobs", "1", "--token", "1499"]) == 1
    assert "tiled 16×16, seed 0, token 1499: first token 1499 does not fit" in capsys.readouterr().out


CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@contextmanager
def dask_cluster(folder: Path) -> Iterator[str]:
    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    call = [sys.executable, "-W", "ignore", str(script)]
    process = subprocess.Popen(
        call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@POSIX
@pytest.mark.slow
def test_a_dask_cluster_runs_the_same_code_and_survives_a_worker(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="NOT CHECKED on a dask cluster: dask.distributed is not installed")
    log = tmp_path / "log.jsonl"
    with dask_cluster(tmp_path) as address, started(*SLOWER, "--dask", address, "--out", str(log)) as process:
        wait_for(log, 2, process)
        os.kill(int(rows_of(log)[0]["worker"].rpartition(":")[2]), signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    rows = rows_of(log)
    assert sorted(row["point"]["seed"] for row in rows) == list(range(10)) and all(row["passed"] for row in rows)
    assert len({row["worker"] for row in rows}) == 2


BAD = {
    "unknown kernel": (["--kernel", "fast"], "no kernel is called 'fast'; there are baseline"),
    "shape that is none": (["--shape", "16"], "shape '16' is not tokens × channels"),
    "no such shape": (["--kernel", "lut", "--shape", "32x32"], "no kernel takes its shape: lut 32×32"),
    "seed": (["--seed", "a"], "--seed 'a': expected a number, a range (0-9) or a list (1,4)"),
    "range": (["--seed", "9-3"], "--seed '9-3': expected a range upwards"),
    "both inputs": (["--seed", "1", "--layer", "0"], "--seed chooses synthetic activations, --layer and --head real"),
    "jobs": (["--jobs", "0"], "0 processes; expected at least 1"),
    "jobs on a cluster": (["--jobs", "2", "--dask", "tcp://x:1"], "--jobs counts processes of this machine"),
    "two outputs": (["--json", "-", "--csv", "-"], "--json - and --csv -: only one of them"),
    "no such folder": (["--csv", "none/x.csv"], "cannot write none/x.csv: none is not a folder"),
    "log": (["--out", "file/x.jsonl"], "cannot write file/x.jsonl: File exists"),
    "foreign log": (["--out", "file"], "file: not a sweep of xattn"),
    "no scheduler": (["--dask", "nonsense://x"], "--dask nonsense://x: no scheduler answers there"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_said_before_work(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("something else")
    arguments, message = BAD[case]
    if "--dask" in arguments and "--jobs" not in arguments:
        pytest.importorskip("distributed", reason="NOT CHECKED: dask.distributed is not installed")
    base = ["sweep"] if "--kernel" in arguments or "--shape" in arguments else list(SMALL)
    assert main([*base, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.splitlines()[-1].startswith(f"xattn: {message}"), captured.err


def test_without_dask_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*SMALL, "--dask", "tcp://127.0.0.1:8786"]) == 2
    assert capsys.readouterr().err == 'xattn: --dask needs dask.distributed: pip install "xattn[dist]"\n'
