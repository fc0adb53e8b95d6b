"""Control flow on both engines: random programs of loops, calls and branches, with everything in flight across them."""

from __future__ import annotations

import pytest
from engines import assert_equal, state_of, twin_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import DATA, core_for

from xattn.sim.core import Core, Result, grant
from xattn.sim.findings import SimulationError

pytest.importorskip("llvmlite", reason="NOT CHECKED: the translator needs llvmlite (pip install 'xattn[jit]')")

FIELDS = ("cycles", "bundles", "bank_stalls", "lock_stalls", "value", "stopped")
# latencies of one to nine cycles, reads in later ones, bypasses; registers that meet
OPERATIONS = [
    "add r0, r1, r2",
    "sub r1, r1, r3",
    "mul r2, r0, r1",
    "mul r3, r2, r2",
    "adc r4, r0, r3",
    "lda r1, [p0], #4",
    "lda r2, [p1, #16]",
    "lda.s8 r3, [p0, #1]",
    "st r0, [p1, #32]",
    "st.s8 r2, [p1, #3]",
    "st.s16 r1, [p1, #2]",
    "mov.d5 r0, r3",
    "mova r1, #77",
    "movx r2, #-3",
    "padda [p0], #4",
    "paddb [p1], #-4",
    "vlda wl0, [p2, #0]",
    "vldb wh0, [p2, #32]",
    "vlda amll0, [p2, #64]",
    "vmac cm0, cm1, x0, x1, r8",
    "vmul cm1, x0, x1, r8",
    "vadd.8 x1, x0, x1",
    "vmov x1, x0",
    "vst wl1, [p3, #0]",
    "vst.srs.s8.s32 cm0, s0, [p3, #32]",
    "vsrs.s16.s32 x0, cm0, s0",
    "vups.s32.s8 cm1, wl1, s0",
    "vbcst.8 x0, r0",
    "vextract.s16 r3, x0, r16",
    "nop",
]
REGISTERS = {
    **{f"r{k}": 3 * k + 1 for k in range(16)},
    **{"r8": 776, "r16": 3, "s0": 2, "p0": DATA + 256, "p1": DATA + 0x4100, "p2": DATA + 0x200, "p3": DATA + 0x8000},
    **{f"r{k}": 0 for k in range(20, 24)},
    **{name: bytes(range(64)) for name in ("x0", "x1")},
    **{name: bytes(range(128)) for name in ("cm0", "cm1")},
}
FILL = "; nopa; nopb; nops; nopm; nopv"

some = st.lists(st.sampled_from(OPERATIONS), min_size=0, max_size=6)
five = st.lists(st.sampled_from(OPERATIONS), min_size=5, max_size=5)


class Text:
    """A program as it grows: labels are numbered, functions collected behind it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.labels = 0
        self.functions = 0

    def label(self) -> str:
        self.labels += 1
        return f"label{self.labels}"


@st.composite
def programs(draw: st.DrawFn) -> str:
    text = Text()
    functions = draw(st.lists(st.tuples(some, five), max_size=2))
    _piece(draw, text, depth=0, functions=len(functions))
    text.lines += ["j #end", *draw(five)]
    for k, (body, slots) in enumerate(functions):
        text.lines += [".align 16", f"function{k}:", *body, "ret lr", *slots]
    return "\n".join([*text.lines, ".align 16", "end:"])


def _piece(draw: st.DrawFn, text: Text, depth: int, functions: int) -> None:
    kinds = ["straight", "skip", "hardware"] + ["loop"] * (depth < 2) + ["call"] * (functions > 0)
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
        if kind == "straight":
            text.lines += draw(some)
        elif kind == "skip":
            label, how = text.label(), draw(st.sampled_from(["jz r0", "jnz r1", "jz r2"]))
            text.lines += [f"{how}, #{label}", *draw(five), *draw(some), ".align 16", f"{label}:"]
        elif kind == "call":
            text.lines += [f"jl #function{draw(st.integers(0, functions - 1))}", *draw(five)]
        elif kind == "loop":
            label, count = text.label(), f"r{20 + depth}"
            text.lines += [f"mova {count}, #{draw(st.integers(1, 5))}", "nop*6", ".align 16", f"{label}:"]
            _piece(draw, text, depth + 1, functions)
            text.lines += [f"add {count}, {count}, #-1", f"jnz {count}, #{label}", *draw(five)]
        else:
            first, last = text.label(), text.label()
            text.lines += [f"movxm ls, #{first}", f"movxm le, #{last}", f"mova lc, #{draw(st.integers(1, 6))}"]
            text.lines += ["nop*8", ".align 16", f"{first}:", *draw(some), ".align 16", f"{last}:"]
            text.lines.append(draw(st.sampled_from(["add r5, r5, #1", "mul r6, r0, r1"])) + FILL)


def both(text: str, registers=None, times: int = 2, **options) -> tuple[Core, Result]:
    """Run a program on both engines, and compare all that it did. The translator's core and its last result."""
    core, _ = core_for(text, registers or REGISTERS, {DATA: bytes(range(256)) * 256}, **options)
    twin = twin_of(core)
    for _ in range(times):
        result, translated = core.run(0), twin.run(0, engine="translator")
        assert translated.engine == "translator", twin.translator.why_not
        assert [getattr(result, f) for f in FIELDS] == [getattr(translated, f) for f in FIELDS]
        assert_equal(state_of(core), state_of(twin))
    return twin, translated


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_random_flow(text: str) -> None:
    both(text, severity={"undefined-register": "ignore"})
