"""Program memory: the bytes that a core executes, decoded where it fetches them."""

from __future__ import annotations

from xattn.errors import InputError
from xattn.isa.codec import Bundle, decode_bundle
from xattn.isa.timing import PROGRAM_MEMORY_BYTES


class Program:
    """Program memory of 16 KB. `bundle(address)` decodes what stands there."""

    def __init__(self) -> None:
        self._pieces: list[tuple[int, bytes]] = []
        self._bundles: dict[int, Bundle] = {}

    def load(self, code: bytes, base: int) -> None:
        """Put code at an address. InputError when it does not fit, or lies over other code."""
        if base < 0 or base + len(code) > PROGRAM_MEMORY_BYTES:
            raise InputError(
                f"{len(code)} bytes of code at {base:#x} do not fit into program memory of {PROGRAM_MEMORY_BYTES} bytes"
            )
        for other, piece in self._pieces:
            if base < other + len(piece) and other < base + len(code):
                raise InputError(f"code at {base:#x} lies over code at {other:#x}")
        self._pieces.append((base, bytes(code)))
        self._bundles.clear()

    def clear(self) -> None:
        """Remove all code."""
        self._pieces.clear()
        self._bundles.clear()

    @property
    def pieces(self) -> tuple[tuple[int, bytes], ...]:
        """(address, code) of everything that was loaded, by address."""
        return tuple(sorted(self._pieces))

    def holds(self, address: int) -> bool:
        """Whether there is code at an address."""
        return any(base <= address < base + len(piece) for base, piece in self._pieces)

    def bundle(self, address: int) -> Bundle:
        """The bundle at an address. InputError outside of the code, FileFormatError where the bytes are no bundle."""
        if address not in self._bundles:
            for base, piece in self._pieces:
                if base <= address < base + len(piece):
                    self._bundles[address] = decode_bundle(piece[address - base :][:16], address)
                    break
            else:
                pieces = ", ".join(f"{base:#x}..{base + len(piece) - 1:#x}" for base, piece in sorted(self._pieces))
                raise InputError(
                    f"fetch from {address:#x}, where there is no code; code is at {pieces or 'no address'}"
                )
        return self._bundles[address]
