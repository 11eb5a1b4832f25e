"""Preprocessing inferred from a sample of a user's images: input size, greyscale or colour, mean and standard deviation."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from el_larq.data.channel_statistics import ChannelStatistics
from el_larq.data.preprocessing import Preprocessing

SAMPLE = 256
"""The number of images examined, at even intervals over the training split."""

LARGEST = 224
"""The input size of most networks in the literature; larger inputs are used only on request."""

_STEP = 32


def sample_indices(count: int) -> list[int]:
    """Indices of the sample, at even intervals over ``count`` images."""
    return sorted(set(np.linspace(0, count - 1, min(count, SAMPLE)).astype(int).tolist()))


def choose_size(sizes: Sequence[tuple[int, int]]) -> int:
    """The median of the images' shorter sides, rounded down to a multiple of 32 if it is at least 32; at most 224."""
    side = min(int(np.median([min(size) for size in sizes])), LARGEST)
    return side if side < _STEP else side // _STEP * _STEP


def is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "I", "I;16", "I;16B", "F")


def with_statistics(how: Preprocessing, images: Iterable[Image.Image]) -> Preprocessing | None:
    """The preprocessing with the mean and the standard deviation (at least 1) of each channel over these images; None without any.

    One image at a time is resized to the input, so an iterator that decodes them needs the memory of one.
    """
    statistics, found = ChannelStatistics(how.channels), False
    for image in images:
        statistics.add(how.pixels(image))
        found = True
    if not found:
        return None
    mean = tuple(round(float(value), 3) for value in statistics.mean)
    std = tuple(max(round(float(value), 3), 1.0) for value in statistics.std)
    one = how.channels == 1
    return replace(how, mean=mean[0] if one else mean, std=std[0] if one else std)
