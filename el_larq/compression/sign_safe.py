"""int8 tensors that feed a sign: which values change theirs, and how to avoid it.

LCE takes +1 where an integer is at least the zero point. Values in (-scale / 2, 0) are rounded to the zero point: they become +1.
No other value changes its sign, as long as the range has a step below 0. If OFFSET of a step is subtracted before the tensor is
quantized, in a bias that is there anyway, the boundary is at 0 again. Half a step would make exact zeros ties, which round to -1.

If the tensor also feeds something else, the offset is added again behind it.
"""

import numpy as np

from el_larq.compression.affine import HIGHEST, LOWEST, STEPS, Affine

OFFSET = 0.5 - 2.0**-10
"""In steps. Values in (-2^-10 scale, 0) still become +1."""


def sign_safe(affine: Affine) -> Affine:
    """The quantization, with at least one step below and above the zero point: else all values of one sign would get the other."""
    return Affine(affine.scale, int(np.clip(affine.zero, LOWEST + 1, HIGHEST - 1)))


def of_range_for_signs(low: float, high: float) -> Affine:
    """The quantization of a range, with one step more than it needs at each end that would have none."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / (STEPS - 2)
    return sign_safe(Affine.of_range(min(low, -step), max(high, step)))


def signs_after(values: np.ndarray, affine: Affine, *, offset: bool) -> np.ndarray:
    """Whether LCE takes -1 for each value, bool; with the offset subtracted before quantization or without it."""
    shifted = values.astype(np.float64) - (OFFSET * affine.scale if offset else 0.0)
    return affine.integers(shifted) < affine.zero


def flip_rate(values: np.ndarray, affine: Affine, *, offset: bool) -> float:
    """The share of the values whose sign changes; that of 0 is +1."""
    return float(np.mean(signs_after(values, affine, offset=offset) != (values < 0)))
