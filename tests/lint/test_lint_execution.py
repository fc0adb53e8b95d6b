"""Lints that run the files: outputs that do not depend on the input, or that depend on more; runs that fail."""

from __future__ import annotations

from collections.abc import Sequence

from lint_cases import built, files_of, names, report, with_kernel

from xattn.array.instructions import InstructionStream, Operation, Sync, read_instructions, write_instructions
from xattn.lint.execution import runs_of
from xattn.lint.files import read_subject

RUNS = ("simulated-run", "simulator-remarks", "constant-output", "output-differs-between-calls")


def of(text: str) -> dict[str, bytes]:
    return files_of(with_kernel(text))


def filled_with(value: str) -> str:
    """Write one word to all 256 bytes of the output."""
    return value + "\n st r0, [p2], #4" * 64


# copies the first word of Q to the output, and then its complement, 32 times
COPY = "lda r0, [p0, #0]\n nop*7\n mova r1, #-1\n xor r1, r0, r1\n" + " st r0, [p2], #4\n st r1, [p2], #4\n" * 32


def test_an_output_that_does_not_depend_on_the_input() -> None:
    (finding,) = report(of(filled_with("mova r0, #-1\n nop")), *RUNS).findings
    assert finding.rule == "constant-output"
    assert finding.where.endswith("host buffer 2")
    assert "the same for two random inputs (all 256 bytes are 0xff)" in finding.message
    text = "mova r0, #-1\n mova r1, #7\n nop\n" + " st r0, [p2], #4\n st r1, [p2], #4\n" * 32
    (finding,) = report(of(text), *RUNS).findings
    assert "the same for two random inputs (256 bytes)" in finding.message


def test_an_output_of_one_byte_again_and_again() -> None:
    """It depends on the input, and still says nothing of it."""
    text = "lda.u8 r0, [p0, #0]\n nop*7\n" + " st.s8 r0, [p2], #1\n nop*7\n" * 256
    (finding,) = report(of(text), *RUNS).findings
    assert finding.rule == "constant-output"
    assert finding.message.startswith("every byte of the output is the same")


def test_an_output_that_depends_on_the_input_is_good() -> None:
    assert names(of(COPY), *RUNS) == set()


def test_an_output_that_differs_from_call_to_call() -> None:
    """The program counts its calls in memory that it has not been given."""
    count = "movxm p4, #0x7f000\n nop*2\n lda r2, [p4, #0]\n nop*7\n add r2, r2, #1\n st r2, [p4, #0]\n nop*2\n"
    found = report(of(COPY + count + " add r0, r0, r2\n st r0, [p2, #-4]\n"), *RUNS)
    assert {finding.rule for finding in found.findings} == {"output-differs-between-calls", "simulator-remarks"}
    (finding,) = (f for f in found.findings if f.rule == "output-differs-between-calls")
    assert "of 256 bytes differ between two calls with the same input" in finding.message


def test_what_the_simulator_remarks_on() -> None:
    """The output is written but for its last word, and DMA fetches that too."""
    short = COPY.removesuffix(" st r1, [p2], #4\n")
    found = report(of(short), *RUNS).findings
    assert {finding.rule for finding in found} == {"simulator-remarks"}
    assert any("dma-reads-undefined" in finding.message for finding in found)


def test_a_run_that_hangs() -> None:
    stream = read_instructions(built()["insts.bin"])
    without_k = InstructionStream((*stream.operations[:3], *stream.operations[6:]), columns=stream.columns)
    files = {"qkt.pdi": built()["qkt_tile.pdi"], "insts.bin": write_instructions(without_k)}
    found = report(files, *RUNS)
    (finding,) = found.findings
    assert finding.rule == "simulated-run"
    assert "run 1 on the simulated array failed: deadlock in cycle" in finding.message
    assert {item.rule for item in found.unchecked} == {"constant-output", "output-differs-between-calls"}


def test_a_run_that_takes_too_long_is_not_called_good() -> None:
    found = report(built(), *RUNS, max_cycles=100)
    assert found.findings == []
    assert [item.rule for item in found.unchecked] == [rule for rule in RUNS if rule != "simulator-remarks"]
    assert "takes more than 100 cycles" in found.unchecked[0].why


def test_a_core_that_runs_too_long_ends_the_run_too() -> None:
    endless = ".align 16\n again:\n j #again\n nop*5\n"
    found = report(of(endless), *RUNS, max_cycles=5000)
    assert found.findings == []
    assert len(found.unchecked) == 3


def test_an_image_alone_is_not_run() -> None:
    assert report({"qkt.pdi": built()["qkt_tile.pdi"]}, *RUNS).unchecked == []


# what lints say of a stream, against what the simulated array does with it


def with_stream(operations: Sequence[Operation]) -> dict[str, bytes]:
    stream = InstructionStream(tuple(operations), columns=1)
    return {"qkt.pdi": built()["qkt_tile.pdi"], "insts.bin": write_instructions(stream)}


def operations_of_a_build() -> tuple[Operation, ...]:
    return read_instructions(built()["insts.bin"]).operations


def test_a_wait_that_nothing_ends_is_a_deadlock() -> None:
    operations = operations_of_a_build()
    assert names(with_stream(operations)) == set()
    assert names(with_stream([*operations, operations[-1]])) == {"wait-without-token", "simulated-run"}


def test_a_bd_that_is_written_in_use_is_seen_at_work() -> None:
    operations = operations_of_a_build()
    rewritten = [*operations[:3], operations[0], operations[1], *operations[3:]]  # Q's BD again, once it is started
    found = report(with_stream(rewritten)).findings
    assert {finding.rule for finding in found} == {"bd-rewritten-in-use", "simulator-remarks"}
    assert any("bd-rewritten-in-use: BD 0 is written while" in finding.message for finding in found)


def test_columns_in_turn_take_longer() -> None:
    """With cores that work for 28,000 cycles, four columns in turn take up to three times that longer.

    Less, since at once the last columns start later too: the controller starts one transfer after another.
    """
    work = "movxm r2, #4000\n nop*4\n .align 16\n idle:\n add r2, r2, #-1\n jnz r2, #idle\n nop*5\n"
    files = files_of(with_kernel(work + COPY, "columns4"))
    operations = read_instructions(files["insts.bin"]).operations
    waits = [operation for operation in operations if isinstance(operation, Sync)]
    starts = [operation for operation in operations if not isinstance(operation, Sync)]
    size = len(starts) // len(waits)
    in_turn = [o for n, done in enumerate(waits) for o in (*starts[n * size : (n + 1) * size], done)]
    cycles = []
    for order, expected in ((operations, set()), (in_turn, {"serial-columns"})):
        files["insts.bin"] = write_instructions(InstructionStream(tuple(order), columns=4))
        assert names(files) == expected
        runs = runs_of(read_subject(files, "build"))
        assert runs is not None
        cycles.append(runs.results[-1].cycles)
    assert 2 * 28_000 < cycles[1] - cycles[0] < 3 * 28_000
