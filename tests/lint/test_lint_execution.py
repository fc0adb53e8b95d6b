"""Lints that run the files: outputs that do not depend on the input, or that depend on more; runs that fail."""

from __future__ import annotations

from lint_cases import built, files_of, names, report, with_kernel

from xattn.array.instructions import InstructionStream, read_instructions, write_instructions

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
