"""Random legal schedules give what their operations give one after another.

The model is sequential and knows no pipeline: every operation is evaluated by the plain evaluator of the meanings'
tests, on registers and memory as the one before left them. The same operations are then packed as tightly as the
distances of `xattn.isa.timing`, the ports and the bundle formats allow, and run on the simulator as machine code.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import DATA
from sequential import STORAGE, Machine, registers_of

from xattn.isa import assemble
from xattn.isa.codec import Bundle, Instruction, formats_holding
from xattn.isa.model import CountOf, Immediate, Register
from xattn.isa.syntax import text_of
from xattn.isa.table import instruction_table
from xattn.isa.timing import anti_distance, distance, output_distance, overlapping, port_cycles, timing_of
from xattn.sim.core import Core

TABLE = instruction_table()
MEMORY_BYTES = 256
OPCODES = [
    "ADD",
    "ADC",
    "SUB",
    "SBC",
    "ADD_add_r_ri",
    "MUL_mul_r_rr",
    "ABS",
    "CLB",
    "LSHL",
    "ASHL",
    "SELNEZ",
    "DIVS",
    "LT",
    "GEU",
    "EXTENDs8",
    "XOR",
    "MOVA_lda_cg",
    "MOVX_alu_cg",
    "MOV_mv_cg",
    "MOV_mv_scl",
    "ADD_NC",
    "MOV_D1",
    "MOV_D4",
    "MOV_D6",
    "MOVXM_lng_cg",
    "LDA_dms_lda_idx_imm",
    "LDA_S8_ag_idx_imm",
    "LDA_U16_ag_idx_imm",
    "ST_dms_sts_idx_imm",
    "ST_S8_ag_idx_imm",
    "ST_S16_ag_idx_imm",
    "VLDA_dmw_lda_w_ag_idx_imm",
    "VLDB_dmw_ldb_ag_idx_imm",
    "VLDA_dmw_lda_am_ag_idx_imm",
    "VLDA_UPS_S32_S8_ag_idx_imm",
    "VST_dmw_sts_w_ag_idx_imm",
    "VST_dmw_sts_am_ag_idx_imm",
    "VST_SRS_S8_S32_ag_idx_imm",
    "VST_PACK_S8_S16_ag_idx_imm",
    "VADD_8",
    "VSUB_16",
    "VSEL_8",
    "VMAX_LT_S8",
    "VSHIFT",
    "VSHUFFLE",
    "VBCST_8",
    "VEXTRACT_S16",
    "VPUSH_LO_32",
    "VMOV_mv_x",
    "VMOV_mv_w",
    "VMOV_mv_cm",
    "VUPS_S32_S8_mv_ups_w2c",
    "VSRS_S16_S32_mv_x_srs",
    "VSRSM_S16_S32",
    "VPACK_S8_S16",
    "VUNPACK_S16_S8",
    "VMAC_vmac_cm_core_dense",
    "VMUL_vmac_cm_core_dense",
    "VMSC_vmac_cm_core_dense",
    "VADD",
    "VCLR_vclr",
]

# Few registers, so that operations meet. r8 holds a configuration word, r9 a shuffle mode, r10 a shift, p0 the memory.
FILES = {
    **{f"r{k}": "any" for k in (*range(4), 16, 17, 18, 27, 31)},
    **dict.fromkeys(("l0", "m0", "dj1", "lr", "srCarry", "crSRSSign"), "any"),
    **{f"x{k}": "any" for k in (0, 1, 4)},
    **{f"{half}{k}": "any" for half in ("wl", "wh") for k in (0, 1, 4)},
    **{f"cm{k}": "any" for k in (0, 1)},
    **{f"{half}{k}": "any" for half in ("bml", "bmh", "amll", "amhh") for k in (0, 1)},
    **dict.fromkeys(("s0", "p0", "r8", "r9", "r10"), "read"),
}
ONLY = {"c": ["r8"], "mod": ["r9"], "shift": ["r10"], "ptr": ["p0"], "shft": ["s0"]}
ALWAYS = {"r8": 776, "r9": 35, "r10": 5, "s0": 3, "p0": DATA, "crSat": 1, "crRnd": 9, "r27": 1}


@st.composite
def an_instruction(draw: st.DrawFn) -> Instruction:
    opcode = TABLE.opcode(draw(st.sampled_from(OPCODES)))
    named: dict[str, Register | int] = {}
    for operand in opcode.operands:
        kind = operand.type
        if operand.tied_to or isinstance(kind, (Register, CountOf)):
            continue
        if isinstance(kind, Immediate):
            low, high = kind.minimum // kind.scale, kind.maximum // kind.scale
            if opcode.memory is not None:
                low = 0
            named[operand.name] = draw(st.integers(low, high)) * kind.scale
            continue
        allowed = [
            r for r in kind.registers if FILES.get(r.name) == "any" or (FILES.get(r.name) and not operand.is_def)
        ]
        if operand.name in ONLY and not operand.is_def:
            allowed = [r for r in kind.registers if r.name in ONLY[operand.name]]
        named[operand.name] = draw(st.sampled_from(allowed))
    instruction = Instruction.of(opcode, **named)
    if opcode.memory is not None:
        size = opcode.memory.bytes or 1
        offset = int(instruction["imm"]) // size * size % MEMORY_BYTES  # type: ignore[call-overload]
        named["imm"] = offset
        instruction = Instruction.of(opcode, **named)
    return instruction


class Listing:
    """Instructions that print as assembly text."""

    def __init__(self, instructions: list[Instruction]):
        self.instructions = instructions

    def __repr__(self) -> str:
        return "\n" + "\n".join(text_of(instruction) for instruction in self.instructions)


@st.composite
def listings(draw: st.DrawFn) -> Listing:
    return Listing([draw(an_instruction()) for _ in range(draw(st.integers(12, 40)))])


def scheduled(instructions: list[Instruction], gap: int) -> list[tuple[int, Instruction]]:
    """Earliest legal cycles, `gap` more than needed behind each operation that it depends on; issue order is free."""
    placed: list[tuple[int, Instruction]] = []
    ports: dict[tuple[str, int], list[bool]] = {}
    slots: dict[int, frozenset[str]] = {}
    for instruction in instructions:
        cycle = max([0, *(at + least(earlier, instruction) + gap for at, earlier in placed)])
        while not _free(instruction, cycle, ports, slots):
            cycle += 1
        slots[cycle] = slots.get(cycle, frozenset()) | {instruction.opcode.slot}
        for port, offset, required in port_cycles(timing_of(instruction)):
            ports.setdefault((port, cycle + offset), []).append(required)
        placed.append((cycle, instruction))
    return placed


def _free(instruction: Instruction, cycle: int, ports: dict, slots: dict) -> bool:
    taken = slots.get(cycle, frozenset())
    slot = instruction.opcode.slot
    if slot in taken or not formats_holding(taken | {slot}):
        return False
    wanted = list(port_cycles(timing_of(instruction)))
    return not any(required or other for port, at, required in wanted for other in ports.get((port, cycle + at), ()))


def least(earlier: Instruction, later: Instruction) -> int:
    """Bundles that must lie between two operations for them to have the effect of this order."""
    first, second = timing_of(earlier), timing_of(later)
    found = [-100]
    found += [distance(w, r) for w in first.writes for r in second.reads if overlapping(w.register, r.register)]
    for r, w in ((r, w) for r in first.reads for w in second.writes if overlapping(r.register, w.register)):
        # a bypassed result would be seen one bundle before it lands
        found.append(max(anti_distance(r, w), -distance(w, r) + 1))
    found += [output_distance(a, b) for a in first.writes for b in second.writes if overlapping(a.register, b.register)]
    if earlier.opcode.memory and later.opcode.memory:
        ends, begins = first.memory_cycles[-1], second.memory_cycles[0]
        stores = earlier.opcode.memory.kind != "load"
        if stores or later.opcode.memory.kind != "load":
            # loads come before stores in a cycle
            found.append(ends - begins + stores)
    return max(found)


def machine_code(placed: list[tuple[int, Instruction]]) -> bytes:
    bundles: dict[int, list[Instruction]] = {}
    for cycle, instruction in placed:
        bundles.setdefault(cycle, []).append(instruction)
    last = max(bundles)
    code = b"".join(Bundle.of(bundles[c]).encode() if c in bundles else assemble("nop") for c in range(last + 1))
    return code + assemble("nop*16\ndone")


def initial(seed: int) -> Machine:
    return Machine.random(seed, MEMORY_BYTES, ALWAYS)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    listings(),
    st.integers(0, 1 << 32),
    st.sampled_from([0, 0, 0, 1, 5]),
)
def test_a_tight_schedule_is_equal_to_one_operation_after_another(listing: Listing, seed: int, gap: int) -> None:
    model = initial(seed)
    core = Core(strict=True, severity={"read-in-flight": "ignore"})
    for name in STORAGE:
        core.registers[name] = model.registers[name]
    core.write_memory(DATA, bytes(model.memory))
    core.load(machine_code(scheduled(listing.instructions, gap)))
    core.run(0)
    for instruction in listing.instructions:
        model.execute(instruction)
    assert core.read_memory(DATA, MEMORY_BYTES) == bytes(model.memory)
    assert registers_of(core) == model.registers
