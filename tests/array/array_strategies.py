"""Hypothesis strategies for the array formats, and small files to damage."""

from __future__ import annotations

from uuid import UUID

from hypothesis import strategies as st

from xattn.array import instructions as ins
from xattn.array.aie_partition import AiePartition, CdoGroup, PartitionPdi
from xattn.array.buffer_descriptor import BufferDescriptor, Dimension, Iteration, LockUse, Packet
from xattn.array.cdo import Cdo, Command, Delay, DmaWrite, End, MaskPoll, MaskWrite, Nop, Other, Write
from xattn.array.registers import TileKind
from xattn.array.xclbin import Section, Xclbin

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u24 = st.integers(0, 0xFF_FFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
u64 = st.integers(0, 0xFFFF_FFFF_FFFF_FFFF)
name = st.text("abcXYZ_0123456789", min_size=1, max_size=15)


def whole_words(most: int) -> st.SearchStrategy[bytes]:
    """Up to `most` random words as bytes; now and then more than 255, which need the long form."""
    few = st.integers(0, most).flatmap(lambda count: st.binary(min_size=4 * count, max_size=4 * count))
    many = st.sampled_from([251, 252, 253, 254, 255, 300]).map(lambda count: bytes(range(4)) * count)
    return few | many


addresses = st.one_of(u32.map(lambda a: (a, False)), u64.map(lambda a: (a, True)))
other_opcodes = st.sampled_from([0x000, 0x109, 0x10A, 0x10C, 0x112, 0x119, 0x11F, 0x201, 0xFFFF])


@st.composite
def commands(draw: st.DrawFn) -> Command:
    address, wide = draw(addresses)
    return draw(
        st.one_of(
            st.builds(Write, st.just(address), u32, st.just(wide)),
            st.builds(MaskWrite, st.just(address), u32, u32, st.just(wide)),
            st.builds(MaskPoll, st.just(address), u32, u32, u32, st.lists(u32, max_size=2).map(tuple), st.just(wide)),
            st.builds(Delay, u32),
            st.builds(DmaWrite, u64, whole_words(12)),
            st.builds(Nop, whole_words(4)),
            st.builds(Other, other_opcodes, whole_words(6)),
            st.just(End()),
        )
    )


@st.composite
def cdos(draw: st.DrawFn) -> Cdo:
    chosen = tuple(draw(st.lists(commands(), max_size=12)))
    short = [index for index, command in enumerate(chosen) if len(command.arguments()) < 4 * 255]
    long_forms = draw(st.sets(st.sampled_from(short), max_size=3)) if short else set()
    return Cdo(chosen, draw(st.sampled_from([0x150, 0x200, 0x2FF])), frozenset(long_forms))


@st.composite
def array_commands(draw: st.DrawFn) -> Command:
    """Commands that real configurations of an XDNA1 array contain, in either address form."""
    address = draw(st.integers(0, (5 << 25) - 1)) & ~3
    wide = draw(st.booleans())
    return draw(
        st.one_of(
            st.just(Write(address, draw(u32), wide)),
            st.just(MaskWrite(address, draw(u32), draw(u32), wide)),
            st.just(MaskPoll(address, draw(u32), draw(u32), draw(u16), (), wide)),
            st.just(DmaWrite(address, draw(whole_words(9)))),
            st.just(Nop(draw(whole_words(3)))),
        )
    )


operations = st.one_of(
    st.builds(ins.Write32, u64, u32, u24, u32),
    st.builds(ins.BlockWrite, u32, st.lists(u32, max_size=9).map(tuple), u24, u32),
    st.builds(ins.MaskWrite, u64, u32, u32, u24, u32),
    st.builds(ins.MaskPoll, u64, u32, u32, u24, u32),
    st.builds(ins.Noop, u24),
    st.builds(ins.Preempt, u8, u16),
    st.builds(ins.LoadPdi, u16, u32, u64, u8),
    st.builds(ins.Sync, u8, u8, u8, st.booleans(), u8, u8, u24, u8, u8),
    st.builds(ins.AddressPatch, u64, u64, u64, u24, st.tuples(u32, u32, u32, u32)),
    st.builds(ins.Custom, st.integers(0x82, 0xFF), st.lists(u32, max_size=6).map(tuple), u24),
)
streams = st.builds(ins.InstructionStream, st.lists(operations, max_size=12).map(tuple), u8, u8, u8, u8, u16)

sections = st.builds(Section, u32, st.binary(max_size=40), name.map(str.encode) | st.just(b""))
uuids = st.binary(min_size=16, max_size=16).map(lambda raw: UUID(bytes=raw))
xclbins = st.builds(
    Xclbin,
    st.lists(sections, max_size=6).map(tuple),
    uuid=uuids,
    timestamp=u64,
    unique_id=u64,
    version=st.tuples(u8, u8, u16),
    feature_rom_timestamp=u64,
    mode=u16,
    action_mask=u16,
    interface_uuid=uuids,
    platform=name.map(str.encode),
    debug_file=name.map(str.encode),
    signature_length=st.integers(-1, 1 << 20),
    reserved=st.binary(min_size=28, max_size=28),
    key_block=st.binary(min_size=256, max_size=256),
    tail=st.binary(min_size=4, max_size=4),
)
groups = st.builds(CdoGroup, name, u8, u64, st.lists(u64, max_size=3).map(tuple), st.lists(u64, max_size=3).map(tuple))
partitions = st.builds(
    AiePartition,
    u16,
    st.lists(u16, max_size=4).map(tuple),
    st.lists(
        st.builds(PartitionPdi, uuids, st.binary(max_size=64), st.lists(groups, max_size=2).map(tuple)), max_size=3
    ).map(tuple),
    name,
    st.none() | name,
    u32,
    u64,
    u64,
    u8,
)


@st.composite
def buffer_descriptors(draw: st.DrawFn, kind: TileKind) -> BufferDescriptor:
    """A BD that this kind of tile can hold, over the full range of every field."""
    step, wrap, lengths, count = {
        TileKind.CORE: (1 << 13, 1 << 8, (1 << 14) - 1, 3),
        TileKind.MEM: (1 << 17, 1 << 10, (1 << 17) - 1, 4),
        TileKind.SHIM: (1 << 20, 1 << 10, (1 << 32) - 1, 3),
    }[kind]
    words = {TileKind.CORE: 1 << 14, TileKind.MEM: 1 << 19, TileKind.SHIM: 1 << 46}[kind]
    locks = 255 if kind is TileKind.MEM else 15
    steps = st.integers(1, step)
    inner = st.lists(st.builds(Dimension, steps, st.integers(0, wrap - 1)), max_size=count - 1)
    outer = st.lists(st.builds(Dimension, steps), max_size=1)
    inner_part = draw(inner)
    dimensions = [*inner_part, *(draw(outer) if len(inner_part) == count - 1 else [])]
    host = kind is TileKind.SHIM
    mem = kind is TileKind.MEM
    padding = st.tuples(st.integers(0, 63), st.integers(0, 31), st.integers(0, 15)) if mem else st.just((0, 0, 0))
    lock_value = st.integers(-64, 63)
    return BufferDescriptor(
        length=draw(st.integers(0, lengths)),
        address=4 * draw(st.integers(0, words - 1)),
        dimensions=tuple(dimensions),
        iteration=Iteration(draw(steps), draw(st.integers(1, 64)), draw(st.integers(0, 63))),
        packet=draw(st.none() | st.builds(Packet, st.integers(0, 31), st.integers(0, 7))),
        acquire=draw(st.none() | st.builds(LockUse, st.integers(0, locks), lock_value)),
        release=draw(st.none() | st.builds(LockUse, st.integers(0, locks), lock_value.filter(bool))),
        next_bd=draw(st.none() | st.integers(0, 47 if mem else 15)),
        valid=draw(st.booleans()),
        out_of_order_id=draw(st.integers(0, 63)),
        compression=not host and draw(st.booleans()),
        tlast_suppress=draw(st.booleans()),
        zero_before=draw(padding),
        zero_after=draw(padding),
        burst=draw(st.sampled_from([64, 128, 256])) if host else 64,
        cache=draw(st.integers(0, 15)) if host else 0,
        qos=draw(st.integers(0, 15)) if host else 0,
        smid=draw(st.integers(0, 15)) if host else 0,
        secure=host and draw(st.booleans()),
    )
