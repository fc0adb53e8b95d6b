"""Machine code with one thing changed, as a compiler with a defect would have emitted it."""

from dataclasses import replace

from xattn.compiler.compile import CompiledKernel
from xattn.compiler.emit import Emitted
from xattn.compiler.ir import Operation
from xattn.isa.codec import Bundle, Instruction, Value
from xattn.isa.model import Immediate, RegisterClass
from xattn.isa.table import instruction_table
from xattn.isa.timing import FETCH_BYTES

Site = tuple[int, str]  # bundle, slot


class Draft:
    """A kernel's bundles, open for changes. Operations move with their instructions."""

    def __init__(self, compiled: CompiledKernel) -> None:
        self.kernel = compiled
        self.bundles: list[dict[str, tuple[Instruction, Operation]]] = []
        for index, bundle in enumerate(compiled.bundles):
            operations = compiled.emitted.operations
            self.bundles.append(
                {i.opcode.slot: (i, operations[index * FETCH_BYTES, i.opcode.slot]) for i in bundle.operations}
            )

    @property
    def sites(self) -> list[Site]:
        """Where instructions are."""
        return [(index, slot) for index, slots in enumerate(self.bundles) for slot in slots]

    def operation(self, site: Site) -> Operation:
        """What stands at a site."""
        return self.bundles[site[0]][site[1]][1]

    def instruction(self, site: Site) -> Instruction:
        """The instruction at a site."""
        return self.bundles[site[0]][site[1]][0]

    def move(self, site: Site, by: int) -> bool:
        """Shift one instruction by some bundles; False where there is no room."""
        index, slot = site
        if not 0 <= index + by < len(self.bundles):
            return False
        target = self.bundles[index + by]
        blocked = {"lng": {"alu", "mv"}, "alu": {"lng"}, "mv": {"lng"}}.get(slot, set())
        if slot in target or blocked & target.keys():
            return False
        target[slot] = self.bundles[index].pop(slot)
        return True

    def drop(self, site: Site) -> None:
        """Leave one instruction out."""
        del self.bundles[site[0]][site[1]]

    def change(self, site: Site, operand: str, value: Value) -> None:
        """Give one operand another register or immediate."""
        instruction, operation = self.bundles[site[0]][site[1]]
        named = {name: instruction[name] for name in operands_of(instruction)}
        changed = Instruction.of(instruction.opcode, **{**named, operand: value})
        self.bundles[site[0]][site[1]] = (changed, operation)

    def compiled(self) -> CompiledKernel:
        """The kernel with the changed code."""
        formats = instruction_table().formats
        bundles = []
        for slots in self.bundles:
            name = "I128_LDB_LDA_ST_LNG_VEC" if "lng" in slots else "I128_LDB_LDA_ST_ALU_MV_VEC"
            bundles.append(Bundle.of((i for i, _ in slots.values()), formats[name]))
        places = {(index * FETCH_BYTES, slot): self.operation((index, slot)) for index, slot in self.sites}
        lines = {place: operation.line for place, operation in places.items()}
        return replace(self.kernel, emitted=Emitted(tuple(bundles), self.kernel.emitted.labels, lines, places))


def operands_of(instruction: Instruction) -> dict[str, RegisterClass | Immediate]:
    """The operands that can be chosen: not the tied and fixed ones."""
    return {
        operand.name: operand.type
        for operand in instruction.opcode.operands
        if operand.tied_to is None and isinstance(operand.type, (RegisterClass, Immediate))
    }
