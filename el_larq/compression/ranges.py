"""Ranges of int8 tensors, estimated from what an `Observer` has seen. Each estimator returns the lowest and the highest value.

A narrower range has smaller steps and clips outliers; the estimators differ in what they minimize.
"""

from collections.abc import Callable

import numpy as np

from el_larq.compression.affine import HIGHEST, LOWEST, STEPS, Affine
from el_larq.compression.observer import Observer
from el_larq.errors import unknown_name

PERCENTILE = 99.99
"""The share of the values, in percent, that `percentile` does not clip. Less clips what matters (docs/int8.md)."""

_SHARES = np.linspace(1.0, 0.1, 91)
"""The shares of the extremes that `mse` and `kl` try, the widest range first."""


def min_max(seen: Observer) -> tuple[float, float]:
    """The extremes: nothing is clipped, and one outlier takes the steps of all other values."""
    return seen.low, seen.high


def moving_average(seen: Observer) -> tuple[float, float]:
    """The averages of the batches' extremes."""
    return seen.average_low, seen.average_high


def percentile(seen: Observer, percent: float = PERCENTILE) -> tuple[float, float]:
    """The range without the outermost values, half of them at each end."""
    tail = (1 - percent / 100) / 2
    return _quantile(seen, tail), _quantile(seen, 1 - tail)


def mse(seen: Observer) -> tuple[float, float]:
    """The range with the smallest mean square of what rounding and clipping change."""
    used = seen.counts > 0
    x, counts = seen.centers[used], seen.counts[used]

    def square_error(_: Observer, low: float, high: float) -> float:
        return float((counts * np.square(x - Affine.of_range(low, high).rounded(x))).sum())

    return _searched(seen, square_error)


def kl(seen: Observer) -> tuple[float, float]:
    """The range that loses the least information: the smallest divergence of the quantized distribution from that of the values.

    Source: Migacz, 8-bit inference with TensorRT (2017), here with a zero point. Values beyond the range count at its ends, and the
    values of a step are spread evenly over its bins that are not empty.
    """
    return _searched(seen, _divergence)


RANGES: dict[str, Callable[[Observer], tuple[float, float]]] = {
    "mse": mse,
    "min-max": min_max,
    "moving-average": moving_average,
    "percentile": percentile,
    "kl": kl,
}
"""The estimators by name, the default first."""


def estimate_range(seen: Observer, name: str = "mse") -> tuple[float, float]:
    """The lowest and the highest value of a tensor's estimated range."""
    if name not in RANGES:
        raise unknown_name("range estimator", name, RANGES)
    return RANGES[name](seen)


def estimate(seen: Observer, name: str = "mse") -> Affine:
    """The quantization of a tensor's estimated range."""
    return Affine.of_range(*estimate_range(seen, name))


def _searched(seen: Observer, cost: Callable[[Observer, float, float], float]) -> tuple[float, float]:
    """The range of least cost, the widest where costs are equal; its two ends are chosen in turns from shares of the extremes."""
    low, high = 1.0, 1.0
    for _ in range(2):
        before = low
        high = min(_SHARES, key=lambda share: cost(seen, low * seen.low, share * seen.high))
        low = min(_SHARES, key=lambda share: cost(seen, share * seen.low, high * seen.high)) if seen.low else low
        if low == before:
            break
    return float(low * seen.low), float(high * seen.high)


def _quantile(seen: Observer, share: float) -> float:
    """The value below which a share of the values is, with those of a bin evenly distributed."""
    sums = np.concatenate([[0], np.cumsum(seen.counts)])
    value = np.interp(share * seen.count, sums, seen.edges)
    return float(np.clip(value, seen.low, seen.high))


def _divergence(seen: Observer, low: float, high: float) -> float:
    """KL(P || Q) of the histogram P, clipped to a range, and its quantized form Q; infinite for fewer bins than steps."""
    affine = Affine.of_range(low, high)
    inside = np.flatnonzero((seen.centers >= affine.low) & (seen.centers <= affine.high))
    if len(inside) < STEPS:
        return np.inf
    kept = seen.counts[inside].astype(np.float64)
    clipped = kept.copy()
    clipped[0] += seen.counts[: inside[0]].sum()
    clipped[-1] += seen.counts[inside[-1] + 1 :].sum()
    steps = affine.integers(seen.centers[inside]).astype(int) - LOWEST
    filled = (kept > 0).astype(np.float64)
    size = HIGHEST - LOWEST + 1
    mass, bins = (np.bincount(steps, values, minlength=size) for values in (kept, filled))
    q = filled * (mass / np.maximum(bins, 1))[steps]
    p, q = clipped / clipped.sum(), q / max(q.sum(), 1)
    used = p > 0
    # A clipped end may have no value of its own: as little as one value there.
    return float((p[used] * np.log(p[used] / np.maximum(q[used], 1 / seen.count))).sum())
