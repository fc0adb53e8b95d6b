"""Buffer descriptors (BDs) in real units, and the register words that hold them, for the three kinds of tile.

The hardware stores steps and the iteration count minus one and counts in 32-bit words; here steps are the real step,
addresses are bytes and lengths are words. Which bits hold what comes from the register table alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from xattn.array.registers import TileKind, register
from xattn.array.words import WORD
from xattn.errors import InputError

BURST_LENGTHS = (64, 128, 256)


@dataclass(frozen=True, slots=True)
class Dimension:
    """One loop of the access pattern: `step` (words, at least 1) per turn; `wrap` turns, 0 for as many as there are."""

    step: int = 1
    wrap: int = 0


@dataclass(frozen=True, slots=True)
class Iteration:
    """An offset that grows by `step` words each time the BD is used, and starts anew after `count` uses (1 to 64)."""

    step: int = 1
    count: int = 1
    current: int = 0


@dataclass(frozen=True, slots=True)
class Packet:
    """The packet header that an MM2S channel puts in front: stream `id` (5 bits) and `kind` (3 bits)."""

    id: int
    kind: int = 0


@dataclass(frozen=True, slots=True)
class LockUse:
    """A lock and a change. Acquire: -n waits for at least n and takes n, +n waits for exactly n. Release: adds n."""

    lock: int
    value: int


@dataclass(frozen=True, slots=True)
class BufferDescriptor:
    """One DMA transfer. Two BDs that mean the same are equal: trailing plain dimensions are dropped.

    address: first byte. Core and mem tiles: inside the tile DMA's window (a mem tile's own memory starts at 0x80000);
    shim tiles: a 48-bit host address. length: 32-bit words. dimensions: innermost first, at most 3 (mem tiles 4); the
    outermost one has no wrap. zero_before, zero_after: padding of dimensions 0, 1, 2 (mem tiles, MM2S).
    burst: bytes per host burst, 64, 128 or 256 (shim tiles). cache, qos, smid, secure: AXI attributes (shim tiles).
    """

    length: int
    address: int = 0
    dimensions: tuple[Dimension, ...] = ()
    iteration: Iteration = Iteration()
    packet: Packet | None = None
    acquire: LockUse | None = None
    release: LockUse | None = None
    next_bd: int | None = None
    valid: bool = True
    out_of_order_id: int = 0
    compression: bool = False
    tlast_suppress: bool = False
    zero_before: tuple[int, int, int] = (0, 0, 0)
    zero_after: tuple[int, int, int] = (0, 0, 0)
    burst: int = 64
    cache: int = 0
    qos: int = 0
    smid: int = 0
    secure: bool = False

    def __post_init__(self) -> None:
        dimensions = self.dimensions
        while dimensions and dimensions[-1] == Dimension():
            dimensions = dimensions[:-1]
        object.__setattr__(self, "dimensions", dimensions)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How one kind of tile stores a BD: number of words and of dimensions, and the optional features it has."""

    words: int
    dimensions: int
    zero_padding: bool = False
    compression: bool = True
    host: bool = False


_LAYOUTS = {
    TileKind.CORE: _Layout(words=6, dimensions=3),
    TileKind.MEM: _Layout(words=8, dimensions=4, zero_padding=True),
    TileKind.SHIM: _Layout(words=8, dimensions=3, compression=False, host=True),
}


def bd_words(kind: TileKind) -> int:
    """Register words of one BD: 6 in core tiles, 8 in mem and shim tiles."""
    return _LAYOUTS[kind].words


def bd_offset(kind: TileKind, bd: int) -> int:
    """Byte offset inside the tile of the first register of BD number `bd`."""
    return register(kind, f"DMA_BD{bd}_0").offset


def encode_bd(kind: TileKind, bd: BufferDescriptor) -> tuple[int, ...]:
    """The register words of `bd`; what this kind of tile cannot do is an InputError."""
    layout = _LAYOUTS[kind]
    fields = _common_fields(bd)
    fields |= _address_fields(bd, layout)
    fields |= _dimension_fields(bd, layout)
    fields |= _optional_fields(bd, kind, layout)
    words = []
    for index in range(layout.words):
        found = register(kind, f"DMA_BD0_{index}")
        words.append(found.encode(**{field.name: fields.pop(field.name) for field in found.fields}))
    return tuple(words)


def decode_bd(kind: TileKind, words: tuple[int, ...]) -> BufferDescriptor:
    """The BD in these register words (6 or 8, by kind).

    What has no effect is dropped: reserved bits, and lock, packet or next-BD fields that are not enabled. The undefined
    burst code 3 reads as 256 bytes.
    """
    layout = _LAYOUTS[kind]
    if len(words) != layout.words:
        raise InputError(f"a BD of a {kind.value} tile has {layout.words} words, not {len(words)}")
    fields: dict[str, int] = {}
    for index, word in enumerate(words):
        fields |= register(kind, f"DMA_BD0_{index}").decode(word)
    get = fields.get
    dimensions = tuple(Dimension(fields[f"D{n}_Stepsize"] + 1, get(f"D{n}_Wrap", 0)) for n in range(layout.dimensions))
    return BufferDescriptor(
        length=fields["Buffer_Length"],
        address=_address(fields, layout),
        dimensions=dimensions,
        iteration=Iteration(
            fields["Iteration_Stepsize"] + 1, fields["Iteration_Wrap"] + 1, fields["Iteration_Current"]
        ),
        packet=Packet(fields["Packet_ID"], fields["Packet_Type"]) if fields["Enable_Packet"] else None,
        acquire=LockUse(fields["Lock_Acq_ID"], fields["Lock_Acq_Value"]) if fields["Lock_Acq_Enable"] else None,
        release=LockUse(fields["Lock_Rel_ID"], fields["Lock_Rel_Value"]) if fields["Lock_Rel_Value"] else None,
        next_bd=fields["Next_BD"] if fields["Use_Next_BD"] else None,
        valid=bool(fields["Valid_BD"]),
        out_of_order_id=fields["Out_Of_Order_BD_ID"],
        compression=bool(get("Enable_Compression", 0)),
        tlast_suppress=bool(fields["TLAST_Suppress"]),
        zero_before=(get("D0_Zero_Before", 0), get("D1_Zero_Before", 0), get("D2_Zero_Before", 0)),
        zero_after=(get("D0_Zero_After", 0), get("D1_Zero_After", 0), get("D2_Zero_After", 0)),
        burst=BURST_LENGTHS[min(get("Burst_Length", 0), len(BURST_LENGTHS) - 1)],
        cache=get("AxCache", 0),
        qos=get("AxQoS", 0),
        smid=get("SMID", 0),
        secure=bool(get("Secure_Access", 0)),
    )


def _common_fields(bd: BufferDescriptor) -> dict[str, int]:
    packet, acquire, release = bd.packet or Packet(0), bd.acquire or LockUse(0, 0), bd.release or LockUse(0, 0)
    if bd.release is not None and bd.release.value == 0:
        raise InputError("a BD cannot release a lock by 0; leave `release` out instead")
    return {
        "Buffer_Length": bd.length,
        "Iteration_Stepsize": bd.iteration.step - 1,
        "Iteration_Wrap": bd.iteration.count - 1,
        "Iteration_Current": bd.iteration.current,
        "Enable_Packet": bd.packet is not None,
        "Packet_ID": packet.id,
        "Packet_Type": packet.kind,
        "Out_Of_Order_BD_ID": bd.out_of_order_id,
        "TLAST_Suppress": bd.tlast_suppress,
        "Next_BD": bd.next_bd or 0,
        "Use_Next_BD": bd.next_bd is not None,
        "Valid_BD": bd.valid,
        "Lock_Rel_ID": release.lock,
        "Lock_Rel_Value": release.value,
        "Lock_Acq_Enable": bd.acquire is not None,
        "Lock_Acq_ID": acquire.lock,
        "Lock_Acq_Value": acquire.value,
    }


def _address_fields(bd: BufferDescriptor, layout: _Layout) -> dict[str, int]:
    if bd.address % WORD:
        raise InputError(f"a BD's address has to be a multiple of {WORD} bytes, not {bd.address:#x}")
    words = bd.address // WORD
    if layout.host:
        return {"Base_Address_Low": words & ((1 << 30) - 1), "Base_Address_High": words >> 30}
    return {"Base_Address": words}


def _address(fields: dict[str, int], layout: _Layout) -> int:
    if layout.host:
        return (fields["Base_Address_High"] << 30 | fields["Base_Address_Low"]) * WORD
    return fields["Base_Address"] * WORD


def _dimension_fields(bd: BufferDescriptor, layout: _Layout) -> dict[str, int]:
    if len(bd.dimensions) > layout.dimensions:
        raise InputError(f"a BD has {len(bd.dimensions)} dimensions here; {layout.dimensions} fit; split the transfer")
    padded = bd.dimensions + (Dimension(),) * (layout.dimensions - len(bd.dimensions))
    if padded[-1].wrap:
        raise InputError(f"dimension {layout.dimensions - 1} of a BD cannot wrap; it runs until the length is reached")
    fields = {f"D{n}_Stepsize": dimension.step - 1 for n, dimension in enumerate(padded)}
    return fields | {f"D{n}_Wrap": dimension.wrap for n, dimension in enumerate(padded[:-1])}


def _optional_fields(bd: BufferDescriptor, kind: TileKind, layout: _Layout) -> dict[str, int]:
    for used, possible, what in (
        (any(bd.zero_before + bd.zero_after), layout.zero_padding, "zero padding"),
        (bd.compression, layout.compression, "compression"),
        (bd.burst != 64 or bd.cache or bd.qos or bd.smid or bd.secure, layout.host, "host bursts and AXI attributes"),
    ):
        if used and not possible:
            raise InputError(f"a BD of a {kind.value} tile has no {what}")
    if bd.burst not in BURST_LENGTHS:
        raise InputError(f"a host burst of {bd.burst} bytes is not possible; use one of {BURST_LENGTHS}")
    fields: dict[str, int] = {"Enable_Compression": bd.compression}
    for n in range(3):
        fields |= {f"D{n}_Zero_Before": bd.zero_before[n], f"D{n}_Zero_After": bd.zero_after[n]}
    attributes = {"AxCache": bd.cache, "AxQoS": bd.qos, "SMID": bd.smid, "Secure_Access": int(bd.secure)}
    return fields | attributes | {"Burst_Length": BURST_LENGTHS.index(bd.burst)}
