"""The published guide's own calls, word for word where they can be, from the repository's root."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from xattn.bench import measure_ladder, synthetic_activations
from xattn.numerics.lut import exp_table

ROOT = Path(__file__).parents[1]


def run(*arguments: str, code: int = 0, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_benchmark_single_kernel_returns_seconds() -> None:
    script = (
        "from benchmark_suite.benchmark_kernels import benchmark_single_kernel\n"
        "time = benchmark_single_kernel('qkt', iterations=20)\n"
        "print(f'{time*1000:.6f}ms')"
    )
    done = run("-c", script)
    cycles = measure_ladder(synthetic_activations(42), ["qkt"], runs=1).kernels[0].cycles
    assert cycles is not None and done.stdout == f"{cycles / 1.8e6:.6f}ms\n"
    assert f"qkt: {cycles:,} cycles" in done.stderr and "simulated" in done.stderr and "2 of 20" in done.stderr


def test_a_file_for_the_array_that_is_not_there() -> None:
    call = "from benchmark_suite.benchmark_kernels import benchmark_single_kernel as b; b('build/attention.xclbin')"
    assert "attention.xclbin: no such file" in run("-c", call, code=1).stderr


def test_the_kernel_option() -> None:
    more = ["--shape", "16x16", "--synthetic", "--quick", "--no-store", "--target", "1.2"]
    done = run("benchmark_suite/benchmark_kernels.py", "--kernel=attention_vectorized", *more)
    assert "║  VECTORIZED ATTENTION RESULTS      ║" in done.stdout and "✅ ACHIEVED" in done.stdout
    bad = run("-m", "benchmark_suite.benchmark_kernels", "--kernel=attention_fast", code=2)
    assert "no kernel is called 'attention_fast'; there are baseline" in bad.stderr


@pytest.mark.parametrize(
    "how", [["benchmark_suite/run_all_benchmarks.py"], ["-m", "benchmark_suite.run_all_benchmarks"]]
)
def test_run_all_takes_the_options_of_old(how: list[str], tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text('steps = ["ladder"]\nshapes = ["16x16"]\nkernels = ["qkt"]\n[input]\nsynthetic = true\n')
    options = ["--quick", "--skip-accuracy", "--output-dir", str(tmp_path / "out"), "--config", str(suite)]
    run(*how, *options)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ladder_16x16.json"]


def test_the_table_generator(tmp_path: Path) -> None:
    script = str(ROOT / "benchmark_suite" / "generate_exp_lut.py")
    assert "256 bytes" in run(script, folder=tmp_path).stdout
    text = (tmp_path / "exp_lut.h").read_text()
    numbers = text[text.index("{") + 1 : text.index("}")].replace(",", " ").split()
    assert [int(n) for n in numbers if n.isdecimal()] == exp_table().tolist()


GUIDE = re.search(r"^```sh\n(.*?)^```", (ROOT / "docs" / "benchmarking.md").read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.slow
@pytest.mark.parametrize("call", GUIDE[1].splitlines() if GUIDE else [])
def test_the_calls_of_the_document(call: str, tmp_path: Path) -> None:
    """Each line of the document's block, in a folder that has what the repository's root has."""
    (tmp_path / "benchmark_suite").symlink_to(ROOT / "benchmark_suite")
    python = f'python3() {{ "{sys.executable}" "$@"; }}; '
    done = subprocess.run(["bash", "-uc", python + call], cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    if "/test_" in call:
        assert "Output shape: (64, 64)" in done.stdout and "Every element equals the baseline's" in done.stdout


def test_the_document_has_calls() -> None:
    assert GUIDE is not None
    for module in (ROOT / "benchmark_suite").glob("[!_]*.py"):
        assert module.stem in GUIDE[1], f"docs/benchmarking.md does not show {module.name}"
