"""Whether kernels are exact: many inputs each, every element of every output compared with the integer model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from xattn.bench.activations import Activations, Int8, Tile
from xattn.bench.blocks import tile_for
from xattn.bench.ladder import LETTER, Progress, chosen_kernels, describe_difference
from xattn.bench.provenance import Provenance, provenance
from xattn.devices import Device, Host, KernelFaultError, Simulator
from xattn.kernels.registry import KernelSpec
from xattn.numerics.adversarial import ADVERSARIAL_CASES, adversarial_case
from xattn.numerics.sound import BlockMask, SoundState

NOISE_SHIFTS = (0, 4, 7, 9, 12)
TILES = 4  # of the activations, spread over the head


class VerifiedKernel(msgspec.Struct, kw_only=True):
    """One kernel on all of its inputs. Cycles are simulated."""

    name: str
    inputs: int
    elements: int
    """Of all outputs together."""
    differences: int
    """Elements that are not the integer model's."""
    fewest_cycles: int | None
    most_cycles: int | None
    faults: list[str]
    """Where it differs, what was found wrong, and why it failed; one line each."""
    notes: list[str]

    @property
    def passed(self) -> bool:
        """Whether it is exact and nothing was found wrong."""
        return not self.differences and not self.faults


class VerifyRecord(msgspec.Struct, kw_only=True, tag_field="kind", tag="verify"):
    """Kernels beside their integer models."""

    provenance: Provenance
    tokens: int
    width: int
    inputs: list[str]
    """What the inputs are, one line each kind."""
    kernels: list[VerifiedKernel]

    @property
    def passed(self) -> bool:
        """Whether every kernel passed."""
        return all(kernel.passed for kernel in self.kernels)


@dataclass(frozen=True)
class Case:
    """One input of a kernel, and what it is."""

    what: str
    q: Int8
    k: Int8
    v: Int8
    shift: int
    before: SoundState | None = None
    mask: BlockMask | None = None


def verify_kernels(
    names: Sequence[str],
    activations: Activations,
    tokens: int = 64,
    width: int = 64,
    *,
    device: Device | None = None,
    progress: Progress | None = None,
) -> VerifyRecord:
    """Run the kernels called `names` (all that take the shape by default) on noise, awkward rows and activations.

    InputError for an unknown kernel or a shape that one cannot take. What is wrong with a kernel is in its record.
    """
    specs = chosen_kernels(names, tokens, width)
    made = {spec.name: list(cases(spec, activations, tokens, width)) for spec in specs}
    done, total = 0, sum(map(len, made.values()))
    records = []
    for spec in specs:
        kernel = _Verified(spec, tokens, width, Simulator() if device is None else device)
        for case in made[spec.name]:
            if progress is not None:
                progress(done, total, f"{spec.name}: {case.what}")
            done += 1
            if not kernel.failed:
                kernel.check(case)
        records.append(kernel.record)
    inputs = [
        f"noise, scores shifted right by {', '.join(map(str, NOISE_SHIFTS))}",
        f"awkward rows: {', '.join(ADVERSARIAL_CASES)}",
        f"activations: {activations.description}",
    ]
    if any(spec.carries_state for spec in specs):
        inputs.append("blocks of flash attention: from the state before any key, and from one that others have left")
    if any(spec.takes_mask for spec in specs):
        inputs.append("masks of keys: random, from none masked to all; causal ones: the diagonal anywhere")
    return VerifyRecord(provenance=provenance(), tokens=tokens, width=width, inputs=inputs, kernels=records)


def cases(spec: KernelSpec, activations: Activations, tokens: int, width: int) -> Iterator[Case]:
    """The inputs of a kernel, always the same."""
    random = np.random.default_rng(7)
    state: SoundState | None = None
    for number, shift in enumerate(NOISE_SHIFTS):
        q, k, v = random.integers(-128, 128, (3, tokens, width), dtype=np.int8)
        case = Case(f"noise >> {shift}", q, k, v, shift, state, _mask(spec, number / (len(NOISE_SHIFTS) - 1)))
        yield case
        state = _state_after(spec, case)
    for name in ADVERSARIAL_CASES:
        made = adversarial_case(name, tokens, width)
        for shift in dict.fromkeys((0, filling_shift(made.q, made.k))):
            yield Case(f"{name} >> {shift}", made.q, made.k, made.v, shift, None, _mask(spec, 0.7))
    most = len(activations.q) - tokens
    for first in dict.fromkeys(most * i // (TILES - 1) for i in range(TILES)):
        for rising in (False, True) if spec.carries_state else (False,):
            tile: Tile = tile_for(replace(spec, rising=rising), activations, first, tokens, width)
            what = f"tokens {first} to {first + tokens - 1}"
            yield Case(what, tile.q, tile.k, tile.v, tile.shift, tile.before, tile.mask)


def filling_shift(q: Int8, k: Int8) -> int:
    """The shift by which the largest score just fills eight bits."""
    top = int(np.abs(q.astype(int) @ k.T.astype(int)).max())
    return max(0, top.bit_length() - 7)


def _mask(spec: KernelSpec, kept: float) -> BlockMask | None:
    """A mask in which a key counts with the probability `kept`, and the diagonal is somewhere in the block."""
    if not spec.takes_mask:
        return None
    random, keys = np.random.default_rng(int(100 * kept)), spec.shapes[0][0]
    diagonal = int(random.integers(-keys, keys)) if spec.takes_diagonal else None
    return BlockMask(random.random(keys) < kept, diagonal)


def _state_after(spec: KernelSpec, case: Case) -> SoundState | None:
    if not spec.carries_state:
        return None
    result = Host().load(spec, *case.q.shape).run(case.q, case.k, case.v, case.shift, case.before, case.mask)
    return SoundState.from_matrix(result.output.astype(np.int32))


class _Verified:
    """A kernel on a device, its model beside it, and what came out so far."""

    def __init__(self, spec: KernelSpec, tokens: int, width: int, device: Device) -> None:
        self.spec, self.failed = spec, False
        self._kernel, self._model = device.load(spec, tokens, width), Host().load(spec, tokens, width)
        self._cycles: list[int] = []
        self.record = VerifiedKernel(
            name=spec.name,
            inputs=0,
            elements=0,
            differences=0,
            fewest_cycles=None,
            most_cycles=None,
            faults=[],
            notes=[],
        )

    def check(self, case: Case) -> None:
        """Run both; after a fault that ends a run, the kernel has failed."""
        record, operands = self.record, (case.q, case.k, case.v, case.shift, case.before, case.mask)
        record.inputs += 1
        expected = self._model.run(*operands).output
        try:
            result = self._kernel.run(*operands)
        except KernelFaultError as fault:
            self.failed = True
            record.faults.append(f"{case.what}: {fault}")
            return
        record.elements += expected.size
        record.differences += int((result.output != expected).sum())
        difference = describe_difference(case.what, result.output, expected, LETTER[self.spec.computes])
        record.faults += [difference] if difference else []
        record.faults += [finding for finding in result.findings if finding not in record.faults]
        record.notes += [result.note] if result.note and result.note not in record.notes else []
        if result.cycles is not None:
            self._cycles.append(result.cycles)
            record.fewest_cycles, record.most_cycles = min(self._cycles), max(self._cycles)
