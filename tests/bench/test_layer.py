"""A layer through the machine code of `sound`: every integer counts, and a block that is wrong shows."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from xattn.bench import layer as module
from xattn.bench.layer import Layer, LayerRecord, verify_layer
from xattn.devices import head
from xattn.kernels import sound_layout
from xattn.numerics.synthetic import synthetic_activations
from xattn.whisper.rises import rising_blocks

TOKENS, HEADS = 150, 2


def small() -> Layer:
    made = synthetic_activations(4, heads=HEADS, tokens=TOKENS)
    return Layer(made.q, made.k, made.v, "synthetic", "seed 4")


def verified(order: str = "diagonal", **options: object) -> LayerRecord:
    return verify_layer(small(), order=order, clock_hz=1e9, **options)  # type: ignore[arg-type]


def test_every_head_and_every_block_is_exact() -> None:
    told: list[tuple[int, int, str]] = []
    record = verified(progress=lambda *at: told.append(at))
    assert record.passed and record.differences == 0
    assert [found.head for found in record.heads] == [0, 1] and record.blocks == HEADS * 3 * 3
    assert [done for done, _, _ in told] == [3, 6, 9, 12, 15, 18] and {total for _, total, _ in told} == {18}
    for found in record.heads:
        assert (found.blocks, found.masked_blocks) == (9, 3)
        assert (found.state_elements, found.output_elements) == (TOKENS * 66, TOKENS * 64)
    assert record.cycles == sum(found.cycles for found in record.heads)
    assert record.seconds == record.cycles / 1e9 and record.cycles_per_block == record.cycles / 18
    again = msgspec.json.decode(msgspec.json.encode(record), type=LayerRecord)
    assert again.heads == record.heads


@pytest.mark.parametrize("order", ["natural", "diagonal"])
def test_blocks_with_a_rescale_are_those_that_rise_in_the_scores(order: str) -> None:
    """Counted by other code, which never runs a kernel and has no state."""
    layer, record = small(), verified(order)
    for index, found in enumerate(record.heads):
        heads = slice(index, index + 1)
        after_the_first = rising_blocks(layer.q[heads], layer.k[heads], order) * (9 - 3)  # type: ignore[arg-type]
        assert found.rescaled_blocks == 3 + round(after_the_first)


def test_one_wrong_bit_of_one_block_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last keys of the second head lose one bit of one value on their way to the core."""
    packed = []

    def spoil(*operands: np.ndarray) -> dict[str, np.ndarray]:
        packed.append(arrays := sound_layout.pack_masked(*operands))
        if len(packed) == 2:
            arrays["v"].reshape(-1)[0] ^= 64
        return arrays

    monkeypatch.setattr(head, "pack_masked", spoil)
    record = verified()
    assert len(packed) == HEADS and not record.passed
    first, second = record.heads
    assert first.differences == 0
    assert second.state_differences > 0 and second.output_differences > 0
    assert record.differences == second.differences


def test_a_wrong_result_of_attention_shows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    right = module.attention

    def spoil(*operands: object, **options: object) -> np.ndarray:
        result = right(*operands, **options)
        result[1, 149, 63] = np.nextafter(result[1, 149, 63], np.float32(9))  # the last bit
        return result

    monkeypatch.setattr(module, "attention", spoil)
    record = verified()
    assert [(found.state_differences, found.output_differences) for found in record.heads] == [(0, 0), (0, 1)]
    assert not record.passed
