from fractions import Fraction

import numpy as np
import pytest
import sound_scalar
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.errors import InputError
from xattn.numerics.sound import dither_pattern, steps

ALL_SCORES = np.arange(-32768, 32768).astype(np.int16)


def test_linear_exp2_is_bfloat16_reinterpretation_for_every_pattern():
    d = np.arange(steps.BIAS, dtype=np.int16)
    expected = [int(sound_scalar.bfloat16(bits) * 2**16) for bits in range(steps.BIAS)]
    assert steps.linear_exp2(d).tolist() == expected


def test_linear_exp2_is_one_plus_fraction_times_a_power_of_two():
    """The definition without any float: (1 + f) 2^n in 1/65536, n whole octaves below 1."""
    for d in range(128, steps.BIAS):
        octave, rest = divmod(d, 128)
        exact = (1 + Fraction(rest, 128)) * Fraction(2) ** (octave - 127) * 2**16
        assert int(steps.linear_exp2(np.array([d], np.int16))[0]) == int(exact)


def test_linear_exp2_never_exceeds_the_true_power_by_more_than_a_sixteenth():
    d = np.arange(steps.BIAS - 4 * 128, steps.BIAS, dtype=np.int16)
    true = 2.0 ** (d / 128 - 127) * 2**16
    ratio = steps.linear_exp2(d) / true
    assert ratio.max() < 1.0615
    assert ratio.min() > 0.9999


def test_reference_is_the_next_higher_octave_for_every_score():
    expected = [max((s // 128 + 1) * 128, -129 * 128) for s in range(-32768, 32768)]
    got = steps.block_reference(ALL_SCORES[:, np.newaxis])
    assert got.tolist() == expected
    assert (got.min(), got.max()) == (steps.MIN_REFERENCE, steps.MAX_REFERENCE)


def test_row_operands_fit_int16_for_every_reference():
    references = np.arange(steps.MIN_REFERENCE, steps.MAX_REFERENCE + 1, 128, dtype=np.int32)
    assert steps.subtrahend(references).tolist() == [r - 127 * 128 for r in references.tolist()]
    assert (references - 128).min() >= -32768
    assert (references - 128).max() <= 32767


@pytest.mark.parametrize("reference", [steps.MIN_REFERENCE, -1280, 0, 128, 32768])
def test_exponents_for_every_score_up_to_the_reference(reference):
    scores = ALL_SCORES[reference > ALL_SCORES]
    d = steps.exponents(scores[np.newaxis], np.array([reference], np.int32))[0]
    assert d.tolist() == [max(int(s) + 127 * 128 - reference, 0) for s in scores]
    assert d.max() == steps.BIAS - 1


@pytest.mark.parametrize("name", ["dither16", "dither64", "nearest"])
def test_masked_scores_weigh_exactly_nothing(name):
    references = np.arange(steps.MIN_REFERENCE, steps.MAX_REFERENCE + 1, 128, dtype=np.int32)
    s = np.full((references.size, 64), steps.MASKED_SCORE)
    p = steps.narrow(steps.linear_exp2(steps.exponents(s, references)), dither_pattern(name))
    assert not p.any()


@pytest.mark.parametrize("offset", [0, 8, 128, 255])
def test_narrow_never_overflows(offset):
    p16 = np.arange(65281, dtype=np.uint32).astype(np.uint16)
    p = steps.narrow(p16, np.full(1, offset, np.uint8))
    assert p.tolist() == [(x + offset) // 256 for x in range(65281)]
    assert p[-1] == 255


@pytest.mark.parametrize(("name", "levels"), [("dither16", 16), ("dither64", 64)])
def test_dither_visits_evenly_spaced_levels_once_a_period(name, levels):
    pattern = dither_pattern(name)
    assert pattern.dtype == np.uint8
    assert sorted(pattern[:levels].tolist()) == [256 * i // levels + 128 // levels for i in range(levels)]
    assert pattern.tolist() == [sound_scalar.DITHERS[name](j) for j in range(64)]
    assert np.array_equal(dither_pattern(name, 200)[64:128], dither_pattern(name, 200)[:64])


def test_dither_refuses_an_unknown_name():
    with pytest.raises(InputError, match="dither is 'random'"):
        dither_pattern("random")


@settings(deadline=None)
@given(
    shift=st.integers(-18, 24),
    rounding=st.sampled_from(["floor", "half_even"]),
    dim=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_shift_and_saturate(shift, rounding, dim, seed):
    rng = np.random.default_rng(seed)
    q, k = rng.integers(-128, 128, (2, 5, dim), dtype=np.int8)
    got = steps.scores(q, k, shift, rounding)
    assert got.dtype == np.int16
    for i, j in np.ndindex(5, 5):
        exact = Fraction(int(q[i].astype(int) @ k[j].astype(int))) / Fraction(2) ** shift
        rounded = exact.numerator // exact.denominator if rounding == "floor" else round(exact)
        assert int(got[i, j]) == max(-32768, min(32767, rounded))


def test_scores_take_one_shift_a_head():
    rng = np.random.default_rng(0)
    q, k = rng.integers(-128, 128, (2, 3, 5, 8), dtype=np.int8)
    shift = np.array([-1, 0, 5]).reshape(3, 1, 1)
    got = steps.scores(q, k, shift)
    for head in range(3):
        assert np.array_equal(got[head], steps.scores(q[head], k[head], int(shift[head, 0, 0])))


def test_rescale_floors_and_stops_at_31():
    x = np.array([-(2**31), -3, 3, 2**31 - 1], np.int32)
    assert steps.rescale(x, np.full(4, 1, np.int32)).tolist() == [-(2**30), -2, 1, 2**30 - 1]
    assert steps.rescale(x, np.full(4, 400, np.int32)).tolist() == [-1, -1, 0, 0]
    assert steps.rescale(x, np.full(4, 400, np.int32), "half_even").tolist() == [-1, 0, 0, 1]
