"""How much rounding changes values: the signal-to-quantization-noise ratio."""

import numpy as np


def sqnr(values: np.ndarray, rounded: np.ndarray) -> float:
    """10 log10 of the sum of squares of the values over that of the errors, in dB.

    Infinite if nothing was rounded, minus infinity if only zeros were.
    """
    signal, noise = (float(np.square(x.astype(np.float64)).sum()) for x in (values, values - rounded))
    return decibels(signal, noise)


def decibels(signal: float, noise: float) -> float:
    """10 log10 of the quotient of two sums of squares; infinite without noise, minus infinity for noise without a signal."""
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal else float("-inf")
