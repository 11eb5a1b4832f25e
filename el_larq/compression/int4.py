"""Symmetric quantization of kernels to 4 bits, with one scale per output channel, and the bytes that TFLite stores them in.

    q = round(w / scale),    -7 to 7,    w' = scale * q

A channel whose weights are whole multiples of one step, 7 times it at most, has this step as its scale, so it is represented
exactly. Training with 4 bits leaves such kernels, and positive factors of whole channels, as of a folded normalization, keep them
so. Other channels have the scale with the least squared error (`best_steps`).

Source of the bytes: TensorFlow Lite's TensorType INT4: two values in a byte, in two's complement, the first one in the lower half.
"""

import numpy as np

from el_larq.compression.best_steps import best_steps
from el_larq.compression.symmetric import SMALLEST

LARGEST = 7

_TOLERANCE = 1e-5
"""In steps: folding a normalization rounds each weight to float32 a few times."""


def int4_scales(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The scale of each channel, float32 (C,), and whether it represents all weights of the channel exactly, bool (C,).

    The scale of a channel of zeros is 1.

    values: a kernel, float32. axis: that of its output channels.
    """
    channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).astype(np.float64)
    largest = np.abs(channels).max(axis=1, initial=0.0)
    scales = np.maximum(best_steps(channels, (1,), -LARGEST, LARGEST).ravel(), SMALLEST).astype(np.float32)
    exact = largest == 0
    for count in range(1, LARGEST + 1):
        # The largest weight is `count` steps; the finest step that fits is not needed, since all that fit are exact.
        steps = (largest / count).astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            multiples = channels / steps[:, None]
        fits = ~exact & (steps >= SMALLEST) & (np.abs(multiples - np.round(multiples)).max(axis=1, initial=0.0) <= _TOLERANCE)
        scales, exact = np.where(fits, steps, scales), exact | fits
    return scales, exact


def pack(integers: np.ndarray) -> bytes:
    """The bytes of integers from -8 to 7, in the order of their array. Of an odd number, the last byte's upper half is 0."""
    halves = np.append(integers.ravel(), np.zeros(integers.size % 2, integers.dtype)).astype(np.int8).view(np.uint8) & 15
    return (halves[::2] | halves[1::2] << 4).astype(np.uint8).tobytes()
