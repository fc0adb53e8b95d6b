"""The stack: larger than what is kept for it, over a buffer, or of a size that cannot be known."""

from __future__ import annotations

from collections.abc import Iterator

from xattn.array.design import TileId
from xattn.lint.finding import Found
from xattn.lint.programs import CoreProgram, Range, core_programs, object_program
from xattn.lint.stack_use import StackUse, stack_use, use_in
from xattn.lint.subject import Subject


def overlaps_buffer(subject: Subject) -> Iterator[Found]:
    """Frames that lie over buffers or data."""
    for program in core_programs(subject):
        use = stack_use(program.program, program.entry)
        if use.start is None or not use.bytes:
            continue
        top = use.start + use.bytes
        hit = sorted(used for used in program.used if used.first < top and used.end > use.start)
        if hit:
            yield Found(program.where, _overlap(program, use, hit[0], program.used))


def _overlap(program: CoreProgram, use: StackUse, hit: Range, used: tuple[Range, ...]) -> str:
    assert use.start is not None
    top = use.start + use.bytes
    room = max(hit.first - use.start, 0)
    names = [r.name for r in used if r.first == hit.first and r.end > use.start]
    path = " → ".join(f"{program.name(address)} {size:,}" for address, size in use.path if size)
    return (
        f"the stack takes {use.start:#x} to {top - 1:#x} ({use.bytes:,} bytes: {path}), and {names[0]} starts at "
        f"{hit.first:#x}: {room:,} bytes are free; give the core a stack_size of {_round(use.bytes):,} or more, or "
        "move its arrays out of the functions"
    )


def _round(size: int) -> int:
    return -(-size // 1024) * 1024


def larger_than_reserved(subject: Subject) -> Iterator[Found]:
    """Frames beyond the bytes that the manifest or the MLIR text keeps for the stack."""
    for program in core_programs(subject):
        use = stack_use(program.program, program.entry)
        for size, who in _reserved(subject, program):
            if use.bytes > size:
                deepest = " → ".join(f"{program.name(address)} {n:,}" for address, n in use.path if n)
                yield Found(
                    program.where,
                    f"the stack takes {use.bytes:,} bytes ({deepest}), and {who} keeps {size:,} for it: set "
                    f"stack_size to {_round(use.bytes):,} or more, or move arrays out of the functions",
                )
    yield from _objects(subject)


def _reserved(subject: Subject, program: CoreProgram) -> Iterator[tuple[int, str]]:
    """(bytes, who says so) for a program's stack."""
    if subject.manifest is not None:
        of_build = {(core.column, core.row) for core in subject.manifest.cores}
        if not program.tiles or of_build.intersection(program.tiles):
            yield subject.manifest.stack_bytes, "the manifest"
        return
    tiles = program.tiles or _tiles_of_name(program.where)
    sizes = {core.stack_bytes for d in subject.designs for core in d.content.cores if (core.column, core.row) in tiles}
    if len(sizes) == 1:
        yield sizes.pop(), "the MLIR text"


def _tiles_of_name(name: str) -> tuple[TileId, ...]:
    """The tile in the name of a program's file, as in main_core_0_2.elf."""
    parts = name.removesuffix(".elf").split("_")
    numbers = [int(part) for part in parts[-2:] if part.isdecimal()]
    return (TileId(*numbers),) if len(numbers) == 2 and "core" in name else ()


def _objects(subject: Subject) -> Iterator[Found]:
    """Kernels in objects that a design links, where there is no program yet."""
    if subject.programs or subject.images:
        return
    objects = {named.name.rpartition("/")[2]: named for named in subject.objects}
    for design in subject.designs:
        for core in design.content.cores:
            for call in core.calls:
                named = objects.get(design.content.object_of(core, call.function) or "")
                for image in named.content if named else ():
                    linked = object_program(image)
                    if call.function not in linked.functions:
                        continue
                    start = linked.functions[call.function]
                    use = use_in(linked.graph(start), start)
                    if use.bytes > core.stack_bytes:
                        said = "says" if core.states_stack else "says nothing and gets"
                        yield Found(
                            f"{design.name}, core ({core.column}, {core.row})",
                            f"{call.function} takes at least {use.bytes:,} bytes of stack, and the core {said} "
                            f"stack_size {core.stack_bytes:,}: add {{stack_size = {_round(use.bytes)} : i32}}",
                        )


def cannot_be_known(subject: Subject) -> Iterator[Found]:
    """Recursion, calls through registers, a stack pointer that is computed."""
    for program in core_programs(subject):
        use = stack_use(program.program, program.entry)
        if use.doubts:
            more = f", and {len(use.doubts) - 1} more" if len(use.doubts) > 1 else ""
            least = f"at least {use.bytes:,} bytes" if use.bytes else "the stack's size is not known"
            yield Found(
                program.where,
                f"{least}: {use.doubts[0]}{more}; run it with `xattn run --stack` to see how far it grows",
            )
