"""The kernels in C, compiled for this host: every element the integer model's, on random and on extreme inputs."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from xattn.build.peano.sources import KERNELS_IN_C, c_sources, definitions
from xattn.errors import InputError
from xattn.kernels.registry import kernel_spec, kernels

SHAPES = [(kernel, side) for kernel in KERNELS_IN_C for side in (16, 64)]
STRICT = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
Kernel = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]


def compile_for_host(kernel: str, side: int, folder: Path, *options: str) -> Kernel:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("NOT CHECKED: no C compiler (cc), so the C sources were not compared with the integer models")
    for name, data in c_sources(kernel).items():
        (folder / name).write_bytes(data)
    library = folder / f"{kernel}_{side}.so"
    command = [compiler, *STRICT, *options, *definitions(side, side, "kernel_in_c"), "-shared", "-fPIC"]
    done = subprocess.run([*command, f"{kernel}.c", "-o", library], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    function = ctypes.CDLL(str(library)).kernel_in_c
    function.restype = None

    def run(q: np.ndarray, k: np.ndarray, v: np.ndarray, shift: int) -> np.ndarray:
        qkv = np.concatenate([q, k, v]).reshape(-1).copy()
        out = np.full(side * side + 64, 99, np.int8)  # what is behind must stay
        before = qkv.copy()
        function(ctypes.c_void_p(qkv.ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_int32(shift))
        assert np.array_equal(qkv, before) and (out[side * side :] == 99).all()
        return out[: side * side].reshape(side, side)

    return run


def edges(side: int) -> list[list[np.ndarray]]:
    """Operands at which sums are largest, clamps and ties show, and weights vanish."""
    low, top, zero = (np.full((side, side), value, np.int8) for value in (-128, 127, 0))
    one_hot = (np.eye(side) * 100).astype(np.int8)
    ramp = np.arange(side * side).reshape(side, side).astype(np.int8)
    checker = np.where(np.indices((side, side)).sum(axis=0) % 2, 127, -128).astype(np.int8)
    return [
        [low, low, low],
        [top, low, top],
        [zero, zero, top],
        [zero, ramp, low],
        [one_hot, one_hot, ramp],
        [checker, ramp, checker],
        [ramp, checker, ramp],
    ]


@pytest.mark.parametrize(("kernel", "side"), SHAPES)
def test_c_is_exact(kernel: str, side: int, tmp_path: Path) -> None:
    run, spec = compile_for_host(kernel, side, tmp_path), kernel_spec(kernel)
    random = np.random.default_rng(side)
    cases = [list(random.integers(-128, 128, (3, side, side)).astype(np.int8)) for _ in range(5)]
    cases += [list(random.integers(-20, 21, (3, side, side)).astype(np.int8)) for _ in range(5)]  # no score is clamped
    for q, k, v in [*cases, *edges(side), cases[0]]:  # the first once more: nothing is left of the others
        for shift in (0, 4, 7, 31):
            assert np.array_equal(run(q, k, v, shift), spec.model(q, k, v, shift)), shift


@pytest.mark.parametrize("kernel", KERNELS_IN_C)
def test_c_does_nothing_undefined(kernel: str, tmp_path: Path) -> None:
    """Overflow, shifts and indices out of bounds would end the process."""
    side = 16
    run, spec = (
        compile_for_host(kernel, side, tmp_path, "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"),
        kernel_spec(kernel),
    )
    for q, k, v in edges(side):
        for shift in (0, 4, 31):
            assert np.array_equal(run(q, k, v, shift), spec.model(q, k, v, shift))


def test_a_wrong_source_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each constant of the arithmetic counts: another one gives other outputs."""
    if shutil.which("cc") is None:
        pytest.skip("NOT CHECKED: no C compiler (cc)")
    sources = c_sources("baseline")
    q, k, v = np.random.default_rng(1).integers(-20, 21, (3, 16, 16)).astype(np.int8)
    expected = kernel_spec("baseline").model(q, k, v, 4)
    for number, (name, old, new) in enumerate(
        [
            ("scalar_attention.h", "OUTPUT_SHIFT = 7", "OUTPUT_SHIFT = 6"),
            ("scalar_attention.h", "LARGEST_WEIGHT = 127", "LARGEST_WEIGHT = 126"),
            ("scalar_attention.h", "QUOTIENT_BITS = 13", "QUOTIENT_BITS = 8"),
            ("scalar_attention.h", "total >> shift", "total >> (shift + 1)"),
            ("parabola.h", "distance >> 7", "distance >> 6"),
            ("baseline.c", "2 * BLOCK", "BLOCK"),
        ]
    ):
        changed = sources[name].decode().replace(old, new)
        assert changed != sources[name].decode()
        monkeypatch.setattr(
            f"{__name__}.c_sources", lambda _, name=name, text=changed: {**sources, name: text.encode()}
        )
        folder = tmp_path / str(number)
        folder.mkdir()
        assert not np.array_equal(compile_for_host("baseline", 16, folder)(q, k, v, 4), expected), new


@pytest.mark.parametrize("kernel", KERNELS_IN_C)
def test_sources_call_no_library(kernel: str, tmp_path: Path) -> None:
    """There is none on a core: no undefined symbol may be left, and nothing that divides."""
    code = b"\n".join(data for name, data in c_sources(kernel).items() if name != "exp_lut.h").decode()
    plain = re.sub(r"/\*.*?\*/|enum \{.*?\};", "", code, flags=re.DOTALL)  # a constant may be a quotient
    assert not re.search(r"[/%]|#include <(?!stdint\.h>)", plain)
    nm, compiler = shutil.which("nm"), shutil.which("cc")
    if nm is None or compiler is None:
        pytest.skip("NOT CHECKED: no cc and nm to look for undefined symbols")
    for name, data in c_sources(kernel).items():
        (tmp_path / name).write_bytes(data)
    options = ["-std=c11", "-O2", "-ffreestanding", "-fno-builtin", "-fno-stack-protector", *definitions(64, 64, "f")]
    subprocess.run([compiler, *options, "-c", f"{kernel}.c", "-o", "f.o"], cwd=tmp_path, check=True)
    listed = subprocess.run([nm, "-u", "f.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert set(listed.split()) <= {"U", "_GLOBAL_OFFSET_TABLE_"}


def test_kernels_without_a_source_are_refused_with_those_that_have_one() -> None:
    for name in kernels().keys() - set(KERNELS_IN_C):
        with pytest.raises(InputError, match=f"kernel {name} is not there in C.*baseline, tiled, lut are"):
            c_sources(name)


def test_the_table_is_the_one_of_the_model() -> None:
    from xattn.numerics.lut import exp_table

    text = c_sources("lut")["exp_lut.h"].decode()
    numbers = [int(number) for number in re.findall(r"\d+(?=,)", text.partition("{")[2])]
    assert numbers == exp_table().tolist()
    assert "exp_lut.h" not in c_sources("baseline")
