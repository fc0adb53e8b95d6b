"""Objects and programs: what a design names has to be there, define the kernel, and be what the core runs."""

from __future__ import annotations

from collections.abc import Iterator

from xattn.errors import XattnError
from xattn.isa.elf import UNDEFINED, ElfImage, Symbol
from xattn.isa.relocations import apply_relocation
from xattn.lint.finding import Found
from xattn.lint.subject import Named, Subject

Object = Named[tuple[ElfImage, ...]]


def other_object(subject: Subject) -> Iterator[Found]:
    """Kernels that come from another object than the one that is here, or that the design names."""
    yield from _not_here(subject)
    for named in subject.programs:
        for function in _kernels(subject, named):
            defining = [item for item in subject.objects if _defines(item, function)]
            if not defining:
                continue
            wanted = [item for item in defining if _file(item) in _links(subject, function)] or defining
            if any(_is_linked(named.content, item, function) for item in wanted):
                continue
            linked = [item.name for item in defining if _is_linked(named.content, item, function)]
            what = f"is that of {linked[0]}" if linked else "is of none of the objects here"
            yield Found(
                named.name,
                f"its {function} {what}, expected that of {' or '.join(item.name for item in wanted)}: it was linked "
                "with an older or another object; name the object in link_with, and link again",
            )


def not_defined(subject: Subject) -> Iterator[Found]:
    """Kernels that the object which the design names does not define under that name."""
    for design in subject.designs:
        said: set[str] = set()
        for core in design.content.cores:
            for call in core.calls:
                name = design.content.object_of(core, call.function)
                item = next((item for item in subject.objects if _file(item) == name), None)
                if item is None or call.function in said or _defines(item, call.function):
                    continue
                said.add(call.function)
                yield Found(
                    f"{design.name}, core ({core.column}, {core.row})",
                    f"it calls {call.function}, and {item.name} does not define that; {_remedy(item, call.function)}",
                )


def _remedy(item: Object, function: str) -> str:
    names = [symbol.name for image in item.content for symbol in _functions(image)]
    mangled = [name for name in names if name.startswith("_Z") and f"{len(function)}{function}" in name]
    if mangled:
        return f'it has the C++ name {mangled[0]}: declare the function extern "C"'
    return f"it has {', '.join(names) or 'no functions'}: correct the name in one of the two, or link_with"


def _not_here(subject: Subject) -> Iterator[Found]:
    """link_with names a file that is absent, while another object here has the kernel."""
    here = {_file(item) for item in subject.objects}
    for design in subject.designs:
        said: set[str] = set()
        for core in design.content.cores:
            for call in core.calls:
                name = design.content.object_of(core, call.function)
                others = [item.name for item in subject.objects if _defines(item, call.function)]
                if name is None or name in here or name in said or not others:
                    continue
                said.add(name)
                yield Found(
                    design.name,
                    f"it links {name}, which is not here, and {' and '.join(others)} with {call.function} is not "
                    f'linked: write link_with = "{others[0].rpartition("/")[2]}"',
                )


def _kernels(subject: Subject, named: Named[ElfImage]) -> list[str]:
    """The kernels that a program should have."""
    names = {call.function for d in subject.designs for core in d.content.cores for call in core.calls}
    if subject.manifest is not None:
        names = {subject.manifest.symbol}
    return sorted(name for name in names if any(s.name == name for s in _functions(named.content)))


def _links(subject: Subject, function: str) -> set[str]:
    """The files that designs name for a kernel."""
    found = {d.content.object_of(core, function) for d in subject.designs for core in d.content.cores}
    return {name for name in found if name is not None}


def _file(item: Object) -> str:
    return item.name.rpartition("/")[2]


def _functions(image: ElfImage) -> list[Symbol]:
    return [s for s in image.symbols if s.kind == "func" and s.section != UNDEFINED]


def _defines(item: Object, function: str) -> bool:
    return any(symbol.name == function for image in item.content for symbol in _functions(image))


def _is_linked(program: ElfImage, item: Object, function: str) -> bool:
    """Whether the program has the object's code, but for what a linker puts in."""
    return any(_has_code_of(program, image, function) for image in item.content if _defines_in(image, function))


def _defines_in(image: ElfImage, function: str) -> bool:
    return any(symbol.name == function for symbol in _functions(image))


def _has_code_of(program: ElfImage, image: ElfImage, function: str) -> bool:
    symbol = next(s for s in _functions(image) if s.name == function)
    section = image.section(symbol.section)
    start = program.symbol(function).value - symbol.value
    linked = bytearray(_code_at(program, start, len(section.data)))
    wanted = bytearray(section.data)
    if len(linked) != len(wanted):
        return False
    relocations = [r for r in image.relocations if r.section == section.name]
    try:
        for relocation in relocations:
            for code in (linked, wanted):
                apply_relocation(code, relocation.offset, relocation.type, 0)
    except XattnError:  # a type that patches something else than this code
        return False
    return linked == wanted


def _code_at(program: ElfImage, start: int, size: int) -> bytes:
    for address, data in program.code():
        if address <= start and start + size <= address + len(data):
            return data[start - address : start - address + size]
    return b""
