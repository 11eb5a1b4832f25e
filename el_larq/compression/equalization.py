"""Cross-layer equalization and absorption of high biases: arithmetic on the channels between two layers.

Two layers without anything but ReLU between them compute  y = W2 relu(W1 x + b1) + b2.  ReLU passes positive factors on, so each
channel between them may be divided by any s > 0:

    W1 <- W1 / s,    b1 <- b1 / s,    W2 <- W2 * s        s = sqrt(r1 / r2)

with r1 = max |W1| over the weights that make the channel, and r2 = max |W2| over those that read it. Both maxima are then
sqrt(r1 r2): channels that differ by orders of magnitude get similar ranges, and one scale for all of them is enough.

If a channel's value is never below some c > 0, ReLU does nothing to it, and c may move to the next layer's bias:

    b1 <- b1 - c,    b2 <- b2 + W2 c

Source: Nagel, van Baalen, Blankevoort, Welling: Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019.
There, c is three standard deviations below the mean that batch normalization states; here, it is the smallest value that was seen.
"""

import numpy as np

_LARGEST = 2.0**20
"""The largest factor, and the inverse of the smallest one, so that no weight becomes denormal."""


def channel_maxima(kernel: np.ndarray, axis: int) -> np.ndarray:
    """The largest magnitude of each channel of an axis, float64 (C,)."""
    others = tuple(number for number in range(kernel.ndim) if number != axis % kernel.ndim)
    return np.abs(kernel).max(axis=others).astype(np.float64)


def equalizing_scales(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """s of each channel, float64 (C,), for the maxima r1 and r2 of the two layers; 1 where one of them is 0."""
    used = (first > 0) & (second > 0)
    scales = np.sqrt(np.where(used, first, 1.0) / np.where(used, second, 1.0))
    return np.clip(scales, 1 / _LARGEST, _LARGEST)


def absorbed(smallest: np.ndarray) -> np.ndarray:
    """c of each channel, (C,), for the smallest value that was seen behind ReLU; 0 where ReLU may be at work."""
    return np.maximum(smallest, 0.0)
