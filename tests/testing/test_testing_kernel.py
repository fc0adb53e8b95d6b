"""Calling kernels from tests: arguments, results, cycles, findings, and what is said when something is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xattn.errors import FileFormatError, InputError
from xattn.isa.assembly import assemble_program
from xattn.isa.elf import Symbol
from xattn.isa.elf_writer import write_executable, write_object
from xattn.isa.timing import DATA_MEMORY_BASE
from xattn.testing import Kernel, empty
from xattn.testing.kernel import KernelError

PROGRAM = """
.func scale           // r0 words at p0, times r1, to p1: nothing overlaps
    mova r4, #0
    .align 16
    again:
    lda r2, [p0], #4
    nop*6
    mul r3, r2, r1
    nop
    add r0, r0, #-1
    jnz r0, #again
    st r3, [p1], #4
    nop*4
    ret lr
    nop*5
.func idle
    ret lr
    nop*5
.func reads           // what nobody wrote
    lda r0, [p0, #0]
    nop*6
    add r0, r0, #1
    ret lr
    nop*5
.func crooked
    mova m0, #2
    nop*6
    padda [p0], m0
    nop
    lda r0, [p0, #0]
    ret lr
    nop*5
.func locked
    mova r1, #-1
    acq #3, r1
    ret lr
    nop*5
.func deep
    paddb [sp], #64
    ret lr
    nop*4
    paddb [sp], #-64
"""
NUMBERS = np.arange(-8, 8, dtype=np.int32)


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    path = tmp_path / "p.elf"
    path.write_bytes(write_executable(assemble_program(PROGRAM)))
    return path


@pytest.fixture
def obj(tmp_path: Path) -> Path:
    path = tmp_path / "p.o"
    path.write_bytes(write_object(assemble_program(PROGRAM)))
    return path


@pytest.mark.parametrize("kind", ["elf", "obj"])
@pytest.mark.parametrize("engine", ["interpreter", "auto"])
def test_arrays_in_and_out(kind: str, engine: str, request: pytest.FixtureRequest) -> None:
    kernel = Kernel(request.getfixturevalue(kind), "scale", engine=engine)
    run = kernel(NUMBERS, empty((4, 4), np.int32), 16, 3)
    assert np.array_equal(run.arrays[0], NUMBERS) and run.arrays[1].dtype == np.int32
    assert np.array_equal(run.arrays[1], 3 * NUMBERS.reshape(4, 4))
    assert run.findings == () and run.value == 0
    run.assert_no_findings()
    run.assert_cycles(at_most=run.cycles)
    assert sum(c.executed + c.stalled for c in run.counts.values()) == run.cycles
    again = kernel(NUMBERS, empty(16, np.int32), 16, 3)
    assert again.cycles == run.cycles


def test_too_many_cycles_say_where_they_went(elf: Path) -> None:
    run = Kernel(elf, "scale")(NUMBERS, empty(16, np.int32), 16, 3)
    with pytest.raises(AssertionError) as caught:
        run.assert_cycles(at_most=100)
    text = str(caught.value)
    assert f"scale took {run.cycles:,} cycles, at most 100 allowed" in text
    assert "        16 at scale+" in text and "nop" in text


def test_bytes_that_were_not_written_are_a_finding(elf: Path) -> None:
    run = Kernel(elf, "scale")(NUMBERS, empty(16, np.int32), 14, 3)
    assert run.findings == ("warning: unwritten: 8 of 64 bytes of argument 1",)
    with pytest.raises(AssertionError, match="scale: 1 findings\\n  warning: unwritten"):
        run.assert_no_findings()


def test_memory_that_nobody_wrote_is_a_finding(elf: Path) -> None:
    (finding,) = [f for f in Kernel(elf, "reads")(empty(4, np.int32)).findings if "unwritten" not in f]
    assert "undefined-register" in finding and "[reads+" in finding


def test_a_stack_that_is_left_is_a_finding(elf: Path) -> None:
    assert Kernel(elf, "deep")().findings == ()
    (finding, *_) = Kernel(elf, "deep", stack_bytes=32)().findings
    assert "stack" in finding and "[deep+0x0]" in finding


@pytest.mark.parametrize("engine", ["interpreter", "auto"])
def test_what_cannot_go_on_is_an_error(elf: Path, engine: str) -> None:
    with pytest.raises(KernelError, match=r"crooked: .*misaligned"):
        Kernel(elf, "crooked", engine=engine)(NUMBERS)
    with pytest.raises(KernelError, match="lock 3"):
        Kernel(elf, "locked", engine=engine)()
    assert Kernel(elf, "locked", engine=engine, locks="grant")().stalls == 1
    with pytest.raises(KernelError, match="still running"):
        Kernel(elf, "scale", engine=engine, max_cycles=50)(NUMBERS, empty(16, np.int32), 16, 3)


def test_arguments_do_not_lie_on_anything(tmp_path: Path) -> None:
    """Behind the stack and the program's data, each at a multiple of 64."""
    program = assemble_program(".func where\nmov r0, p2\nret lr\nnop*5")
    path = tmp_path / "p.elf"
    path.write_bytes(write_executable(program, symbols=[Symbol("table", DATA_MEMORY_BASE + 0x500, 0x30, "object")]))
    run = Kernel(path, "where")(np.zeros(3, np.int8), 5, np.zeros((2, 40), np.int8), empty(1, np.int8))
    assert run.value == DATA_MEMORY_BASE + 0x540 + 64 + 128
    assert [array.shape for array in run.arrays] == [(3,), (2, 40), (1,)]


def test_input_that_does_not_fit(elf: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no symbol scal; did you mean scale"):
        Kernel(elf, "scal")
    with pytest.raises(FileFormatError, match="No such file"):
        Kernel(tmp_path / "none.elf", "scale")
    with pytest.raises(InputError, match="no file was given"):
        Kernel([], "scale")
    with pytest.raises(InputError, match="expected an array"):
        Kernel(elf, "idle")("text")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="data memory ends at 0x80000"):
        Kernel(elf, "idle")(np.zeros(65536, np.int8))
    with pytest.raises(InputError, match='"grant" or "hold"'):
        Kernel(elf, "idle", locks="open")
    with pytest.raises(InputError, match="no engine is called 'fast'"):
        Kernel(elf, "idle", engine="fast")()


def test_objects_are_linked(obj: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.o"
    other.write_bytes(write_object(assemble_program(".func twice\nadd r0, r0, r0\nret lr\nnop*5")))
    assert Kernel([obj, other], "twice")(21).value == 42
    assert Kernel([str(other), obj], "scale")(NUMBERS, empty(16, np.int32), 16, 3).findings == ()
