"""How far an attention output, or its weights, is from the reference. All in float64, all defined for zero vectors.

`actual` comes first, `reference` second; both have the same shape. No single figure suffices: cosine is blind to a
wrong scale, a mean hides one ruined row, and a shared offset in V flatters every one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xattn.errors import InputError


def cosine(actual: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return the cosine of the angle between the flattened arrays; two zero vectors give 1, one of them gives 0."""
    x, y = _flat_pair(actual, reference)
    x_top, y_top = np.abs(x).max(initial=0.0), np.abs(y).max(initial=0.0)
    if x_top == 0 or y_top == 0:
        return float(x_top == y_top)
    # Brought to magnitude 1 first: squares of tiny or huge numbers leave float64.
    x, y = x / x_top, y / y_top
    return float(np.clip(np.dot(x / np.linalg.norm(x), y / np.linalg.norm(y)), -1.0, 1.0))


def correlation(actual: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return Pearson's correlation: the cosine of the arrays after each has lost its mean (so: of centred data)."""
    x, y = _flat_pair(actual, reference)
    return cosine(x - x.mean(), y - y.mean()) if x.size else 1.0


def relative_l2(actual: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return `|actual - reference| / |reference|` over all elements.

    A zero reference gives 0 for a zero error and infinity for any other.
    """
    x, y = _flat_pair(actual, reference)
    return _ratio(float(np.linalg.norm(x - y)), float(np.linalg.norm(y)))


def relative_l2_rows(actual: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.float64]:
    """Return the relative L2 error of each row: `[..., tokens, dim]` -> `[..., tokens]`; zero rows as `relative_l2`."""
    x, y = _pair(actual, reference)
    error, size = np.linalg.norm(x - y, axis=-1), np.linalg.norm(y, axis=-1)
    zero = size == 0
    return np.where(zero, np.where(error == 0, 0.0, np.inf), error / np.where(zero, 1.0, size))


def relative_l1(actual: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return `mean |actual - reference| / mean |reference|`; a zero reference as in `relative_l2`."""
    x, y = _flat_pair(actual, reference)
    return _ratio(float(np.abs(x - y).sum()), float(np.abs(y).sum()))


def mean_abs_error(actual: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return the mean of `|actual - reference|`, in the units of the data; 0 for empty arrays."""
    x, y = _flat_pair(actual, reference)
    return float(np.abs(x - y).mean()) if x.size else 0.0


def max_abs_error(actual: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return the largest `|actual - reference|`, in the units of the data; 0 for empty arrays."""
    x, y = _flat_pair(actual, reference)
    return float(np.abs(x - y).max(initial=0.0))


def rms_error(actual: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return the root of the mean square of `actual - reference`, in the units of the data; 0 for empty arrays."""
    x, y = _flat_pair(actual, reference)
    return float(np.sqrt(np.square(x - y).mean())) if x.size else 0.0


def fraction_within(actual: NDArray[Any], reference: NDArray[Any], tolerance: float) -> float:
    """Return the fraction of elements with `|actual - reference| <= tolerance`; 1 for empty arrays."""
    x, y = _flat_pair(actual, reference)
    return float((np.abs(x - y) <= tolerance).mean()) if x.size else 1.0


def saturated_fraction(values: NDArray[Any]) -> float:
    """Return the fraction of an integer array that stands at either end of its dtype's range; 0 for an empty one.

    Raises:
        InputError: the dtype is not an integer.
    """
    if not np.issubdtype(values.dtype, np.integer):
        raise InputError(f"values have dtype {values.dtype}, expected an integer: only those saturate")
    info = np.iinfo(values.dtype)
    at_end = (values == info.min) | (values == info.max)
    return float(at_end.mean()) if values.size else 0.0


def kl_divergence(actual: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return the mean over rows of `KL(reference || actual)` in nats, for weights `[..., keys]`.

    Rows are normalised to 1 first, so integer weights can be passed. A weight of 0 where the reference has mass would
    give infinity; it counts as 1e-12 of its row, about 27.6 nats for each unit of lost mass. Zero rows of `actual`
    count as uniform, zero rows of `reference` as an error of 0.

    Raises:
        InputError: negative weights.
    """
    x, y = _pair(actual, reference)
    if x.min(initial=0.0) < 0 or y.min(initial=0.0) < 0:
        raise InputError("weights hold negative numbers, expected probabilities or counts of at least 0")
    if not x.size:
        return 0.0
    p, q = _normalised(y), _normalised(x)
    q = np.where(q.sum(axis=-1, keepdims=True) > 0, q, 1.0 / x.shape[-1])
    terms = p * (np.log(np.maximum(p, 1e-300)) - np.log(np.maximum(q, 1e-12)))
    return float(terms.sum(axis=-1).mean())


def top1_agreement(actual: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return the fraction of rows `[..., keys]` whose heaviest key in `actual` has the reference's heaviest key in it.

    Keys that tie for the top of `actual` count as a match if one of them is the reference's first top key,
    shared out among the tied: a row of equal weights earns 1 / keys, not luck. No rows give 1.
    """
    x, y = _pair(actual, reference)
    if not x.size:
        return 1.0
    is_top = x == x.max(axis=-1, keepdims=True)
    wanted = np.take_along_axis(is_top, y.argmax(axis=-1)[..., np.newaxis], axis=-1)[..., 0]
    return float((wanted / is_top.sum(axis=-1)).mean())


@dataclass(frozen=True)
class OutputError:
    """The figures by which an attention output is judged; see the functions of the same names."""

    cosine: float
    correlation: float
    relative_l2: float
    relative_l2_row_mean: float
    relative_l2_row_worst: float
    mean_abs_error: float
    rms_error: float
    max_abs_error: float


def compare_outputs(actual: NDArray[Any], reference: NDArray[Any]) -> OutputError:
    """Compare two attention outputs `[..., tokens, dim]` by every output metric."""
    rows = relative_l2_rows(actual, reference)
    return OutputError(
        cosine=cosine(actual, reference),
        correlation=correlation(actual, reference),
        relative_l2=relative_l2(actual, reference),
        relative_l2_row_mean=float(rows.mean()) if rows.size else 0.0,
        relative_l2_row_worst=float(rows.max(initial=0.0)),
        mean_abs_error=mean_abs_error(actual, reference),
        rms_error=rms_error(actual, reference),
        max_abs_error=max_abs_error(actual, reference),
    )


def _pair(actual: NDArray[Any], reference: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if actual.shape != reference.shape:
        raise InputError(f"actual has shape {actual.shape} and reference {reference.shape}: they must be equal")
    return actual.astype(np.float64), reference.astype(np.float64)


def _flat_pair(actual: NDArray[Any], reference: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = _pair(actual, reference)
    return x.reshape(-1), y.reshape(-1)


def _ratio(error: float, size: float) -> float:
    if size == 0:
        return 0.0 if error == 0 else float("inf")
    return error / size


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total > 0, total, 1.0)
