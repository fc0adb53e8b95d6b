"""A whole layer of a model through the machine code of `sound`: every head, every block, every integer compared."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import msgspec
import numpy as np

from xattn.bench.activations import Float32
from xattn.bench.ladder import Progress
from xattn.bench.provenance import Provenance, provenance
from xattn.bench.record import CYCLES_ARE
from xattn.cpu.attention import attention
from xattn.devices.head import MASKED, WHOLE, HeadOnCore, HeadRun
from xattn.numerics.sound import BLOCK, Order, SoundOperands, attend, finish, quantize_operands


@dataclass(frozen=True)
class Layer:
    """All heads of a layer: float32 Q, K, V `[heads, tokens, 64]`, Q already multiplied by the softmax's factor."""

    q: Float32
    k: Float32
    v: Float32
    description: str
    """What made the activations: the model and its weights, or the random numbers."""
    place: str
    """The clip and the layer, for a person."""
    notes: tuple[str, ...] = ()


class HeadRecord(msgspec.Struct, kw_only=True):
    """One head. Cycles are simulated, on one core."""

    head: int
    blocks: int
    masked_blocks: int
    """Of the blocks, those with keys that do not count, such as the last one of 1,500."""
    rescaled_blocks: int
    """Of the blocks, those in which a reference rose, the first one of each 64 queries included."""
    cycles: int
    state_elements: int
    """Integers of the state after the last block: sums, running sum and reference of every query."""
    state_differences: int
    """Of these, those that are not the integer model's."""
    output_elements: int
    output_differences: int
    """Elements of the result after the division, float32, that are not `xattn.attention`'s in every bit."""

    @property
    def differences(self) -> int:
        """All of them."""
        return self.state_differences + self.output_differences


class LayerRecord(msgspec.Struct, kw_only=True, tag_field="kind", tag="layer"):
    """A layer. Cycles and seconds on the core are simulated; `host_seconds` is what the check took on this computer."""

    provenance: Provenance
    description: str
    place: str
    tokens: int
    width: int
    order: str
    programs: list[str]
    cycles_are: str
    clock_hz: float
    heads: list[HeadRecord]
    blocks: int
    rescaled_blocks: int
    cycles: int
    cycles_per_block: float
    seconds: float
    """Of one core at the clock."""
    differences: int
    findings: list[str]
    host_seconds: float
    notes: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing differs and nothing was found wrong."""
        return not self.differences and not self.findings


def verify_layer(
    layer: Layer, *, order: Order = "diagonal", clock_hz: float, progress: Progress | None = None
) -> LayerRecord:
    """Run every block of every head on the simulated core, and compare.

    The quantized operands are those of `xattn.attention`. `progress` counts blocks. InputError for operands that the
    kernel cannot take, KernelFaultError when it fails.
    """
    started = perf_counter()
    operands = quantize_operands(layer.q, layer.k, layer.v, scaling=1.0)
    wanted = attention(layer.q, layer.k, layer.v, scaling=1.0, order=order)
    core = HeadOnCore()
    count = len(layer.q)
    side = -(-layer.q.shape[1] // BLOCK), -(-layer.k.shape[1] // BLOCK)
    total = count * side[0] * side[1]
    heads: list[HeadRecord] = []
    findings: dict[str, None] = {}
    notes: dict[str, None] = dict.fromkeys(layer.notes)
    finished = 0
    for head in range(count):

        def done(blocks: int, head: int = head) -> None:
            nonlocal finished
            finished += blocks
            if progress is not None:
                progress(finished, total, f"head {head}, blocks of 64×64")

        q, k, v = (x[head] for x in (operands.q, operands.k, operands.v))
        run = core.attend(q, k, v, int(operands.shift[head].item()), order=order, done=done)
        heads.append(_compared(head, run, _one_head(operands, head), order, wanted[head]))
        findings |= dict.fromkeys(run.findings)
        notes |= dict.fromkeys(run.notes)
    cycles, blocks = sum(h.cycles for h in heads), sum(h.blocks for h in heads)
    return LayerRecord(
        provenance=provenance(),
        description=layer.description,
        place=layer.place,
        tokens=layer.q.shape[1],
        width=layer.q.shape[2],
        order=order,
        programs=[WHOLE, MASKED],
        cycles_are=CYCLES_ARE,
        clock_hz=clock_hz,
        heads=heads,
        blocks=blocks,
        rescaled_blocks=sum(h.rescaled_blocks for h in heads),
        cycles=cycles,
        cycles_per_block=cycles / blocks,
        seconds=cycles / clock_hz,
        differences=sum(h.differences for h in heads),
        findings=list(findings),
        host_seconds=perf_counter() - started,
        notes=list(notes),
    )


def _one_head(operands: SoundOperands, head: int) -> SoundOperands:
    return SoundOperands(**{name: array[head] for name, array in vars(operands).items()})


def _compared(head: int, run: HeadRun, operands: SoundOperands, order: Order, wanted: Float32) -> HeadRecord:
    """The head beside the integer model, and its quotients beside the result of `xattn.attention`."""
    state = attend(operands, order=order).matrix
    output = (finish(run.state) * operands.v_scale).astype(np.float32)
    return HeadRecord(
        head=head,
        blocks=run.blocks,
        masked_blocks=run.masked_blocks,
        rescaled_blocks=run.rescaled_blocks,
        cycles=run.cycles,
        state_elements=state.size,
        state_differences=int((run.state.matrix != state).sum()),
        output_elements=output.size,
        output_differences=int((output.view(np.uint32) != wanted.view(np.uint32)).sum()),
    )
