"""The pytest plugin, as other projects use it: pytest runs on a folder with a kernel and a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from xattn.isa.assembly import assemble_program
from xattn.isa.elf_writer import write_executable

KERNEL = ".func double\nadd r0, r0, r0\nret lr\nnop*5"
TEST = """
import numpy as np
from xattn.testing import empty

def test_double(aie2_kernel):
    run = aie2_kernel("double.elf", "double")(21)
    assert run.value == 42
    run.assert_no_findings()
    run.assert_cycles(at_most=7)

def test_slow(aie2_kernel):
    aie2_kernel("double.elf", "double")(21).assert_cycles(at_most=3)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "sub"
    folder.mkdir()
    (folder / "double.elf").write_bytes(write_executable(assemble_program(KERNEL)))
    (folder / "test_double.py").write_text(TEST)
    return tmp_path


def pytest_of(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "xattn.testing.plugin", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_fixture_loads_kernels_that_lie_beside_the_test(project: Path) -> None:
    done = pytest_of(project, "-q")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "double took 7 cycles, at most 3 allowed" in done.stdout and "at double+0x0: " in done.stdout
    assert "simulated AIE2 cycles" not in done.stdout


def test_cycles_are_listed_where_asked_for(project: Path) -> None:
    done = pytest_of(project, "--aie2-cycles", "-k", "test_double")
    assert "simulated AIE2 cycles" in done.stdout
    assert done.stdout.count("7  double  sub/test_double.py::test_double") == 1


def test_the_plugin_costs_nothing_where_it_is_not_used(project: Path) -> None:
    (project / "sub" / "test_double.py").write_text(
        "import sys\n\ndef test_nothing():\n    assert 'numpy' not in sys.modules and 'xattn.sim' not in sys.modules\n"
    )
    done = pytest_of(project, "-q", "-p", "no:hypothesispytest", "-p", "no:_hypothesis_pytestplugin")
    assert done.returncode == 0, done.stdout


def test_the_plugin_is_an_entry_point_under_its_own_name() -> None:
    """So that naming it with -p and having it installed do not make two of it."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points.pytest11]\n"xattn.testing.plugin" = "xattn.testing.plugin"\n' in text
