"""Blocks in mid-sequence: which keys the block and the state hold, that the references do as said, and the truth."""

from __future__ import annotations

import numpy as np
import pytest

from xattn.bench import Activations, Tile, cut_block, synthetic_activations, tile_for
from xattn.errors import InputError
from xattn.kernels.registry import kernel_spec
from xattn.numerics.sound import finish, init_state, process_block, quantize_operands


def head(tokens: int, seed: int = 3) -> Activations:
    whole = synthetic_activations(seed)
    q, k, v = (x[:tokens] for x in (whole.q, whole.k, whole.v))
    return Activations(q, k, v, "synthetic", "a short head")


def plain_attention(activations: Activations, tile: Tile, rising: bool) -> np.ndarray:
    """O of the tile's queries over the keys that the state and the block cover, row by row."""
    operands = quantize_operands(activations.q, activations.k, activations.v, scaling=1.0)
    floor = (tile.q.astype(int) @ operands.k.T.astype(int)) >> tile.shift
    rows = []
    for i in range(64):
        query, own = activations.q[tile.first + i].astype(float), range(tile.first, tile.first + 64)
        top = max(floor[i, own]) // 128
        seen = [j for j in range(len(operands.k)) if not rising or j in own or floor[i, j] // 128 < top]
        weight = np.exp(activations.k[seen].astype(float) @ query)
        rows.append(weight / weight.sum() @ activations.v[seen])
    return np.array(rows)


@pytest.mark.parametrize("first", [0, 150, 256])
@pytest.mark.parametrize("rising", [False, True])
def test_references_rise_in_every_row_or_in_none(first: int, rising: bool) -> None:
    tile = cut_block(head(320), first, rising=rising)
    assert tile.before is not None
    assert (tile.before.running_sum > 0).all(), "the state has seen nothing"
    after = process_block(tile.before, tile.q, tile.k, tile.v, tile.shift)
    rises = after.reference > tile.before.reference
    assert rises.all() if rising else not rises.any()
    np.testing.assert_allclose(tile.truth, plain_attention(head(320), tile, rising))
    error = finish(after) * tile.v_scale - tile.truth
    assert np.linalg.norm(error) / np.linalg.norm(tile.truth) < 0.03


def test_the_block_and_the_state_share_no_key() -> None:
    """Of what the state has seen and the block holds, every key counts once: the sums are those of all keys at once."""
    activations = head(256)
    operands = quantize_operands(activations.q, activations.k, activations.v, scaling=1.0)
    tile = cut_block(activations, 64, rising=False)
    place = {key.tobytes(): j for j, key in enumerate(operands.k)}
    block = [place[key.tobytes()] for key in tile.k]
    assert len(set(block)) == 64 and block[0] >= 128
    np.testing.assert_array_equal(operands.v[block], tile.v)
    others = [j for j in range(256) if j not in block]
    assert tile.before is not None
    once = process_block(
        init_state((64,)), tile.q, operands.k[others], operands.v[others], tile.shift
    )  # one block of 192 keys: no rescaling
    np.testing.assert_array_equal(once.reference, tile.before.reference)
    difference = once.running_sum - tile.before.running_sum
    assert (np.abs(difference) <= 0.05 * once.running_sum + 6).all()


def test_a_masked_block_is_the_last_one_of_a_head() -> None:
    activations = head(220)
    tile, whole = (
        tile_for(kernel_spec("sound_masked"), activations, 64, 64, 64),
        cut_block(activations, 64, rising=False),
    )
    assert tile.mask is not None and tile.before is not None and whole.before is not None
    np.testing.assert_array_equal(tile.mask.keys, np.arange(64) < 220 % 64)
    np.testing.assert_array_equal(tile.k[:28], whole.k[:28])
    assert not tile.k[28:].any() and not tile.v[28:].any()
    after = process_block(tile.before, tile.q, tile.k, tile.v, tile.shift, key_mask=tile.mask.keys)
    np.testing.assert_array_equal(after.reference, tile.before.reference)
    np.testing.assert_allclose(tile.truth, whole.truth)  # with the state before, all keys are seen in both
    error = finish(after) * tile.v_scale - tile.truth
    assert np.linalg.norm(error) / np.linalg.norm(tile.truth) < 0.03
    assert (tile.before.running_sum > whole.before.running_sum).any()  # which has seen 36 keys less


def test_a_block_on_the_diagonal_hides_keys_from_some_queries() -> None:
    tile = tile_for(kernel_spec("sound_causal"), head(220), 64, 64, 64)
    assert tile.mask is not None and tile.before is not None
    np.testing.assert_array_equal(tile.mask.visible(64), np.tri(64, dtype=bool))
    after = process_block(tile.before, tile.q, tile.k, tile.v, tile.shift, key_mask=tile.mask.visible(64))
    np.testing.assert_array_equal(after.reference, tile.before.reference)
    seen = after.running_sum - tile.before.running_sum
    assert seen[32:].mean() > 2 * seen[:16].mean()
    error = finish(after) * tile.v_scale - tile.truth
    assert np.linalg.norm(error) / np.linalg.norm(tile.truth) < 0.03


def test_a_kernel_gets_the_tile_of_its_kind() -> None:
    activations = head(192)
    assert tile_for(kernel_spec("vectorized"), activations, 0, 16, 16, 5).before is None
    assert tile_for(kernel_spec("vectorized"), activations, 0, 16, 16, 5).shift == 5
    stands = tile_for(kernel_spec("sound"), activations, 64, 64, 64)
    rises = tile_for(kernel_spec("sound_rescale"), activations, 64, 64, 64)
    for tile, rising in ((stands, False), (rises, True)):
        wanted = cut_block(activations, 64, rising=rising)
        assert tile.before is not None and wanted.before is not None
        np.testing.assert_array_equal(tile.before.matrix, wanted.before.matrix)
        np.testing.assert_array_equal(tile.k, wanted.k)
    masked = tile_for(kernel_spec("sound_masked"), activations, 64, 64, 64)
    assert masked.mask is not None and masked.mask.keys.all()  # 192 keys: the last block is whole
    assert stands.mask is None
    np.testing.assert_array_equal(masked.k, stands.k)


def test_what_a_head_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="first token 1 does not fit"):
        cut_block(head(64), 1, rising=True)
    with pytest.raises(InputError, match="a tile of 64 tokens × 64 channels; the head has 32 × 64"):
        cut_block(head(32), 0, rising=False)
    with pytest.raises(InputError, match=r"the head has 70 tokens, of which \d+ are no row's best key; a block takes"):
        cut_block(head(70), 0, rising=False)
