"""The package as pip gets it: every tracked file of it is in the wheel, tables, C sources and sound included."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    if find_spec("hatchling") is None:
        pytest.skip("NOT CHECKED: hatchling is not installed, so no wheel was built and looked into")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("xattn-*.whl")
    return zipfile.ZipFile(path)


def test_every_file_of_the_package_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("NOT CHECKED: not a git checkout: which files belong to the package is not known")
    listed = subprocess.run(["git", "ls-files", "src/xattn"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = {name.removeprefix("src/") for name in listed.stdout.splitlines()}
    assert tracked <= set(wheel.namelist())
    assert {"xattn/build/peano/sources/baseline.c", "xattn/build/peano/sources/scalar_attention.h"} <= tracked


def test_the_wheel_builds_c_sources_by_itself(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = "import xattn; from xattn.build.peano.sources import *; print(xattn.__file__, *map(c_sources, KERNELS_IN_C))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path)) and "lut.c" in done.stdout and "EXP_LUT" in done.stdout
