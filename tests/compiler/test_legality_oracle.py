"""Random programs: the checker finds what an independent replay of every path finds, no more and no less."""

from collections import Counter

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from legality_oracle import Layout, judge, through
from legality_programs import ALL_REGISTERS

from xattn.compiler.legality import check_program
from xattn.isa import timing
from xattn.isa.codec import Instruction, decode_slot
from xattn.isa.model import CountOf, Immediate, Opcode, Operand, Register, RegisterClass
from xattn.isa.table import instruction_table

KEPT_OUT = {"LS", "LE", "LC", "lr", "r3", "r4"}  # loops, calls and the conditions of branches
LANDED = 16  # bundles after which nothing is under way


def _is_plain(opcode: Opcode) -> bool:
    return not (opcode.is_nop or opcode.is_branch or opcode.name == "DONE" or "lock" in opcode.flags)


OPCODES = [opcode for opcode in instruction_table().opcodes.values() if _is_plain(opcode)]
# operations with long or overlapping reaches, drawn more often
COMMON = [
    o for o in OPCODES if timing.itinerary_of(Instruction(o, (0,) * len(o.operands))).memory_cycles or o.slot == "vec"
]


class Group(tuple[Instruction, ...]):
    """The operations of one bundle, printed as text."""

    def __repr__(self) -> str:
        return f"<{'; '.join(' '.join([i.opcode.name, *map(str, i.values)]) for i in self)}>"


@st.composite
def single(draw: st.DrawFn) -> Group:
    """One operation."""
    opcode = draw(st.sampled_from(OPCODES) | st.sampled_from(COMMON))
    named = {o.name: draw(_values(o)) for o in opcode.operands if o.tied_to is None and not _follows(o)}
    made = Instruction.of(opcode, **named)
    assume(decode_slot(opcode.slot, made.word) == made)  # some words of vpack.d4.d8 mean vmov
    return Group([made])


def _follows(operand: Operand) -> bool:
    return isinstance(operand.type, (Register, CountOf))


def _values(operand: Operand) -> st.SearchStrategy[Register | int]:
    kind = operand.type
    if isinstance(kind, Immediate):
        return st.just(kind.maximum if kind.maximum < 0 else 0)
    assert isinstance(kind, RegisterClass)
    usable = [r for r in kind.registers if not {leaf.name for leaf in r.storage} & KEPT_OUT]
    if operand.name == "c":  # a configuration word that nothing makes a constant
        return st.just(usable[-1])
    by_file: dict[str, list[Register]] = {}
    for register in usable:
        by_file.setdefault(register.file, []).append(register)
    few = [r for rs in by_file.values() for r in rs[:2]]  # few registers, so that they meet
    return st.sampled_from([r for r in few if r.name != "r31"])


@st.composite
def groups(draw: st.DrawFn) -> Group:
    """The operations of one bundle: none, one or several."""
    chosen: dict[str, Instruction] = {}
    for (one,) in draw(st.lists(single(), max_size=draw(st.sampled_from([0, 1, 1, 3])))):
        taken = set(chosen) | ({"alu", "mv"} if "lng" in chosen else set())
        clash = one.opcode.slot in taken or (one.opcode.slot == "lng" and taken & {"alu", "mv"})
        if not clash:
            chosen[one.opcode.slot] = one
    return Group(chosen.values())


def some(least: int, most: int) -> st.SearchStrategy[list[Group]]:
    return st.lists(groups(), min_size=least, max_size=most)


DEFINED = {"everything": ALL_REGISTERS, "little": frozenset({"r3", "r4", "lr", "SP", "p0", "r0", "s0", "r31"})}
defined_sets = st.sampled_from(list(DEFINED))
few_examples = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


def agree(layout: Layout, paths: list[list[int]], defined: str, *, strict: bool, returns: bool) -> None:
    known = DEFINED[defined]
    violations = check_program(layout.code, defined_at_entry=known, allow_in_flight_reads=not strict)
    expected = judge(layout.bundles, paths, {*known, "CORE_ID", "tile_cntr"}, strict=strict, returns=returns)
    assert {(v.rule, v.address) for v in violations} == expected, "\n".join(map(str, violations))


@few_examples
@given(some(1, 25), defined_sets, st.booleans(), st.booleans())
def test_straight_line_programs(body: list[Group], defined: str, strict: bool, returns: bool) -> None:
    layout = Layout()
    paths = through(layout.straight(body), layout.end(returns=returns))
    agree(layout, paths, defined, strict=strict, returns=returns)


@few_examples
@given(some(0, 6), some(5, 5), some(1, 6), some(5, 5), some(1, 9), some(0, 8), defined_sets, st.booleans())
def test_branches(
    before: list[Group],
    slots: list[Group],
    then: list[Group],
    behind: list[Group],
    other: list[Group],
    after: list[Group],
    defined: str,
    strict: bool,
) -> None:
    layout = Layout()
    pieces = [layout.straight(before), layout.diamond(slots, then, behind, other), layout.straight(after)]
    agree(layout, through(*pieces, layout.end(returns=True)), defined, strict=strict, returns=True)


@few_examples
@given(some(0, 6), some(1, 12), some(0, 8), defined_sets, st.booleans())
def test_hardware_loops(before: list[Group], body: list[Group], after: list[Group], defined: str, strict: bool) -> None:
    body = [group for group in body if not any(i.opcode.memory and i.opcode.memory.kind == "rmw_store" for i in group)]
    layout, inside = Layout(), Layout()
    ways = inside.straight(body or [()])
    rounds = 2 + LANDED // len(inside.bundles)
    pieces = [layout.straight(before), layout.hardware_loop(inside, ways, range(1, rounds + 1)), layout.straight(after)]
    agree(layout, through(*pieces, layout.end(returns=False)), defined, strict=strict, returns=False)


@few_examples
@given(some(0, 4), some(5, 5), some(1, 3), some(5, 5), some(1, 4), some(0, 5), defined_sets, st.booleans())
def test_branches_in_loops(
    before: list[Group],
    slots: list[Group],
    then: list[Group],
    behind: list[Group],
    other: list[Group],
    after: list[Group],
    defined: str,
    strict: bool,
) -> None:
    layout, inside = Layout(), Layout()
    start = len(before) + 10  # where the loop will stand: its branches have absolute targets
    inside.straight([()] * start)
    ways = through(inside.diamond(slots, then, behind, other), inside.straight([()]))
    inside.bundles, ways = inside.bundles[start:], [[index - start for index in way] for way in ways]
    pieces = [layout.straight(before), layout.hardware_loop(inside, ways, (1, 2, 3)), layout.straight(after)]
    agree(layout, through(*pieces, layout.end(returns=False)), defined, strict=strict, returns=False)


@few_examples
@given(st.lists(single(), min_size=1, max_size=8))
def test_programs_with_time_to_land_are_legal(body: list[Group]) -> None:
    layout = Layout()
    for one in body:
        layout.straight([one, *[()] * LANDED])
    layout.end(returns=True)
    assert check_program(layout.code, defined_at_entry=ALL_REGISTERS) == []


@few_examples
@given(single(), single(), st.integers(1, 9))
def test_two_operations_need_exactly_the_predicted_distance(first: Group, second: Group, apart: int) -> None:
    """The distance rules of isa.timing, one pair at a time."""
    layout = Layout()
    layout.straight([first, *[()] * (apart - 1), second, *[()] * LANDED])
    layout.end(returns=False)
    broken = {v.rule for v in check_program(layout.code, defined_at_entry=ALL_REGISTERS)}
    one, two = timing.timing_of(first[0]), timing.timing_of(second[0])
    flows = [timing.distance(w, r) for w in one.writes for r in two.reads if timing.overlapping(w.register, r.register)]
    assert ("in-flight-read" in broken) == (apart < max(flows, default=0))
    busy = {(port, cycle, required) for port, cycle, required in timing.port_cycles(one)}
    clash = any(
        (port, cycle + apart, other) in busy and (required or other)
        for port, cycle, required in timing.port_cycles(two)
        for other in (True, False)
    )
    assert ("port" in broken) == clash


def test_the_random_programs_break_every_rule() -> None:
    """A generator that never broke a rule would prove nothing."""
    broken: Counter[str] = Counter()

    @settings(few_examples, max_examples=300, derandomize=True, database=None)
    @given(some(10, 25))
    def look(body: list[Group]) -> None:
        layout = Layout()
        paths = through(layout.straight(body), layout.end(returns=True))
        broken.update({r for r, _ in judge(layout.bundles, paths, DEFINED["little"], strict=True, returns=True)})

    look()
    rules = {"in-flight-read", "port", "undefined-read", "overtaken-write", "same-cycle-write", "exit-in-flight"}
    assert broken.keys() == rules and min(broken.values()) >= 10, broken
