"""ELF files: what is written is read back, by pyelftools too; relocations are LLVM's; broken files are refused."""

from __future__ import annotations

import io
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st
from isa_cases import TABLE

from xattn.errors import FileFormatError, InputError
from xattn.isa.assembly import Program, assemble_program
from xattn.isa.codec import Bundle, Instruction, decode_bundle, decode_program
from xattn.isa.elf import (
    ABSOLUTE,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHT_NOBITS,
    UNDEFINED,
    ElfImage,
    Relocation,
    Section,
    Segment,
    Symbol,
    load_elf,
    read_elf,
)
from xattn.isa.elf_writer import locals_first, write_elf, write_executable, write_object
from xattn.isa.model import Format, Immediate
from xattn.isa.relocations import apply_relocation, patched_bytes, relocation_type
from xattn.isa.timing import DATA_MEMORY_BASE

PROGRAM = assemble_program("""
.equ N, 64
.func main
    movxm p0, #0x71000; nopb
    mova r0, #N
    jl #helper
    nop*5
.align 16
loop: jnz r0, #loop
    add r0, r0, #-1
    nop*4
.func helper
    ret lr
    nop*5
""")
EXECUTABLE = write_executable(
    PROGRAM, [(0x71000, b"weights"), (0x72000, bytes(5))], [Symbol("stack", DATA_MEMORY_BASE, 1024, "object")]
)
UNLINKED = assemble_program("""
.extern table, helper
.func main
    movxm p0, #table + 32; nopb; vadd cm0, cm0, cm1, r0
    jl #helper; nopb
    nop*5
.align 16
back: j #back
    nop*5
""")
OBJECT = write_object(
    UNLINKED,
    data=bytes(range(8)),
    rodata=b"abc",
    symbols=[Symbol("here", 4, 4, "object", "global", ".data")],
    relocations=[Relocation(".data", 4, 50, "main", 16)],
)


# --- reading what was written ---------------------------------------------------------------------------------------


def test_an_executable_holds_code_data_and_symbols() -> None:
    image = read_elf(EXECUTABLE)
    assert not image.is_object and image.entry == 0 and not image.relocations
    assert image.code() == [(0, PROGRAM.code)]
    assert image.data() == [(0x71000, b"weights"), (0x72000, bytes(5))]
    assert image.symbol("main") == Symbol("main", 0, PROGRAM.functions["main"][1], "func", "global", ".text")
    assert image.symbol("loop").binding == "local" and image.symbol("N").section == ABSOLUTE
    assert image.addresses() == {**PROGRAM.symbols, "N": 64, "stack": 0x70000}
    assert image.section(".text").is_code and not image.section(".data").is_code


def test_an_object_holds_sections_symbols_and_relocations() -> None:
    image = read_elf(OBJECT)
    assert image.is_object and not image.segments
    assert [s.name for s in image.sections] == [".text", ".data", ".rodata"]
    assert image.code() == [(0, UNLINKED.code)]
    assert image.section(".rodata").data == b"abc"
    assert image.symbol("table").section == UNDEFINED and "table" not in image.addresses()
    assert image.relocations == (
        Relocation(".text", 0, 48, "table", 32),
        Relocation(".text", 12, 3, "helper", 0),
        Relocation(".text", UNLINKED.symbols["back"], 1, "back", 0),
        Relocation(".data", 4, 50, "main", 16),
    )


names = st.from_regex(r"[A-Za-z_.][A-Za-z0-9_.$]{0,12}", fullmatch=True)


@st.composite
def images(draw: st.DrawFn) -> ElfImage:
    """Executables and objects with random contents, symbols and relocations."""
    is_object = draw(st.booleans())
    code, data = draw(st.binary(max_size=64)), draw(st.binary(max_size=40))
    base, at = (0, 0) if is_object else (draw(st.sampled_from([0, 0x20])), draw(st.sampled_from([0x70000, 0x7FF00])))
    sections = [
        Section(".text", base, code, flags=SHF_ALLOC | SHF_EXECINSTR, alignment=16),
        Section(".data", at, data, flags=SHF_ALLOC | SHF_WRITE, alignment=draw(st.sampled_from([1, 4, 32]))),
        Section(".comment", 0, b"made by hand\0", flags=0x30, entry_size=1),
        Section(".bss", 0, b"", SHT_NOBITS, SHF_ALLOC | SHF_WRITE, 4, size=draw(st.integers(0, 1 << 16))),
    ]
    segments = () if is_object else (Segment(base, code, len(code), 5), Segment(at, data, len(data) + 3, 6, 4))
    symbol = st.builds(
        Symbol,
        name=names,
        value=st.integers(0, 2**32 - 1),
        size=st.integers(0, 2**32 - 1),
        kind=st.sampled_from(["notype", "object", "func"]),
        binding=st.sampled_from(["local", "global", "weak"]),
        section=st.sampled_from([".text", ".data", ".bss", ABSOLUTE, UNDEFINED]),
    )
    symbols = draw(st.lists(symbol, max_size=6, unique_by=lambda s: s.name))
    symbols.append(Symbol(".data", 0, 0, "section", "local", ".data"))
    relocation = st.builds(
        Relocation,
        section=st.sampled_from([".text", ".data"]),
        offset=st.integers(0, 2**32 - 1),
        type=st.integers(0, 53),
        symbol=st.sampled_from([s.name for s in symbols]),
        addend=st.integers(-(2**31), 2**31 - 1),
    )
    relocations = draw(st.lists(relocation, max_size=6)) if is_object else []
    relocations.sort(key=lambda r: [".text", ".data"].index(r.section))
    entry = 0 if is_object else base
    return ElfImage(is_object, entry, tuple(sections), segments, locals_first(symbols), tuple(relocations))


@given(images())
def test_what_is_written_is_read(image: ElfImage) -> None:
    data = write_elf(image)
    assert read_elf(data) == image
    assert write_elf(image) == data


def test_another_reader_agrees() -> None:
    """pyelftools, asked directly: header fields, segments, symbol indices, and that nothing overlaps."""
    for data, kind in ((EXECUTABLE, "ET_EXEC"), (OBJECT, "ET_REL")):
        elf = ELFFile(io.BytesIO(data))
        header = elf.header
        assert (header["e_machine"], header["e_flags"], header["e_type"]) == (264, 2, kind)
        assert (elf.elfclass, elf.little_endian, header["e_ehsize"]) == (32, True, 52)
        table = elf.get_section_by_name(".symtab")
        locals_ = [s["st_info"]["bind"] == "STB_LOCAL" for s in table.iter_symbols()]
        assert locals_ == sorted(locals_, reverse=True) and table["sh_info"] == sum(locals_)
        spans = sorted(
            (s["sh_offset"], s["sh_offset"] + s["sh_size"]) for s in elf.iter_sections() if s["sh_type"] != "SHT_NULL"
        )
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        for section in elf.iter_sections():
            if section["sh_addralign"] and section["sh_type"] == "SHT_PROGBITS":
                assert section["sh_offset"] % section["sh_addralign"] == 0 or kind == "ET_EXEC"
        for segment in elf.iter_segments():
            assert segment["p_type"] == "PT_LOAD"
            assert segment["p_offset"] % segment["p_align"] == segment["p_vaddr"] % segment["p_align"]


def test_code_in_a_file_decodes_to_the_program() -> None:
    [(address, code)] = read_elf(EXECUTABLE).code()
    assert [b for _, b in decode_program(code, address)] == [item.bundle for item in PROGRAM.bundles]


# --- relocations ----------------------------------------------------------------------------------------------------

# (text, the relocation type of the operand that names a symbol): from the public llvm-aie linker's tests
# (lld/test/ELF/AIE/aie2/linkbundle.yaml and aie2-rela1.test), where these bundles have these types.
LLVM_TYPES = [
    ("movxm p0, #x", 42),
    ("st r0, [p1, #0]; movxm p0, #x", 44),
    ("st r0, [p1, #0]; vunpack.s16.s8 x0, wl0; movxm p0, #x", 46),
    ("lda r1, [p1, #0]; vunpack.s16.s8 x0, wl0; movxm p0, #x; st r0, [p1, #0]", 49),
    ("vunpack.s16.s8 x0, wl0; lda r2, [p1, #0]; st r0, [p1, #0]; movxm p0, #x; vadd cm0, cm0, cm0, r0", 41),
    ("jl #x", 1),
]


@pytest.mark.parametrize(("text", "number"), LLVM_TYPES)
def test_relocation_types_are_llvms(text: str, number: int) -> None:
    [reference] = assemble_program(f".extern x\n{text}").references
    assert relocation_type(reference.bundle, reference.slot, reference.operand) == number


def test_llvms_example_of_a_patch() -> None:
    """lld/test/ELF/AIE/aie2/aie2-rela1.test: type 1 with value 0xfffff on zeros."""
    code = bytearray(16)
    apply_relocation(code, 0, 1, 0xFFFFF)
    assert code.hex() == "000080ffff0700000000000000000000"


RELOCATABLE = {
    "J_jump_imm": "cpmaddr",
    "MOVXM_lng_cg": "i",
    "MOVA_lda_cg": "c11s",
    "MOVX_alu_cg": "i",
    "MOV_mv_cg": "i",
}


def with_value(opcode_name: str, value: int, bundle_format: Format) -> Bundle:
    opcode = TABLE.opcodes[opcode_name]
    named = {RELOCATABLE[opcode_name]: value}
    for operand in opcode.operands:
        if not isinstance(operand.type, Immediate):
            named[operand.name] = TABLE.registers["r5"]  # type: ignore[assignment]
    return Bundle.of([Instruction.of(opcode, **named)], bundle_format)


def test_the_linkers_table_and_the_formats_agree_completely() -> None:
    """Every immediate that can name a symbol, in every format that has its slot, has a type; every type has a place.

    The types come from the linker's table, the places from the bundle formats and opcode fields: two sources.
    """
    seen = set()
    for name, operand in RELOCATABLE.items():
        slot = TABLE.opcodes[name].slot
        for bundle_format in TABLE.formats.values():
            if slot in bundle_format.lsb_of:
                number = relocation_type(with_value(name, 0, bundle_format), slot, operand)
                assert patched_bytes(number) == bundle_format.size
                seen.add(number)
    assert seen == set(range(50))


@given(st.data())
@settings(max_examples=200)
def test_patching_is_what_encoding_with_the_value_gives(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(RELOCATABLE)))
    slot = TABLE.opcodes[name].slot
    bundle_format = data.draw(st.sampled_from([f for f in TABLE.formats.values() if slot in f.lsb_of]))
    kind = TABLE.opcodes[name].operands[TABLE.opcodes[name].position[RELOCATABLE[name]]].type
    assert isinstance(kind, Immediate)
    value = data.draw(st.integers(0, min(kind.maximum, (1 << 20) - 1)))
    before = data.draw(st.integers(0, min(kind.maximum, (1 << 20) - 1)))
    bundle = with_value(name, before, bundle_format)
    code = bytearray(b"\xa5" + bundle.encode() + b"\x5a")
    apply_relocation(code, 1, relocation_type(bundle, slot, RELOCATABLE[name]), value)
    assert code[1:-1] == with_value(name, value, bundle_format).encode()
    assert (code[0], code[-1]) == (0xA5, 0x5A)


def test_relocations_that_cannot_be_are_refused() -> None:
    bundle = decode_bundle(assemble_program("add r0, r0, #1").code)
    with pytest.raises(InputError, match="operand c7s of add in format I32_ALU cannot name a symbol"):
        relocation_type(bundle, "alu", "c7s")
    with pytest.raises(InputError, match="value 0x100000 does not fit 20 bits"):
        apply_relocation(bytearray(6), 0, 1, 1 << 20)
    with pytest.raises(InputError, match="value 0x400 does not fit 10 bits"):
        apply_relocation(bytearray(4), 0, 10, 1024)
    with pytest.raises(InputError, match="patches 6 bytes, but the section ends at 0x8"):
        apply_relocation(bytearray(8), 4, 1, 0)
    with pytest.raises(InputError, match="type 54 is not known"):
        apply_relocation(bytearray(8), 0, 54, 0)


# --- what cannot be written -----------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"16386 bytes of code at 0x0 do not fit program memory: 16384"):
        write_executable(bytes(16386))
    with pytest.raises(InputError, match="at 0x10008 do not fit"):
        write_executable(b"\1\0", base=0x10008)
    with pytest.raises(InputError, match="2 bytes of data at 0x7ffff do not lie in data memory"):
        write_executable(b"\1\0", [(0x7FFFF, b"ab")])
    with pytest.raises(InputError, match="data at 0x70001 overlaps the data before it, which ends at 0x70002"):
        write_executable(b"\1\0", [(0x70001, b"ab"), (0x70000, b"ab")])
    with pytest.raises(InputError, match="undefined symbols helper, table"):
        write_executable(UNLINKED)
    with pytest.raises(InputError, match="assembled at base 0, not 0x40"):
        write_object(assemble_program("nop", 0x40))
    with pytest.raises(InputError, match="names unknown symbol nobody"):
        write_object(UNLINKED, relocations=[Relocation(".text", 0, 1, "nobody")])
    with pytest.raises(InputError, match=r"relocation in section .gone, which does not exist"):
        write_object(UNLINKED, relocations=[Relocation(".gone", 0, 1, "main")])
    with pytest.raises(InputError, match=r"symbol s of kind thing, .* notype, object"):
        write_executable(b"\1\0", symbols=[Symbol("s", 0, kind="thing")])
    image = read_elf(EXECUTABLE)
    with pytest.raises(InputError, match=r"section .text and the segment it lies in have different contents"):
        write_elf(ElfImage(False, 0, (Section(".text", 0, b"xx", flags=6),), image.segments, ()))
    with pytest.raises(InputError, match="two sections are called a"):
        write_elf(ElfImage(True, 0, (Section("a", 0, b""), Section("a", 0, b"")), (), ()))


def test_unknown_names_bring_hints() -> None:
    image = read_elf(EXECUTABLE)
    with pytest.raises(InputError, match="no symbol helpre; did you mean helper"):
        image.symbol("helpre")
    with pytest.raises(InputError, match="no symbol zzz; functions: main, helper"):
        image.symbol("zzz")
    with pytest.raises(InputError, match=r"no section .bss; there are .text, .data"):
        image.section(".bss")


# --- broken and foreign files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [EXECUTABLE, OBJECT], ids=["executable", "object"])
def test_a_file_truncated_anywhere_is_refused(data: bytes) -> None:
    for size in range(len(data)):
        with pytest.raises(FileFormatError) as caught:
            read_elf(data[:size], "cut.elf")
        assert str(caught.value).startswith("cut.elf: ") and "\n" not in str(caught.value)


@given(st.data())
@settings(max_examples=300)
def test_a_damaged_file_is_read_or_refused(data: st.DataObject) -> None:
    """Any change of some bytes gives an image or a FileFormatError, never another exception."""
    damaged = bytearray(data.draw(st.sampled_from([EXECUTABLE, OBJECT])))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = read_elf(bytes(damaged))
    except FileFormatError:
        return
    assert isinstance(image, ElfImage)


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    for prefix in (b"", b"\x7fELF\1\1\1" + bytes(9)):
        with pytest.raises(FileFormatError):
            read_elf(prefix + data)


def patched(offset: int, form: str, value: int) -> bytes:
    data = bytearray(EXECUTABLE)
    struct.pack_into(form, data, offset, value)
    return bytes(data)


FOREIGN = [
    (b"", "no ELF file, it starts with nothing, expected 7f454c46"),
    (b"!<arch>\n/", "an archive of objects; extract the object"),
    (b"MZ\x90\0", "it starts with 4d5a9000"),
    (patched(4, "B", 2), "64-bit little-endian ELF, expected 32-bit little-endian"),
    (patched(5, "B", 2), "32-bit big-endian ELF"),
    (patched(18, "<H", 62), "machine EM_X86_64, expected EM_AIE (264)"),
    (patched(36, "<I", 1), "e_flags 1 (AIE1), expected 2 (AIE2)"),
    (patched(36, "<I", 77), "e_flags 77 (an unknown architecture)"),
    (patched(16, "<H", 3), "ELF of type ET_DYN, expected an executable or a relocatable object"),
    (patched(46, "<H", 41), "e_shentsize is 41, expected 40"),
    (patched(28, "<I", 1 << 30), "truncated, program headers would end at byte"),
]


@pytest.mark.parametrize(("data", "message"), FOREIGN, ids=[m[:30] for _, m in FOREIGN])
def test_foreign_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        read_elf(data, "some.elf")
    assert message in str(caught.value)


def test_files_that_cannot_be_opened_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"gone.elf: No such file"):
        load_elf(tmp_path / "gone.elf")
    with pytest.raises(FileFormatError, match="Is a directory"):
        load_elf(tmp_path)
    path = tmp_path / "good.elf"
    path.write_bytes(EXECUTABLE)
    assert load_elf(path) == read_elf(EXECUTABLE)


def test_foreign_programs_are_read_and_written_again(foreign_programs: list[Path]) -> None:
    """What we keep of files linked by lld survives our writer; relocations of objects are where we say."""
    relocations = 0
    for path in [*foreign_programs, *foreign_programs[0].parent.rglob("*.o")]:
        if path.read_bytes().startswith(b"!<arch>"):
            continue
        image = load_elf(path)
        assert read_elf(write_elf(image)) == image, path
        relocations += check_relocations(image)
    print(f"{relocations} relocations of another compiler have the type that the operand's place gives")


def check_relocations(image: ElfImage) -> int:
    count = 0
    for section in (s for s in image.sections if s.is_code):
        types = {r.offset: r.type for r in image.relocations if r.section == section.name}
        for address, bundle in decode_program(section.data):
            if address in types:
                assert types.pop(address) in possible_types(bundle)
                count += 1
        assert not types
    return count


def possible_types(bundle: Bundle) -> set[int]:
    found = set()
    for instruction in bundle.operations:
        operand = RELOCATABLE.get(instruction.opcode.name) or ("cpmaddr" if instruction.opcode.is_branch else "")
        if operand in instruction.opcode.position:
            found.add(relocation_type(bundle, instruction.opcode.slot, operand))
    return found


def test_a_program_is_written_the_same_each_time() -> None:
    assert isinstance(PROGRAM, Program)
    assert write_executable(PROGRAM, [(0x71000, b"a")]) == write_executable(PROGRAM, [(0x71000, b"a")])
