"""The pytest plugin: the fixture `aie2_kernel`, and `--aie2-cycles`, which lists what each test's kernels took.

pytest finds it by itself where xattn is installed. Nothing of xattn is imported before a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xattn.testing.kernel import Kernel, KernelRun

RUNS = pytest.StashKey[list[tuple[str, str, int]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--aie2-cycles`."""
    parser.getgroup("xattn").addoption(
        "--aie2-cycles", action="store_true", help="list the simulated cycles of every AIE2 kernel that a test called"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start the list of runs."""
    config.stash[RUNS] = []


@pytest.fixture
def aie2_kernel(request: pytest.FixtureRequest) -> Callable[..., Kernel]:
    """Load a function of an AIE2 program: `aie2_kernel("scale.elf", "scale", **options)`.

    Files are looked for beside the test's file. Options are those of `xattn.testing.Kernel`.
    """
    from xattn.testing.kernel import Kernel

    folder, runs = request.path.parent, request.config.stash[RUNS]

    def load(files: str | Path | Sequence[str | Path], function: str, **options: Any) -> Kernel:
        named = [files] if isinstance(files, (str, Path)) else files
        kernel = Kernel([folder / file for file in named], function, **options)

        def note(run: KernelRun) -> None:
            runs.append((request.node.nodeid, function, run.cycles))

        kernel.on_run = note
        return kernel

    return load


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List the runs where that was asked for."""
    runs = config.stash[RUNS]
    if not config.getoption("--aie2-cycles") or not runs:
        return
    terminalreporter.section("simulated AIE2 cycles")
    width = max(len(f"{cycles:,}") for _, _, cycles in runs)
    for test, function, cycles in runs:
        terminalreporter.write_line(f"{cycles:>{width},}  {function}  {test}")
