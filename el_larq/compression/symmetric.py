"""Symmetric int8 quantization of kernels, with one scale per output channel: the form in which TFLite stores them.

    q = round(w / scale),    scale = max |w| / 127 over the channel,    w' = scale * q

The range is narrow, -127 to 127, so that q and -q both exist; the zero point is 0. Ties are rounded to even. A channel whose
weights are all small multiples of the smallest one, as 1, 2, 4, ... are, has that one as its scale, and is represented exactly.
Source: TensorFlow Lite 8-bit quantization specification.
"""

import numpy as np

LARGEST = 127

SMALLEST = float(np.finfo(np.float32).tiny)
"""Smaller scales would be denormal: inexact, and 0 on processors that flush them."""


def channel_scales(values: np.ndarray, axis: int) -> np.ndarray:
    """The scale of each channel, float32 (C,); 1 for a channel of zeros, and at least the smallest normal number.

    A channel is represented exactly if its weights are integer multiples, 2 to 127 at most, of the smallest one that is not 0.

    values: a kernel, float32. axis: that of its output channels.
    """
    others = tuple(number for number in range(values.ndim) if number != axis % values.ndim)
    magnitudes = np.abs(values)
    largest = magnitudes.max(axis=others, initial=0.0)
    scales = np.maximum(largest / LARGEST, SMALLEST).astype(np.float32)
    least = magnitudes.min(axis=others, initial=np.inf, where=magnitudes > 0)
    several = (least >= SMALLEST) & (least < largest) & (largest / LARGEST <= least)
    candidates = np.where(several, least, scales).astype(np.float32)
    exact = (dequantize(quantize(values, candidates, axis), candidates, axis) == values).all(axis=others)
    return np.where(largest > 0, np.where(exact, candidates, scales), np.float32(1))


def quantize(values: np.ndarray, scales: np.ndarray, axis: int, largest: int = LARGEST) -> np.ndarray:
    """The integers, int8 in the shape of the values; values beyond the range, ``largest`` steps on both sides, saturate."""
    return np.clip(np.round(values / along(scales.astype(np.float32), values.ndim, axis)), -largest, largest).astype(np.int8)


def rounded_up_or_down(values: np.ndarray, scales: np.ndarray, axis: int, up: np.ndarray) -> np.ndarray:
    """The integers below the values, or above where ``up`` is true, int8 in the shape of both; values beyond the range saturate."""
    return np.clip(np.floor(values / along(scales.astype(np.float32), values.ndim, axis)) + up, -LARGEST, LARGEST).astype(np.int8)


def dequantize(integers: np.ndarray, scales: np.ndarray, axis: int) -> np.ndarray:
    """The values that the integers stand for, float32, rounded as TFLite's DEQUANTIZE does."""
    return integers.astype(np.float32) * along(scales.astype(np.float32), integers.ndim, axis)


def along(scales: np.ndarray, dimensions: int, axis: int) -> np.ndarray:
    """Scales (C,) in a shape that broadcasts along an axis of an array of so many dimensions."""
    shape = [1] * dimensions
    shape[axis] = len(scales)
    return scales.reshape(shape)
