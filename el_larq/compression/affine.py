"""Asymmetric int8 quantization of a tensor, with one scale and one zero point: the form in which TFLite has activations.

    q = round(x / scale) + zero,  saturated to -128 ... 127        x' = scale * (q - zero)

Rounding is to the nearest integer, ties away from zero, as in TFLite's QUANTIZE. A range always includes 0, which is exact.
"""

from dataclasses import dataclass

import numpy as np

LOWEST, HIGHEST = -128, 127
STEPS = HIGHEST - LOWEST

_SMALLEST = float(np.finfo(np.float32).tiny)
"""Smaller scales would be denormal: inexact, and 0 on processors that flush them."""


@dataclass(frozen=True)
class Affine:
    """The scale, above 0, and the zero point, -128 to 127."""

    scale: float
    zero: int

    @classmethod
    def of_range(cls, low: float, high: float) -> "Affine":
        """The quantization whose values go from about ``low`` to about ``high``: the zero point is rounded, which moves both ends.

        A range without 0 is extended to it. All values of one that is too narrow for a scale of float32 become 0.
        """
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        scale = float(np.float32((high - low) / STEPS))
        if scale < _SMALLEST:
            return cls(1.0, 0)
        return cls(scale, int(np.clip(np.round(LOWEST - low / scale), LOWEST, HIGHEST)))

    @property
    def low(self) -> float:
        """The smallest value."""
        return self.scale * (LOWEST - self.zero)

    @property
    def high(self) -> float:
        """The largest value."""
        return self.scale * (HIGHEST - self.zero)

    def integers(self, values: np.ndarray) -> np.ndarray:
        """int8, in the shape of the values."""
        steps = values.astype(np.float64) / self.scale
        rounded = np.copysign(np.floor(np.abs(steps) + 0.5), steps)
        return np.clip(rounded + self.zero, LOWEST, HIGHEST).astype(np.int8)

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """The values as int8 represents them, float32."""
        return self.real(self.integers(values))

    def real(self, integers: np.ndarray) -> np.ndarray:
        """The values that int8 integers stand for, float32."""
        return (self.scale * (integers.astype(np.int32) - self.zero)).astype(np.float32)
