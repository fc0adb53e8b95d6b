"""The report: its figures beside the compiler's, its advice on programs whose trouble is known, and how it reads."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from explain_cases import DATA, INT8_4X8X8, Traced, function, hardware_loop, traced
from hypothesis import given
from hypothesis import strategies as st

from xattn.bench.explain import Explanation, as_json, as_text, explain_kernel, explain_program
from xattn.bench.explain.bounds import busy_slots
from xattn.bench.explain.record import TimelineRecord
from xattn.bench.explain.report import Subject, explain
from xattn.bench.explain.sources import Sources, sources_of_symbols
from xattn.bench.explain.timeline import letters_for, timeline_text
from xattn.compiler.compile import compile_kernel
from xattn.compiler.dependence import build_graph
from xattn.compiler.interval_bounds import recurrence_bound, slot_bound
from xattn.compiler.ir import Array
from xattn.compiler.language import Kernel
from xattn.compiler.scheduled import PipelinedLoop
from xattn.kernels import products
from xattn.kernels.blocks import LEFT, RIGHT
from xattn.kernels.panels import to_column_panels, to_panels
from xattn.kernels.products import product_tiles
from xattn.kernels.registry import compiled, kernel_spec

PASSES = 200


@pytest.fixture(scope="module")
def product() -> Explanation:
    """A kernel that is one pipelined loop on the vector multiplier."""
    return explain_kernel("qkt", 32, 32)


@pytest.fixture(scope="module")
def mixed() -> Explanation:
    """A kernel with loops in loops, scalar and vector."""
    return explain_kernel("vectorized", 16, 16)


def report(seen: Traced, kind: str = "elf", sources: Sources | None = None) -> Explanation:
    return explain(seen.run, sources or Sources(), Subject("a test's", kind, "none"))


def looped(body: str, **registers: object) -> Explanation:
    return report(traced(function("main", hardware_loop(body, PASSES)), registers))


# --- the figures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["product", "mixed"])
def test_the_parts_agree_with_each_other(name: str, request: pytest.FixtureRequest) -> None:
    found: Explanation = request.getfixturevalue(name)
    assert found.exact is True
    assert found.cycles == found.bundles + found.stall_cycles
    assert found.stall_cycles == sum(stall.cycles for stall in found.stalls)
    spec = kernel_spec(found.name)
    assert found.tokens is not None and found.width is not None
    assert found.bound.macs == spec.macs(found.tokens, found.width)
    assert found.bound.fraction == pytest.approx(found.bound.macs / 256 / found.cycles)
    shares = {slot.slot: slot.share for slot in found.slots} | {port.port: port.share for port in found.ports}
    assert found.limit.share == pytest.approx(max(shares.values())) == pytest.approx(shares[found.limit.unit], rel=0.02)
    for loop in found.loops:
        assert loop.share == pytest.approx(loop.cycles / found.cycles)
        assert loop.interval + 1e-9 >= max(loop.resource_minimum, loop.recurrence_minimum or 0)
    assert found.timeline is not None
    hottest = max((loop for loop in found.loops if loop.innermost), key=lambda loop: loop.cycles)
    assert (found.timeline.loop, found.timeline.cycles) == (hottest.name, hottest.interval - hottest.stalls)
    for file in found.registers:
        assert (file.live_in_hottest_loop or 0) <= file.live <= file.named <= file.limit


@pytest.mark.parametrize("name", ["product", "mixed"])
def test_loops_are_those_that_the_compiler_scheduled(name: str, request: pytest.FixtureRequest) -> None:
    """Name, trips, interval and stages of every hardware loop, seen in the run, as in the compiler's own schedule."""
    found: Explanation = request.getfixturevalue(name)
    assert found.tokens is not None and found.width is not None
    program = compiled(found.name, found.tokens, found.width)
    by_address = {loop.address: loop for loop in found.loops}
    sections = [scheduled for scheduled in program.sections if scheduled.section.loop is not None]
    assert sections and len(sections) == sum(loop.innermost for loop in found.loops)
    for scheduled in sections:
        source = scheduled.section.loop
        assert source is not None
        loop = by_address.pop(program.emitted.labels[scheduled.section.name])
        assert (loop.name, loop.where, loop.trips) == (source.name, f"line {source.line}", source.trips)
        assert loop.interval - loop.stalls == scheduled.loop_last - scheduled.loop_first + 1
        stages = scheduled.schedule.stages if isinstance(scheduled, PipelinedLoop) else 1
        assert loop.stages == stages and (loop.fill_cycles or 0) >= (stages - 1) * loop.interval * loop.entries
        graph = build_graph(scheduled.section.operations, source)
        by_slots = slot_bound(graph).interval
        assert loop.resource_minimum == by_slots or (
            loop.resource_minimum > by_slots and loop.resource_unit not in busy_slots({})
        )
        assert loop.recurrence_minimum == recurrence_bound(graph).interval
    assert all(not loop.innermost for loop in by_address.values())


def test_multiplies_are_counted_by_what_they_compute(product: Explanation, mixed: Explanation) -> None:
    assert product.multiplies.vector_macs == 32 * 32 * 32 and product.multiplies.scalar == 0
    assert product.multiplies.by_shape == {"4x8x8": 32**3 // 256}
    assert mixed.multiplies.vector_macs == 16**3
    assert mixed.multiplies.scalar >= 16**3  # P·V, and what softmax multiplies
    elementwise = looped("vmul cm0, x0, x2, r0\nnop", x0=bytes(64), x2=bytes(64), r0=824)
    assert elementwise.multiplies.by_shape == {"elem_32": PASSES}
    assert elementwise.multiplies.vector_macs == 32 * PASSES


def test_json_holds_the_whole_report(mixed: Explanation) -> None:
    assert msgspec.json.decode(as_json(mixed), type=Explanation) == mixed


def crowded(bank: int | None) -> Callable[[Kernel], None]:
    """A product whose arrays all ask for one bank."""

    def build(k: Kernel) -> None:
        left = k.argument("left", LEFT, (2, 4, 4), bank=bank)
        right = k.argument("right", RIGHT, (2, 4, 2), bank=bank)
        product_tiles(k, left, right, k.argument("out", LEFT, (2, 2, 4, 2), bank=bank))

    return build


def explain_crowded(bank: int | None) -> Explanation:
    spec = replace(
        kernel_spec("matmul_int8"), pack=lambda a, b, _: {"left": to_panels(a), "right": to_column_panels(b)}
    )
    return explain_program(spec, compile_kernel(crowded(bank), "crowded"), 32, 32)


def test_stalls_of_a_kernel_are_put_down_to_arrays_and_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that does not know of banks puts all operands in one: the report names them, and the lines."""

    def badly_placed(arrays: Iterable[Array]) -> dict[str, int]:
        return dict(zip([array.name for array in arrays], [0x74000, 0x75000, 0x7C000], strict=True))

    monkeypatch.setattr("xattn.compiler.compile.place_arrays", badly_placed)
    found = explain_crowded(None)
    assert found.exact and found.stalls
    [lever] = [lever for lever in found.levers if lever.kind == "bank stalls"]
    assert re.search(r"put (left and right|right and left) in different banks \(bank=\)", lever.advice)
    assert lever.cycles == found.stall_cycles
    text = Path(products.__file__).read_text(encoding="utf-8").splitlines()
    for stall in found.stalls:
        assert {access.array for access in stall.accesses} <= {"left", "right"}  # the stores are in bank 3
        for access in stall.accesses:
            assert access.line and f"{access.array}[" in text[access.line - 1] and access.where == f"line {access.line}"
    assert sum(stall.cycles for stall in found.stalls) == found.stall_cycles > 0
    places = [sorted((access.where, access.array or "") for access in stall.accesses) for stall in found.stalls]
    assert all(places.count(place) == 1 for place in places)  # whatever the compiler made of the lines
    assert "of left (line " in as_text(found) and "of right (line " in as_text(found)


def test_a_bank_can_bound_a_loop() -> None:
    """The compiler keeps two accesses of one bank apart: then no stall shows it, but the loop takes longer."""
    found = explain_crowded(1)
    [loop] = found.loops
    accesses = 4 * 4 + 4 * 2 * 2 + 4 * 2  # of 32 bytes: left blocks, right ones of twice the size, and results
    assert (loop.resource_minimum, loop.resource_unit, found.stalls) == (accesses, "bank 1", [])
    spread = explain_kernel("matmul_int8", 32, 32).loops[0]
    assert (spread.resource_minimum, spread.resource_unit) == (32, "vec") and spread.cycles <= loop.cycles


# --- advice ---------------------------------------------------------------------------------------------------------

VECTORS = {**{f"x{k}": bytes(64) for k in range(6)}, **{f"cm{k}": bytes(128) for k in range(8)}, "r0": INT8_4X8X8}
MACS = [f"vmac cm{k}, cm{k}, x0, x2, r0" for k in range(8)]


def test_a_scalar_program_is_told_to_use_the_multiplier() -> None:
    found = looped("mul r1, r2, r3\nadd r4, r4, r1\nnop\nnop", r2=3, r3=5, r4=0)
    assert found.advice.startswith(f"no vector MAC is used: {PASSES} scalar multiplies do what")
    assert "aie::mmul" in found.advice and found.levers[0].kind == "vectorise"


def test_a_full_multiplier_leaves_nothing() -> None:
    found = report(traced(function("main", hardware_loop("\n".join(MACS), 1000)), VECTORS))
    assert (
        found.advice == "the vec slot is 100 % busy in loop 0xa0, the hottest: nothing left but prologue and epilogue"
    )
    assert [lever.kind for lever in found.levers] == ["none"]


def test_one_accumulator_is_a_recurrence() -> None:
    found = looped("vmac cm0, cm0, x0, x2, r0\nnop", **VECTORS)
    [loop] = found.loops
    assert loop.resource_minimum == 1 and loop.recurrence_minimum == loop.interval == 2
    assert found.levers[0].kind == "recurrence" and "break the chain" in found.advice
    assert found.levers[0].cycles == PASSES


def test_an_interval_above_both_minima_is_a_matter_of_schedule() -> None:
    found = looped("\n".join([*MACS, *["nop"] * 12]), **VECTORS)
    assert (found.loops[0].interval, found.loops[0].resource_minimum) == (20, 8)
    assert found.levers[0].kind == "schedule" and found.levers[0].cycles == 12 * PASSES
    assert "takes 20 cycles an iteration, its resources allow 8 and its recurrences 2" in found.advice


def test_another_slot_than_vec_is_named() -> None:
    moves = [f"vmov x{4 + k % 2}, x3" for k in range(8)]
    lines = ["; ".join(filter(None, pair)) for pair in itertools.zip_longest(MACS[:4], moves)]
    found = looped("\n".join(lines), **VECTORS)
    assert found.levers[0].kind == "slot" and found.levers[0].cycles == 4 * PASSES
    assert found.advice.startswith("the mv slot bounds loop 0xa0: it is busy for 8 of 8 cycles, vec for 4; shuffles")
    assert (found.limit.unit, found.loops[0].resource_unit) == ("mv", "mv")


def test_bank_stalls_name_what_met() -> None:
    loads = "vlda wl4, [p0, #0]; vldb wl5, [p1, #0]"
    found = looped("\n".join(f"{loads}; {mac}" for mac in MACS), **VECTORS, p0=DATA, p1=DATA + 64)
    assert found.levers[0].kind == "bank stalls" and found.levers[0].cycles == found.stall_cycles == 8 * PASSES
    assert "bank stalls take 4" in found.advice and "different banks: vlda wl4" in found.advice
    assert found.loops[0].stalls == 8 and found.loops[0].interval == 16
    assert len(found.stalls) == 8  # of a foreign program each place is one
    assert "1" in next(line for line in as_text(found).splitlines() if line.strip().startswith("stall "))
    one = "vlda wl4, [p0, #0]; vldb wl5, [p1, #0]"
    apart = looped(one, **VECTORS, p0=DATA, p1=DATA + 0x4000)
    assert apart.stalls == [] and "none" in as_text(apart)


def test_loops_that_are_entered_often_are_mostly_prologue() -> None:
    inner = hardware_loop("\n".join(MACS), 2)
    text = f"mova r8, #100\n.align 16\nouter:\n{inner}\nadd r8, r8, #-1\njnz r8, #outer\nnop*5"
    found = report(traced(function("main", text), VECTORS))
    assert found.levers[0].kind == "outside loops" and "run nested loops as one" in found.advice
    in_loop = 100 * 2 * len(MACS)
    assert 0.7 * found.cycles < found.levers[0].cycles < found.cycles - in_loop


def test_vector_programs_are_told_about_their_scalar_loops() -> None:
    scalar = hardware_loop("mul r5, r2, r3\nadd r4, r4, r5", 500, name="weights")
    text = hardware_loop("\n".join(MACS), 10) + scalar
    symbols = sources_of_symbols([(0, "main")])
    found = report(traced(function("main", text), {**VECTORS, "r2": 1, "r3": 1, "r4": 0}), sources=symbols)
    assert (
        found.levers[0].kind == "scalar loops" and "without a vector operation: vectorise loop main+0x" in found.advice
    )


def test_straight_code_has_neither_loops_nor_a_timeline() -> None:
    found = report(traced(function("main", "nop*20")))
    assert found.loops == [] and found.timeline is None and found.advice.startswith("nothing loops")
    assert found.cycles == 26 and found.limit.empty_share == pytest.approx(25 / 26)  # all but the return
    assert "nothing loops, so there is no steady state" in as_text(found)


# --- how it reads ---------------------------------------------------------------------------------------------------


def test_the_text_has_its_parts_in_order(mixed: Explanation) -> None:
    text = as_text(mixed)
    titles = re.findall(r"^(\d)\. (\w+)", text, re.MULTILINE)
    assert titles == [
        ("1", "Cycles"),
        ("2", "What"),
        ("3", "Loops"),
        ("4", "Stalls"),
        ("5", "Registers"),
        ("6", "Timeline"),
        ("7", "Is"),
        ("8", "Next"),
    ]
    assert "simulated" in text.splitlines()[0] and f"{mixed.cycles:,} cycles (simulated)" in text
    assert text.rstrip().endswith(mixed.advice)
    for loop in mixed.loops:
        assert f"{loop.name} ({loop.where})" in text


def test_a_wrong_kernel_is_called_so(mixed: Explanation) -> None:
    spec = kernel_spec("qkt")
    other = replace(spec, model=lambda q, k, v, shift: spec.model(q, k, v, shift) ^ 1)
    wrong = explain_program(other, compiled("qkt", 16, 16), 16, 16)
    assert wrong.exact is False and "THE OUTPUT IS WRONG" in as_text(wrong)
    assert "WRONG" not in as_text(mixed)


def picture(cycles: int, **rows: list[int]) -> TimelineRecord:
    """A timeline with operations `op` at the given cycles of each slot."""
    slots = {slot: ["op" if cycle in at else "" for cycle in range(cycles)] for slot, at in rows.items()}
    return TimelineRecord(
        loop="a test's", cycles=cycles, slots=slots, stalls=[0.0] * cycles, letters=letters_for(Counter({"op": 1}))
    )


def test_a_timeline_in_pieces() -> None:
    lines = timeline_text(picture(25, vec=[0, 10, 24]), 10, None)
    assert lines == [
        " cycle 0",
        "   vec o·········",
        "",
        " cycle 10",
        "   vec o·········",
        "",
        " cycle 20",
        "   vec ····o",
        "",
        "o op",
    ]
    assert timeline_text(picture(68, vec=[]), 64, None)[3] == " cycle 64"
    assert timeline_text(picture(40, vec=[]), 16, None)[::3][:3] == [
        " cycle 0         10",
        " cycle 16  20        30",
        " cycle 32",
    ]


def test_the_densest_stretch_is_shown_of_a_long_one() -> None:
    lines = timeline_text(picture(100, vec=[3, 50, 51, 60], mv=[52]), 20, 12)
    assert lines == [
        " cycle  50        60",
        "   vec ·oo········o",
        "    mv ···o········",
        "",
        "cycles 49 to 60 of 100, the densest; --timeline all shows all",
        "o op",
    ]
    whole = timeline_text(picture(100, vec=[3], mv=[52]), 50, None)
    assert sum(line.count("·") + line.count("o") for line in whole if line[:6].strip() in ("vec", "mv")) == 200


@given(st.sets(st.text("vaddrmulstx.0123", min_size=1, max_size=9), max_size=40))
def test_every_mnemonic_has_a_letter_of_its_own(names: set[str]) -> None:
    letters = letters_for(Counter(dict.fromkeys(names, 1)))
    assert letters.keys() == names and len(set(letters.values())) == len(names)
    assert all(len(letter) == 1 and letter not in "·| " for letter in letters.values())
