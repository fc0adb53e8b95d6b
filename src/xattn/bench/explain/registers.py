"""How many registers hold a value that is still needed, bundle by bundle, by the control flow that a run took.

The pipeline is exposed, so a register is taken from the cycle in which a write lands to the last cycle in which the
value is read, not from issue to issue. A value that goes to its reader over a bypass needs no register in between.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import and_, or_

from xattn.bench.explain.execution import START, Execution
from xattn.bench.explain.multiplies import unread
from xattn.isa.codec import Bundle
from xattn.isa.model import Register
from xattn.isa.table import instruction_table
from xattn.isa.timing import timing_of

_DEPTH = 12  # cycles after issue in which everything has landed and been read

# Storage file → the file whose registers are counted: halves of vectors and parts of accumulators count as the whole.
_COUNTED = {"w": "x", "am": "cm"}
_FILES = ("r", "p", "m", "dj", "dn", "dc", "s", "x", "cm")


@dataclass(frozen=True)
class RegisterFile:
    """A register file, as the bits of its storage in the masks of this module: `members` has one mask a register."""

    name: str
    members: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many registers there are."""
        return len(self.members)

    def live(self, mask: int) -> int:
        """How many registers hold something of `mask`."""
        return sum(1 for member in self.members if member & mask)


@lru_cache(maxsize=1)
def _bits() -> dict[Register, int]:
    storage = [r for r in instruction_table().registers.values() if not r.parts]
    return {register: 1 << place for place, register in enumerate(storage)}


def _mask(register: Register) -> int:
    bits = _bits()
    mask = 0
    for leaf in register.storage:
        if leaf.file in _FILES or leaf.file in _COUNTED:
            mask |= bits[leaf]
    return mask


@lru_cache(maxsize=1)
def register_files() -> tuple[RegisterFile, ...]:
    """The files that a compiler allocates: r, p, m, dj, dn, dc, s, x (with its halves), cm (with its parts)."""
    bits = _bits()
    members: dict[str, dict[int, int]] = defaultdict(dict)
    for leaf, bit in bits.items():
        file = _COUNTED.get(leaf.file, leaf.file)
        if file in _FILES:
            number = int("".join(c for c in leaf.name if c.isdigit()))
            members[file][number] = members[file].get(number, 0) | bit
    return tuple(RegisterFile(name, tuple(members[name].values())) for name in _FILES if name in members)


@dataclass
class _Touched:
    """What a bundle reads and writes. Masks of all storage for each cycle after issue, one above the other (_at)."""

    reads: int = 0
    bypassed: int = 0  # reads that may come over a bypass
    writes: int = 0
    forwarded: int = 0  # writes that a bypass hands on a cycle early


def _at(cycle: int, mask: int = -1) -> int:
    return (mask & (1 << len(_bits())) - 1) << cycle * len(_bits())


def _touched(bundle: Bundle, word: int | None) -> _Touched:
    found = _Touched()
    for operation in bundle.operations:
        timing = timing_of(operation)
        ignored = sum(_mask(leaf) for leaf in unread(operation, word))
        for read in timing.reads:
            wanted = _at(read.cycle - 1, _mask(read.register) & ~ignored)
            if read.bypass is None:
                found.reads |= wanted
            else:
                found.bypassed |= wanted
        for write in timing.writes:
            landing = _at(write.cycle, _mask(write.register))
            found.writes |= landing
            if write.bypass is not None:
                found.forwarded |= landing
    return found


def live_registers(run: Execution) -> dict[int, int]:
    """For every bundle that ran, the storage that holds a value needed in its cycle or later, as a mask.

    Where ways meet, a write counts as landed only if it has on all of them, and a value as needed if it is on any: at
    the top of a short loop a register can seem taken that is not, never the other way round.
    """
    before: dict[int, set[int]] = {address: set() for address in run.bundles}
    after: dict[int, set[int]] = {address: set() for address in run.bundles}
    for source, target in run.edges:
        if source != START:
            before[target].add(source)
            after[source].add(target)
    first = {target for source, target in run.edges if source == START}
    touched = {address: _touched(bundle, run.words.get(address)) for address, bundle in run.bundles.items()}
    writes = _in_flight({a: t.writes for a, t in touched.items()}, before, first, every=True)
    forwarded = _in_flight({a: t.forwarded for a, t in touched.items()}, before, first, every=True)
    reads = _in_flight({a: t.reads for a, t in touched.items()}, before, first, every=False)
    bypassed = _in_flight({a: t.bypassed for a, t in touched.items()}, before, first, every=False)
    step = len(_bits())
    used = {a: (reads[a] | bypassed[a] & ~(forwarded[a] >> step)) & _at(0) for a in run.bundles}
    return _live(used, {a: writes[a] >> step & _at(0) for a in run.bundles}, before, after)


def _in_flight(
    own: Mapping[int, int], before: Mapping[int, set[int]], first: set[int], *, every: bool
) -> dict[int, int]:
    """What happens in each cycle after a bundle's issue by that bundle or by those issued before it.

    With `every` only what happens on all ways that lead to the bundle. Nothing reaches further than _DEPTH bundles.
    """
    state = dict(own)
    for _ in range(_DEPTH):
        state = {
            address: mine | _arriving(state, before[address], address in first, every) for address, mine in own.items()
        }
    return state


def _arriving(state: Mapping[int, int], sources: set[int], is_first: bool, every: bool) -> int:
    arriving = [state[source] >> len(_bits()) for source in sources] + ([0] if is_first else [])
    return reduce(and_ if every else or_, arriving)


def _live(
    used: Mapping[int, int], landing: Mapping[int, int], before: Mapping[int, set[int]], after: Mapping[int, set[int]]
) -> dict[int, int]:
    """Backwards until nothing changes: taken is what is read in this cycle, or before something new lands.

    `landing`: what lands in the cycle after each bundle, whichever bundle that brings.
    """
    taken = dict(used)
    waiting = set(used)
    while waiting:
        address = waiting.pop()
        mask = used[address]
        for target in after[address]:
            mask |= taken[target] & ~landing[address]
        if mask != taken[address]:
            taken[address] = mask
            waiting |= before[address]
    return taken


def named_registers(run: Execution) -> int:
    """The storage that the bundles that ran read or write, as a mask."""
    mask = 0
    for bundle in run.bundles.values():
        for operation in bundle.operations:
            timing = timing_of(operation)
            for access in (*timing.reads, *timing.writes):
                mask |= _mask(access.register)
    return mask


def most_live(live: Mapping[int, int], addresses: Iterable[int]) -> dict[str, int]:
    """By file, the most registers that are live at once in any of these bundles."""
    most: Counter[str] = Counter()
    for address in addresses:
        mask = live[address]
        for file in register_files():
            most[file.name] = max(most[file.name], file.live(mask))
    return dict(most)
