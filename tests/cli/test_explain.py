"""`xattn explain`: kernels by name, functions of ELF files, JSON, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from xattn.bench.explain import Explanation
from xattn.cli.main import main
from xattn.isa.assembly import assemble_program
from xattn.isa.elf import Symbol
from xattn.isa.elf_writer import write_executable, write_object

PROGRAM = """
.func sum             // of r0 words at p0, one after another: a branch closes the loop
    mova r1, #0
    .align 16
again:
    lda r2, [p0], #4
    nop*6
    mul r3, r2, r2
    nop
    add r1, r1, r3
    add r0, r0, #-1
    jnz r0, #again
    nop*5
    ret lr
    or r0, r1, r1
    nop*4
.func locked
    mova r1, #-1
    acq #3, r1
    nop*8
    ret lr
    nop*5
.func lost
    j #0x3000
    nop*5
.func start
    done
    nop*5
"""
CODE = assemble_program(PROGRAM)
TABLE = 0x70800


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    path = tmp_path / "p.elf"
    symbols = [Symbol("_sp_start_value_DM_stack", 0x70400), Symbol("table", TABLE, 32, "object")]
    words = b"".join(k.to_bytes(4, "little") for k in range(1, 9))
    path.write_bytes(write_executable(CODE, [(TABLE, words)], symbols, entry=CODE.symbols["start"]))
    return path


def explain(*arguments: object) -> int:
    return main(["explain", *(str(argument) for argument in arguments)])


def report(capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Explanation:
    assert explain(*arguments, "--json", "-") == code
    return msgspec.json.decode(capfd.readouterr().out, type=Explanation)


# --- ELF files ------------------------------------------------------------------------------------------------------


def test_a_function_of_a_foreign_program(elf: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = report(capfd, elf, "--call", "sum", "--arg", "@table", "--arg", "8")
    [loop] = found.loops
    # load, 6 bundles until it lands, multiply, 1 more, two adds, the branch and its delay slots
    assert (loop.trips, loop.interval, loop.stages, loop.hardware) == (8, 1 + 6 + 1 + 1 + 2 + 1 + 5, None, False)
    assert loop.where == f"sum+{CODE.symbols['again'] - CODE.symbols['sum']:#x}" == loop.name
    assert (loop.resource_minimum, loop.resource_unit) == (4, "alu")  # mul, two adds, jnz
    assert (found.multiplies.vector, found.multiplies.scalar) == (0, 8)
    assert found.bound.macs == 8 and "counted in the run" in found.bound.basis
    assert found.exact is None and found.kind == "elf" and found.name == "sum of p.elf"
    assert found.timeline is not None and found.timeline.cycles == loop.interval
    assert found.advice.startswith("no vector MAC is used")


def test_the_text_has_no_source_lines_for_a_foreign_program(elf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(elf, "--call", "sum", "--arg", "@table", "--arg", "3") == 0
    out = capsys.readouterr().out
    assert out.startswith("sum of p.elf: cycles are simulated") and "sum+0x" in out and "(line " not in out


def test_locks_are_granted_on_request(elf: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = report(capfd, elf, "--call", "locked", "--locks", "grant")
    assert [(stall.cause, stall.cycles) for stall in found.stalls] == [("lock", found.stall_cycles)]
    assert found.stalls[0].accesses[0].operation.startswith("acq #3") and found.stall_cycles > 0
    assert explain(elf, "--call", "locked") == 1
    assert "--locks grant" in capfd.readouterr().err


def test_without_a_call_the_program_runs_from_its_entry_point(elf: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert report(capfd, elf).cycles == 1


def test_a_run_that_goes_astray_is_reported(elf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(elf, "--call", "lost") == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "fetch from 0x3000, where there is no code" in captured.err
    assert explain(elf, "--call", "sum", "--arg", "@table", "--arg", "8", "--max-cycles", "20") == 1
    assert "still running after 20 cycles" in capsys.readouterr().err


# --- kernels --------------------------------------------------------------------------------------------------------


def test_a_kernel_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.json"
    assert explain("qkt", "--shape", "32x32", "--json", file, "--timeline", "8") == 0
    out = capsys.readouterr().out
    found = msgspec.json.decode(file.read_bytes(), type=Explanation)
    assert out.startswith("qkt 32×32: cycles are simulated") and "the output equals the integer model's" in out
    assert found.exact and found.timeline is not None and f"of {found.timeline.cycles}, the densest" in out
    [row] = [line for line in out.splitlines() if line.strip().startswith("vec ") and "%" not in line]
    assert len(row.split()[1]) == 8
    assert "(line " in out and found.advice in out


def test_a_wrong_kernel_ends_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from xattn.bench.explain import explain_kernel

    right = explain_kernel("qkt", 16, 16)
    wrong = msgspec.structs.replace(right, exact=False)
    monkeypatch.setattr("xattn.bench.explain.explain_kernel", lambda *_: wrong)
    assert explain("qkt", "--shape", "16x16") == 1
    assert "THE OUTPUT IS WRONG" in capsys.readouterr().out


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "nothing: no such file, and no kernel is called so; there are baseline, "),
        (["qkt", "--shape", "64"], "shape '64' is not tokens × channels"),
        (["qkt", "--shape", "24x24"], "kernel qkt cannot take 24 tokens of width 24; it takes 64×64"),
        (["qkt", "--call", "main", "--arg", "3"], "--call, --arg: qkt is a kernel, which has its own inputs"),
        (["qkt", "--timeline", "0"], "--timeline 0: expected a number of cycles from 1 on, or all"),
        (["qkt", "--timeline", "many"], "expected an integer"),
        (["qkt", "--json", "/no/such/folder/x.json"], "cannot write /no/such/folder/x.json"),
        (["{elf}", "--shape", "64x64"], "--shape: {elf} is a file, whose arguments come by --arg and --load"),
        (["{elf}", "--call", "sun"], "no symbol sun; did you mean sum?"),
        (["{object}"], "a relocatable object; make an executable of it first (xattn link)"),
        (["{text}"], "no ELF file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, elf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "o.o").write_bytes(write_object(CODE))
    (tmp_path / "t.txt").write_text("text")
    names = {"elf": str(elf), "object": str(tmp_path / "o.o"), "text": str(tmp_path / "t.txt")}
    assert explain(*(argument.format(**names) for argument in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and message.format(**names) in captured.err and captured.err.count("\n") == 1


# --- a program by others --------------------------------------------------------------------------------------------


def test_a_foreign_attention_kernel(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Scalar 64×64 attention of another compiler: recorded cycles, no vector multiply, eight loops in three nests."""
    named = os.environ.get("XATTN_FOREIGN")
    if not named:
        pytest.skip(
            "NOT CHECKED against a foreign attention kernel: set XATTN_FOREIGN to a directory of AIE2 ELF files"
        )
    files = sorted(Path(named).rglob("*attention_64x64_fixed*main_core_0_2.elf"))
    if not files:
        pytest.skip(f"NOT CHECKED against a foreign attention kernel: no attention_64x64_fixed below {named}")
    (tmp_path / "qkv.bin").write_bytes(bytes(range(256)) * 48)
    call = ["--call", "attention_64x64", "--load", f"{tmp_path / 'qkv.bin'}@of_QKV_cons_buff_0", "--sp", "0x78000"]
    call += ["--arg", "@of_QKV_cons_buff_0", "--arg", "@of_out_buff_0", "--arg", "4"]
    found = report(capfd, files[0], *call)
    assert found.cycles == 2_975_089 and found.findings == []
    assert found.multiplies.vector == 0
    assert found.multiplies.scalar >= 2 * 64**3  # Q·Kᵀ and P·V
    assert found.advice.startswith("no vector MAC is used")
    nests = [loop for loop in found.loops if loop.depth == 0]
    assert len(nests) >= 3 and sum(loop.cycles for loop in nests) > 0.95 * found.cycles
