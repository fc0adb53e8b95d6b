"""Lints of core programs: stack use along calls, and part-word stores at loop ends."""

from __future__ import annotations

import pytest
from lint_cases import built, files_of, names, report, with_kernel

from xattn.isa import assemble_program
from xattn.isa.elf_writer import write_object
from xattn.lint.stack_use import StackUse, stack_use
from xattn.sim.core import Core
from xattn.sim.program import Program

STACK_RULES = ("stack-overlaps-buffer", "stack-larger-than-reserved", "stack-size-unknown")


def use(text: str) -> StackUse:
    program = Program()
    program.load(assemble_program(text).code, 0)
    return stack_use(program, 0)


def call(name: str) -> str:
    return f".align 16\n jl #{name}\n nop*5\n .align 16\n"


def function(name: str, frame: int, *calls: str) -> str:
    body = "".join(map(call, calls))
    return f".align 16\n{name}:\n paddb [sp], #{frame}\n{body} paddb [sp], #{-frame}\n ret lr\n nop*5\n"


def test_frames_add_up_along_the_deepest_calls() -> None:
    text = f" movxm sp, #0x70000\n{call('a')} done\n nop*5\n"
    text += function("a", 64, "b", "c") + function("b", 1024) + function("c", 96, "d") + function("d", 32)
    found = use(text)
    assert (found.start, found.bytes, found.doubts) == (0x70000, 64 + 1024, ())
    assert [size for _, size in found.path] == [0, 64, 1024]


def test_a_core_takes_as_much_as_was_counted() -> None:
    """Against the simulated core, which does the calls: the highest stack pointer of a run."""
    text = f" movxm sp, #0x70000\n{call('a')} done\n nop*5\n.align 16\na:\n mov r16, lr\n paddb [sp], #64\n"
    text += call("b") + call("c") + " paddb [sp], #-64\n mov lr, r16\n nop\n ret lr\n nop*5\n"
    text += function("b", 1024) + function("c", 96)
    highest = 0

    def watch(*_: object) -> None:
        nonlocal highest
        pointer = core.registers["SP"]
        highest = max(highest, pointer if isinstance(pointer, int) else 0)

    core = Core(trace=watch)
    core.load(assemble_program(text).code)
    assert core.run(0, max_cycles=1000).stopped
    assert highest - 0x70000 == use(text).bytes == 64 + 1024


def test_a_frame_that_is_opened_in_a_delay_slot_counts_for_the_call() -> None:
    text = " movxm sp, #0x70000\n.align 16\n jl #a\n nop*4\n paddb [sp], #128\n .align 16\n done\n nop*5\n"
    assert use(text + function("a", 32)).bytes == 160


def test_both_ways_of_a_branch_are_followed() -> None:
    text = f"""
        movxm sp, #0x70000
        jnz r0, #far
        nop*5
        {call("small")}
        done
        nop*5
        .align 16
        far:
        {call("large")}
        done
        nop*5
    """
    assert use(text + function("small", 32) + function("large", 4096)).bytes == 4096


def test_accesses_above_the_pointer_count() -> None:
    assert use(" movxm sp, #0x70000\n st r0, [sp, #60]\n done\n nop*5\n").bytes == 64


def test_without_a_start_the_use_is_relative() -> None:
    assert use(function("f", 96)) == StackUse(None, 96, ((0, 96),), ())


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        (f"{call('a')} done\n nop*5\n" + function("a", 32, "b") + function("b", 32, "a"), "itself"),
        (" .align 16\n jl p0\n nop*5\n .align 16\n done\n nop*5\n", "goes where a register points"),
        (" mov sp, p0\n done\n nop*5\n", "puts a register into the stack pointer"),
        (" jnz r0, #l\n nop*5\n paddb [sp], #32\n .align 16\n l:\n done\n nop*5\n", "on the way there"),
        (" j #0x3000\n nop*5\n", "is no code"),
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_said(text: str, doubt: str) -> None:
    (found,) = use(text).doubts
    assert doubt in found


def test_a_frame_over_a_buffer() -> None:
    images = with_kernel("paddb [sp], #20480\n nop\n paddb [sp], #-20480\n")
    image, program = ({name: files_of(images)[name]} for name in ("qkt.pdi", "core_0_2.elf"))
    (finding,) = report(image).findings
    assert (finding.rule, finding.where) == ("stack-overlaps-buffer", "qkt.pdi, core (0, 2)")
    assert "0x70000 to 0x74fff (20,480 bytes: 0x" in finding.message
    assert names(program) == set(), "an executable of ours alone does not say where its buffers are"
    both = report({**image, **program}).findings
    assert "20,480 bytes: qkt 20,480)" in both[0].message, "the executable has the names"


def test_a_frame_larger_than_is_kept_but_over_nothing() -> None:
    images = with_kernel("paddb [sp], #1056\n nop\n paddb [sp], #-1056\n")
    files = {**built(), "core_0_2.elf": images.cores[0]}
    del files["qkt_tile.pdi"], files["qkt_tile.xclbin"]
    (finding,) = report(files, *STACK_RULES).findings
    assert finding.rule == "stack-larger-than-reserved"
    assert "takes 1,056 bytes (qkt 1,056), and the manifest keeps 1,024" in finding.message
    fits = with_kernel("paddb [sp], #1024\n nop\n paddb [sp], #-1024\n").cores[0]
    assert names({**files, "core_0_2.elf": fits}, *STACK_RULES) == set()


def test_an_object_that_needs_more_than_the_design_gives() -> None:
    """As in the seed: 8 KB of local arrays, and no stack_size."""
    text = ".func qkt\n paddb [sp], #4096\n paddb [sp], #4064\n jl #helper\n nop*5\n .align 16\n paddb [sp], #-4096\n"
    text = f".extern helper\n{text} paddb [sp], #-4064\n ret lr\n nop*5\n"
    qkt = write_object(assemble_program(text))
    mlir = built()["qkt_tile.mlir"]
    (finding,) = report({"qkt.o": qkt, "d.mlir": mlir}).findings
    assert finding.rule == "stack-larger-than-reserved"
    assert "qkt takes at least 8,160 bytes of stack, and the core says stack_size 1,024" in finding.message
    silent = mlir.replace(b"stack_size = 1024 : i32", b"")
    (finding,) = report({"qkt.o": qkt, "d.mlir": silent}).findings
    assert "says nothing and gets stack_size 1,024: add {stack_size = 8192 : i32}" in finding.message
    enough = mlir.replace(b"stack_size = 1024", b"stack_size = 8192")
    assert names({"qkt.o": qkt, "d.mlir": enough}) == set()


def test_recursion_in_a_program() -> None:
    image = with_kernel("paddb [sp], #32\n .align 16\n jl #qkt\n nop*5\n .align 16\n paddb [sp], #-32\n")
    (finding,) = report({"core_0_2.elf": image.cores[0]}).findings
    assert finding.rule == "stack-size-unknown"
    assert "calls itself, directly or through others" in finding.message


LOOP = """
    movxm ls, #first
    movxm le, #last
    mova lc, #8
    nop*64
    .align 16
    first:
    nopb; {first}; nops; nopx; nopm; nopv
    .align 16
    last:
    nopb; {last}; nops; nopx; nopm; nopv
    nop*16
"""
STORE = "st.s8 r0, [p2, #0]"


@pytest.mark.parametrize("store", [STORE, "st.s16 r0, [p2, #0]"])
def test_a_part_word_store_in_the_last_bundle_of_a_loop(store: str) -> None:
    images = with_kernel(LOOP.format(first="nopa", last=store))
    (finding,) = report({"qkt.pdi": images.pdi}).findings
    assert finding.rule == "part-word-store-at-loop-end"
    assert finding.message.startswith(store.split()[0])
    (finding,) = report({"qkt.o": images.object}).findings
    assert finding.where.startswith("qkt.o, 0x")
    assert f"{store.split()[0]} in qkt stands in the last bundle" in finding.message


def test_stores_elsewhere_in_a_loop_are_good() -> None:
    assert names({"qkt.pdi": with_kernel(LOOP.format(first=STORE, last="nopa")).pdi}) == set()
    assert names({"qkt.pdi": with_kernel(LOOP.format(first="nopa", last="lda r1, [p0, #0]")).pdi}) == set()
