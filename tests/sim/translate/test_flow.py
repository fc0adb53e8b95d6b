"""Control flow on both engines: random programs of loops, calls and branches, with everything in flight across them."""

from __future__ import annotations

import pytest
from engines import FIELDS, assert_equal, state_of, twin_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import DATA, core_for

from xattn.sim.core import Core, Result, grant
from xattn.sim.findings import SimulationError
from xattn.sim.memory import Region

pytest.importorskip("llvmlite", reason="NOT CHECKED: the translator needs llvmlite (pip install 'xattn[jit]')")

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
    "r8": 776,
    "r16": 3,
    "s0": 2,
    "p0": DATA + 256,
    "p1": DATA + 0x4100,
    "p2": DATA + 0x200,
    "p3": DATA + 0x8000,
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


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_random_flow(text: str) -> None:
    both(text, severity={"undefined-register": "ignore"})


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_much_random_flow(text: str) -> None:
    both(text, severity={"undefined-register": "ignore"})


def test_returns_go_where_their_calls_were() -> None:
    calls = "\n".join("jl #twice\nnop*4\nadd r0, r0, #1" for _ in range(4))
    twin, _ = both(f"""
        {calls}
        j #end
        nop*5
        .align 16
        twice:
        mov r20, lr
        jl #once
        nop*5
        jl #once
        nop*5
        nop*3
        movxm p5, #0
        mov p5, r20
        nop*2
        j p5
        nop*5
        .align 16
        once:
        add r1, r1, #1
        ret lr
        nop*5
        .align 16
        end:
    """)
    assert twin.registers["r1"] == REGISTERS["r1"] + 16


def test_calls_and_returns_are_matched_beforehand() -> None:
    """Nothing has to be learned from a run, whose work would be done twice."""
    calls = "\n".join("jl #once\nnop*5" for _ in range(3))
    twin, _ = both(f"{calls}\nj #end\nnop*5\n.align 16\nonce:\nadd r1, r1, #1\nret lr\nnop*5\n.align 16\nend:")
    assert not twin.translator._jumps and twin.registers["r1"] == REGISTERS["r1"] + 6


def test_computed_jumps_are_learned() -> None:
    """A jump table in memory: nothing says beforehand where the jumps go."""
    text = """
        movxm p4, #table
        mova r20, #5
        .align 16
        again:
        lda p5, [p0], #4
        nop*7
        j p5
        nop*5
        .align 16
        one:
        add r1, r1, #1
        j #on
        nop*5
        .align 16
        two:
        add r2, r2, #2
        .align 16
        on:
        add r20, r20, #-1
        jnz r20, #again
        nop*5
        j #end
        nop*5
        .align 16
        table:
        nop
        .align 16
        end:
    """
    core, symbols = core_for(text, REGISTERS)
    places = [symbols[name] for name in ("one", "two", "two", "one", "two")]
    core.registers["p0"] = DATA
    core.write_memory(DATA, b"".join(place.to_bytes(4, "little") for place in places))
    twin = twin_of(core)
    result, translated = core.run(0), twin.run(0, engine="translator")
    assert translated.engine == "translator" and translated.cycles == result.cycles
    assert_equal(state_of(core), state_of(twin))
    assert twin.registers["r2"] == REGISTERS["r2"] + 6


def test_a_loop_end_that_is_computed() -> None:
    twin, _ = both("""
        movxm r21, #last
        movxm ls, #first
        mov le, r21
        lda r21, [p0, #0]
        mova lc, #3
        nop*10
        .align 16
        first:
        add r5, r5, #1
        .align 16
        last:
        add r6, r6, #1; nopa; nopb; nops; nopm; nopv
    """)
    assert twin.registers["r5"] == REGISTERS["r5"] + 6  # both() runs it twice


def test_counter_events_and_locks() -> None:
    text = "nop*3\nmov l0, cntr\nevent #2\nacq #3, r1\nevent #1\nrel #3, r1\nmov l1, cntr"
    twin, result = both(text, lock=grant)
    assert result.lock_stalls == 2 and len(twin.events) == 4


def test_modes_that_only_the_run_knows() -> None:
    both("""
        mova r16, #0
        mova r17, #40
        .align 16
        again:
        vshift x1, x0, x1, r16
        vshuffle x0, x0, x1, r16
        vmac cm0, cm1, x0, x1, r8
        add r16, r16, #1
        add r17, r17, #-1
        jnz r17, #again
        nop*5
    """)


def _outcome(core: Core, engine: str, options: dict) -> str:
    try:
        result = core.run(0, engine=engine, **options)
    except SimulationError as error:
        return str(error)
    assert result.engine == "interpreter"
    return f"{result.cycles} {[str(f) for f in result.findings]}"


# what the translator leaves to the interpreter: the outcome is the interpreter's, whatever it is


def same_end(text: str, memory=None, **options) -> tuple[Core, str]:
    """Run a program that the translator gives up; both engines must say the same and leave the same behind."""
    run = {name: options.pop(name) for name in ("max_cycles",) if name in options}
    core, _ = core_for(text, REGISTERS, {DATA: bytes(65536), **(memory or {})}, **options)
    twin = twin_of(core)
    said = [_outcome(each, engine, run) for each, engine in ((core, "interpreter"), (twin, "translator"))]
    assert said[0] == said[1]
    assert_equal(state_of(core), state_of(twin))
    return twin, twin.translator.why_not


WALK = """
    mova r20, #100
    .align 16
    again:
    st r20, [p0], #4
    add r20, r20, #-1
    jnz r20, #again
    nop*5
"""


@pytest.mark.parametrize(
    "setup",
    [
        "movxm p0, #0x6ff00",  # below memory
        "movxm p0, #0x7ff00",  # runs out at the end
        "movxm p0, #0x70001",  # misaligned
        "movxm p0, #0xfffff",
    ],
)
@pytest.mark.parametrize("severity", ["error", "warning"])
def test_accesses_that_are_not_plain(setup: str, severity: str) -> None:
    levels = dict.fromkeys(("misaligned", "out-of-region"), severity)
    _, why = same_end(f"{setup}\nnop*4\n{WALK}", severity=levels)
    assert "gave up" in why


def test_more_cycles_than_allowed() -> None:
    for limit in (1, 50, 150, 400):
        _, why = same_end(WALK, max_cycles=limit)
        assert why == "too many bundles"
    _, why = same_end("here:\nj #here\nnop*5", max_cycles=1000)
    assert why == "too many bundles"


def test_a_limit_that_is_just_enough() -> None:
    core, _ = core_for(WALK, REGISTERS, {DATA: bytes(65536)})
    bundles = twin_of(core).run(0).bundles
    assert twin_of(core).run(0, engine="translator", max_cycles=bundles).engine == "translator"
    with pytest.raises(SimulationError, match="still running"):
        twin_of(core).run(0, engine="translator", max_cycles=bundles - 1)


def test_leaving_the_code() -> None:
    _, why = same_end("movxm p5, #0x2000\nnop*4\nj p5\nnop*5")
    assert "gave up" in why
    same_end("movxm p5, #0x2000\nlda p5, [p0, #0]\nnop*7\nj p5\nnop*5", {REGISTERS["p0"]: b"\x00\x20\x00\x00"})


def test_locks_that_are_not_granted_at_once() -> None:
    _, why = same_end("acq #3, r1")
    assert "gave up" in why
    waits: list[int] = []

    def lock(*asked: int) -> int:
        waits.append(asked[1])
        return 5

    core, _ = core_for("acq #3, r1\nadd r0, r0, #1", REGISTERS, lock=lock)
    result = core.run(0, engine="translator")
    assert (result.engine, result.lock_stalls, waits) == ("interpreter", 6, [3])


def test_an_undefined_mode() -> None:
    for setup in ("mova r16, #50", "lda r16, [p0, #0]"):
        place = {REGISTERS["p0"]: (50).to_bytes(4, "little")}
        _, why = same_end(f"{setup}\nnop*8\nvshuffle x0, x0, x1, r16", place)
        assert "gave up" in why


def test_traced_runs_and_running_loops_stay_with_the_interpreter() -> None:
    seen: list[int] = []
    core, _ = core_for("nop*3", REGISTERS, trace=lambda *what: seen.append(what[1]))
    assert core.run(0, engine="translator").engine == "interpreter" and len(seen) == 20
    core, _ = core_for("nop*3", {**REGISTERS, "LC": 2, "LE": 0x2000})
    assert core.run(0, engine="translator").engine == "interpreter"


def test_several_memories() -> None:
    regions = [Region("west", 0x50000, 0x10000), Region("own", 0x70000, 0x8000), Region("odd", 0x78100, 0x100)]
    text = "lda r1, [p0, #0]\nst r2, [p1, #0]\nlda r3, [p2, #0]"
    for place, engine in (
        (0x78100, "translator"),
        (0x781FC, "translator"),
        (0x78200, "interpreter"),
        (0x7FFC, "interpreter"),
    ):
        registers = {**REGISTERS, "p0": 0x50000, "p1": 0x77FFC, "p2": place}
        core, _ = core_for(text, registers, memory_regions=regions, severity={"out-of-region": "warning"})
        twin = twin_of(core)
        result, other = core.run(0), twin.run(0, engine="translator")
        assert (other.engine, other.cycles) == (engine, result.cycles), hex(place)
        assert_equal(state_of(core), state_of(twin))


KINDS = {
    "a": ("vlda wl3, [{p}, #0]", "lda r3, [{p}, #0]", "vlda.128 wl3, [{p}]"),
    "b": ("vldb wl2, [{p}, #0]", "vldb.128 wl2, [{p}, dj0]"),
    "st": ("vst wl1, [{p}, #0]", "st r2, [{p}, #0]", "vst.srs.s8.s32 cm0, s0, [{p}, #0]"),
}
PLACES = [DATA + bank * 0x4000 + offset for bank in (0, 1) for offset in (0, 32, 64)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(*(st.tuples(st.sampled_from(k), st.sampled_from(PLACES)) for k in KINDS.values())), max_size=6)
)
def test_accesses_that_meet_at_banks(bundles: list) -> None:
    """Up to four accesses want their banks in one cycle: stores that come late meet those of later bundles."""
    lines, registers = [], {**REGISTERS, "dj0": 0}
    half = {"lda": 4, "st": 4, "vlda.128": 16, "vldb.128": 16}
    for bundle in bundles:
        texts = []
        for pointer, (text, place) in zip(("p4", "p5", "p6"), bundle, strict=True):
            shift = 16 if half.get(text.split()[0]) and place & 32 else 0  # the other half of the bank
            lines.append(f"movxm {pointer}, #{place + shift}")
            texts.append(text.format(p=pointer))
        lines += ["nop*2", "; ".join(texts), "nop", "; ".join(texts)]
    both("\n".join(lines), registers, times=1, severity={"undefined-register": "ignore"})
