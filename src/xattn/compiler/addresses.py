"""From "element i·64 + c of Q" to pointers: addressing forms, post-increments and adjustments between loops.

Loads, or stores, of one block in one array whose offsets differ by constants share a pointer. It is set before the
outermost loop that moves it, walks with post-increments, and is adjusted at the end of every loop around the innermost
one.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache

from xattn.compiler.ir import (
    Address,
    Affine,
    Array,
    Block,
    Choice,
    Loop,
    MemoryReference,
    Operation,
    Origin,
    Program,
    Reference,
    Region,
    VirtualRegister,
    When,
    regions,
)
from xattn.compiler.language.recorder import constant_choices
from xattn.errors import InputError
from xattn.isa.model import Immediate, Opcode, RegisterClass
from xattn.isa.table import instruction_table

_MANY_POINTERS = 3  # arguments beyond which the p registers are too few to keep them all
_POINTERS = 8  # p registers


def assign_addresses(program: Program) -> None:
    """Give every memory operation of the program its address, adding the pointer arithmetic that this needs."""
    _Addresses(program).assign()


@lru_cache(maxsize=1)
def _variants() -> dict[tuple[str, str, str], dict[str, Opcode]]:
    """(slot, mnemonic without dimension, class of the data) -> addressing mode -> opcode."""
    families: dict[tuple[str, str, str], dict[str, Opcode]] = defaultdict(dict)
    for opcode in instruction_table().opcodes.values():
        if opcode.memory is not None:
            families[_family(opcode)][opcode.memory.mode] = opcode
    return families


def _family(opcode: Opcode) -> tuple[str, str, str]:
    mnemonic = opcode.mnemonic.replace(".2d", "").replace(".3d", "")
    data = [
        operand.type.name
        for operand in opcode.operands
        if isinstance(operand.type, RegisterClass) and operand.type.name not in ("eP", "eM", "eDJ", "eD", "eDS", "mSs")
    ]
    return opcode.slot, mnemonic, ",".join(data)


def with_mode(opcode: Opcode, mode: str) -> Opcode:
    """The opcode that does the same with another addressing mode."""
    return _variants()[_family(opcode)][mode]


def _fits(opcode: Opcode, mode: str, value: int) -> bool:
    variant = _variants()[_family(opcode)].get(mode)
    if variant is None:
        return False
    kind = variant.operands[variant.position["imm"]].type
    assert isinstance(kind, Immediate)
    return kind.minimum <= value <= kind.maximum and value % kind.scale == 0


@dataclass
class _Group:
    """Loads or stores of one block in one array, with equal loop terms."""

    array: Array
    terms: Affine  # constant 0
    path: tuple[Loop, ...]  # loops around the block, outermost first
    operations: list[Operation]
    before_advance: int | None = None  # so many operations come before the pointer's step to the next trip

    @property
    def offsets(self) -> list[int]:
        return [op.memory.offset.constant for op in self.operations if op.memory and op.memory.offset]

    @property
    def reaches(self) -> list[int]:
        """Each operation's distance from the pointer, if it stays where it is but for the step to the next trip."""
        offsets = self.offsets
        step = self.terms.steps(self.path[-1])[0] if self.path else 0
        turn = len(offsets) if self.before_advance is None else self.before_advance
        return [offset - offsets[0] - (step if place >= turn else 0) for place, offset in enumerate(offsets)]


def _in_reach(group: _Group) -> bool:
    """Whether immediate offsets reach everything in a group."""
    return all(
        _fits(choice.opcode, "idx_imm", reach)
        for operation, reach in zip(group.operations, group.reaches, strict=True)
        for choice in operation.choices
    )


class _Addresses:
    def __init__(self, program: Program) -> None:
        self.program = program
        entry = program.body[0]
        assert isinstance(entry, Block)
        self.entry = entry
        self.modifiers: dict[tuple[Loop | None, int], VirtualRegister] = {}
        self.counting: dict[tuple[VirtualRegister, tuple[int, ...]], VirtualRegister] = {}
        self.bases: dict[tuple[Loop | None, Array], VirtualRegister] = {}
        self.kept: dict[VirtualRegister, VirtualRegister] = {}  # arguments in r registers, by pointer
        self.origin = Origin()  # of the access that addresses are being made for

    def assign(self) -> None:
        if len(self.program.pointers) > _MANY_POINTERS:
            self._keep_arguments()
        for group in list(self._groups(self.program.body, ())):
            self._assign_group(group)

    def _keep_arguments(self) -> None:
        """Copy the pointers that the caller gives into r registers: the p registers are for those that walk."""
        for pointer in self.program.pointers:
            copy = self.kept[pointer] = VirtualRegister("r", f"address of {pointer.name}")
            self.entry.operations.append(self._move(copy, pointer))

    def _groups(self, region: Region, path: tuple[Loop, ...]) -> Iterator[_Group]:
        for item in region:
            if isinstance(item, Loop):
                yield from self._groups(item.body, (*path, item))
                continue
            if isinstance(item, When):
                for inner in regions(item):
                    yield from self._groups(inner, path)
                continue
            found: dict[tuple[Array, Affine, bool], _Group] = {}
            for operation in item.operations:
                memory = operation.memory
                if memory is None:
                    continue
                if memory.offset is None:
                    self._index_by_register(operation, memory, path)
                    continue
                terms = Affine(0, memory.offset.terms)
                key = (memory.array, terms, memory.is_store)
                group = found.setdefault(key, _Group(memory.array, terms, path, []))
                group.operations.append(operation)
            short = path and len(found) > _POINTERS
            yield from (self._shared(item, found, path[-1]) if short else found.values())

    def _shared(self, block: Block, found: dict[tuple[Array, Affine, bool], _Group], loop: Loop) -> Iterator[_Group]:
        """Let stores share the pointer of the loads next to them. Where the pointer moves by one step, it does so
        between them, so that an iteration's stores need not be done before the next one's loads."""
        for (array, terms, is_store), group in found.items():
            loads, stores = (group, found.get((array, terms, True))) if not is_store else (None, group)
            if loads is None:
                if (array, terms, False) not in found:
                    yield group
                continue
            if stores is None:
                yield group
                continue
            places = {operation: place for place, operation in enumerate(block.operations)}
            in_turn = max(places[op] for op in loads.operations) < min(places[op] for op in stores.operations)
            one_step = len(set(terms.steps(loop))) == 1
            turn = len(loads.operations) if in_turn and one_step else None
            both = _Group(array, terms, group.path, loads.operations + stores.operations, turn)
            yield from ((both,) if _in_reach(both) else (loads, stores))

    # -- addressing by a run-time index ---------------------------------------------------------------------------

    def _index_by_register(self, operation: Operation, memory: MemoryReference, path: tuple[Loop, ...]) -> None:
        self.origin = operation.origin
        base = self._base(memory.array, path[0] if path else None)
        operation.choices = tuple(Choice(c.opcode, {**c.operands, "ptr": base}) for c in operation.choices)

    def _base(self, array: Array, outermost: Loop | None) -> VirtualRegister:
        """A pointer to the start of an array, set on entry; where arguments are many, before the outermost loop."""
        if array.base is not None:
            return array.base
        outermost = outermost if self.kept else None
        if (outermost, array) not in self.bases:
            pointer = self.bases[outermost, array] = VirtualRegister("p", array.name)
            before = self.entry if outermost is None else self._block_before(outermost)
            before.operations.append(self._set_address(pointer, array))
        return self.bases[outermost, array]

    # -- walking pointers -----------------------------------------------------------------------------------------

    def _assign_group(self, group: _Group) -> None:
        self.origin = group.operations[0].origin
        pointer = VirtualRegister("p", f"{group.array.name}@{self.origin.line}")
        home = next((loop for loop in group.path if group.terms.moves_with(loop)), None)
        home = home or (group.path[-1] if group.path else None)
        self._set_before(home, group, pointer)
        steps = group.terms.steps(group.path[-1]) if group.path else (0,)
        offsets = group.offsets
        if _in_reach(group) and (len(offsets) > 1 or not any(steps)):
            for operation, reach in zip(group.operations, group.reaches, strict=True):
                _readdress(operation, "idx_imm", ptr=pointer, imm=reach)
            if any(steps):
                self._advance_after(group, pointer, steps)
        else:
            for operation, offset, following in zip(group.operations, offsets, offsets[1:], strict=False):
                self._walk(operation, pointer, (following - offset,), group.path)
            back = offsets[0] - offsets[-1] if home else 0
            self._walk(group.operations[-1], pointer, tuple(back + step for step in steps), group.path)
        self._adjust_around(group, home, pointer)

    def _set_before(self, home: Loop | None, group: _Group, pointer: VirtualRegister) -> None:
        """Set the pointer to its first address where the loop that moves it starts."""
        first = group.offsets[0]
        if group.array.base is None:
            operations = [self._set_address(pointer, group.array, first)]
        else:
            operations = [self._move(pointer, self.kept.get(group.array.base, group.array.base))]
            if first:
                operations.append(self._advance(pointer, (first,), group.path))
        if home is None:
            block = _block_of(self.program.body, group.operations[0])
            first = block.operations.index(group.operations[0])
            block.operations[:0] = operations
        else:
            self._block_before(home).operations.extend(operations)

    def _walk(
        self, operation: Operation, pointer: VirtualRegister, steps: tuple[int, ...], path: tuple[Loop, ...]
    ) -> None:
        """Move the pointer after the access; with several steps, by the one of the counter that rises."""
        step = steps[0]
        if len(set(steps)) > 1:
            _readdress(operation, "post_2d", ptr=pointer, mod=self._counting_modifier(pointer, steps, path))
        elif step == 0 and all(_fits(choice.opcode, "idx_imm", 0) for choice in operation.choices):
            _readdress(operation, "idx_imm", ptr=pointer, imm=0)
        elif all(_fits(choice.opcode, "post_imm", step) for choice in operation.choices):
            _readdress(operation, "post_imm", ptr=pointer, imm=step)
        else:
            _readdress(operation, "post_mod", ptr=pointer, mod=self._modifier(step, path))

    def _adjust_around(self, group: _Group, home: Loop | None, pointer: VirtualRegister) -> None:
        """Each loop around the innermost one moves the pointer by its own step, less what its inner loop moved it."""
        if home is None:
            return
        inside = group.path[group.path.index(home) :]
        for outer, inner in itertools.pairwise(inside):
            inner_advance = group.terms.advance(inner)
            steps = tuple(step - inner_advance for step in group.terms.steps(outer))
            if any(steps):
                advance = self._advance(pointer, steps, group.path)
                advance.origin = replace(outer.origin, stage=self.origin.stage)
                if not isinstance(outer.body[-1], Block):
                    outer.body.append(Block())
                last = outer.body[-1]
                assert isinstance(last, Block)
                last.operations.append(advance)

    def _advance_after(self, group: _Group, pointer: VirtualRegister, steps: tuple[int, ...]) -> None:
        """Move the pointer to the next trip, at the block's end or where the group says."""
        advance = self._advance(pointer, steps, group.path)
        advance.origin = group.operations[-1].origin
        operations = _block_of(self.program.body, group.operations[-1]).operations
        if group.before_advance is None:
            operations.append(advance)
        else:
            operations.insert(operations.index(group.operations[group.before_advance]), advance)

    def _advance(self, pointer: VirtualRegister, steps: tuple[int, ...], path: tuple[Loop, ...]) -> Operation:
        """Move a pointer, in whichever slot is free."""
        step = steps[0]
        if len(set(steps)) > 1:
            counting = self._counting_modifier(pointer, steps, path)
            by_slot = (instruction_table().opcodes[name] for name in ("PADDB_2D", "PADDA_2D", "PADDS_2D"))
            return self._made(tuple(Choice(opcode, {"ptr": pointer, "mod": counting}) for opcode in by_slot))
        names = ("PADDB_ldb_ptr_inc_nrm_imm", "PADDA_lda_ptr_inc_idx_imm", "PADDS_st_ptr_inc_idx_imm")
        choices = []
        for name in names:
            opcode = instruction_table().opcodes[name]
            kind = opcode.operands[opcode.position["imm"]].type
            assert isinstance(kind, Immediate)
            if kind.minimum <= step <= kind.maximum and step % kind.scale == 0:
                choices.append(Choice(opcode, {"ptr": pointer, "imm": step}))
        if not choices:
            modifier = self._modifier(step, path)
            names = ("PADDB_ldb_ptr_inc_nospill_nrm", "PADDA_lda_ptr_inc_idx", "PADDS_st_ptr_inc_idx")
            choices = [Choice(instruction_table().opcodes[n], {"ptr": pointer, "mod": modifier}) for n in names]
        return self._made(tuple(choices))

    def _modifier(self, step: int, path: tuple[Loop, ...]) -> VirtualRegister:
        """A modifier register with a constant, set before the outermost loop."""
        outermost = path[0] if path else None
        if (outermost, step) not in self.modifiers:
            register = self.modifiers[outermost, step] = VirtualRegister("m", f"step {step}")
            before = self.entry if outermost is None else self._block_before(outermost)
            before.operations.append(self._set_constant(register, step))
        return self.modifiers[outermost, step]

    def _counting_modifier(
        self, pointer: VirtualRegister, steps: tuple[int, ...], path: tuple[Loop, ...]
    ) -> VirtualRegister:
        """A 2-D modifier: the inner counter's step, and the outer one's each time the inner one starts again."""
        inner = next(loop for loop in reversed(path) if len(loop.shape) > 1)
        if len(steps) > 2:
            raise InputError(f"loop {inner.name} has {len(steps)} counters; pointers can follow two, nest the others")
        key = (pointer, (*steps, inner.serial))  # it counts, so each pointer has its own
        if key not in self.counting:
            register = self.counting[key] = VirtualRegister("d", f"steps {steps}")
            values = (steps[1], inner.shape[-1] - 1, steps[0], 0)  # m, dn, dj, dc
            self._block_before(path[0]).operations.extend(
                self._made(constant_choices(register.part(place), value)) for place, value in enumerate(values)
            )
        return self.counting[key]

    def _made(self, choices: tuple[Choice, ...]) -> Operation:
        """An operation for the access that addresses are being made for."""
        return Operation(choices, origin=self.origin)

    def _set_constant(self, register: VirtualRegister, value: int) -> Operation:
        return self._made(constant_choices(register, value))

    def _set_address(self, pointer: VirtualRegister, array: Array, offset: int = 0) -> Operation:
        operands: dict[str, Reference] = {"mMvSclDstCg": pointer, "i": Address.of(array, offset)}
        return self._made((Choice(instruction_table().opcodes["MOVXM_lng_cg"], operands),))

    def _move(self, target: VirtualRegister, source: VirtualRegister) -> Operation:
        operands: dict[str, Reference] = {"mMvSclDst": target, "mMvSclSrc": source}
        return self._made((Choice(instruction_table().opcodes["MOV_mv_scl"], operands),))

    def _block_before(self, loop: Loop) -> Block:
        region, position = _find(self.program.body, loop)
        previous = region[position - 1] if position else None
        if not isinstance(previous, Block):
            previous = Block()
            region.insert(position, previous)
        return previous


def _readdress(operation: Operation, mode: str, **address: Reference) -> None:
    choices = []
    for choice in operation.choices:
        opcode = with_mode(choice.opcode, mode)
        operands = {name: value for name, value in choice.operands.items() if name not in ("ptr", "dj", "imm", "mod")}
        choices.append(Choice(opcode, {**operands, **address}))
    operation.choices = tuple(choices)


def _find(region: Region, wanted: Loop) -> tuple[Region, int]:
    for position, item in enumerate(region):
        if item is wanted:
            return region, position
        for inner in () if isinstance(item, Block) else regions(item):
            with suppress(LookupError):
                return _find(inner, wanted)
    raise LookupError(wanted.name)


def _block_of(region: Region, operation: Operation) -> Block:
    for item in region:
        if isinstance(item, Block):
            if any(op is operation for op in item.operations):
                return item
            continue
        for inner in regions(item):
            with suppress(LookupError):
                return _block_of(inner, operation)
    raise LookupError(repr(operation))
