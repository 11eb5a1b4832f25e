"""Augmentation of training images from files, as is usual in the literature on their data sets. Does not import TensorFlow.

Random numbers are a function of a key, (seed, position): Philox in counter mode, whose stream NumPy guarantees.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from el_larq.data.preprocessing import Box, Preprocessing

_TRIES = 10
_DRAWS = 4 * _TRIES + 3


@dataclass(frozen=True)
class Augmentation:
    """The random transformations of a training image.

    area, aspect: a random crop of the image is taken: its fraction of the image's area is uniform in ``area``, its aspect ratio
        (width / height), relative to that of the network's input, log-uniform in ``aspect`` (Szegedy et al., Going deeper with
        convolutions, CVPR 2015). With area None, the crop is the one that `Preprocessing` takes for testing.
    pad: then this many black pixels are added on each side, and a random crop of the original size is taken
        (Lee et al., Deeply-supervised nets, AISTATS 2015, with 4).
    mirror: the image is flipped horizontally with probability 1/2.
    """

    mirror: bool = False
    area: tuple[float, float] | None = None
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    pad: int = 0

    def pixels(self, image: Image.Image, how: Preprocessing, seed: int, position: int) -> np.ndarray:
        """Augment a decoded image: uint8 (height, width, channels), a function of (seed, position)."""
        draws = uniform(seed, position, _DRAWS)
        part = None if self.area is None else self._part(image, how, draws[3:].reshape(_TRIES, 4))
        pixels = how.pixels(image) if part is None else how.resize(image, part)
        if self.pad:
            top, left = (draws[:2] * (2 * self.pad + 1)).astype(int)
            padded = np.pad(pixels, ((self.pad, self.pad), (self.pad, self.pad), (0, 0)))
            pixels = padded[top : top + how.height, left : left + how.width]
        if self.mirror and draws[2] < 0.5:
            pixels = pixels[:, ::-1]
        return pixels

    def _part(self, image: Image.Image, how: Preprocessing, draws: np.ndarray) -> Box:
        """A random crop in whole pixels; the centre crop if none of ten attempts fits into the image."""
        assert self.area is not None
        proportion = how.width / how.height
        low, high = (math.log(value) for value in self.aspect)
        for area, aspect, x, y in draws:
            pixels = (self.area[0] + area * (self.area[1] - self.area[0])) * image.width * image.height
            ratio = math.exp(low + aspect * (high - low)) * proportion
            width, height = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
            if 0 < width <= image.width and 0 < height <= image.height:
                left, top = int(x * (image.width - width + 1)), int(y * (image.height - height + 1))
                return left, top, left + width, top + height
        return how.centre(image.width, image.height)


def uniform(seed: int, position: int, count: int) -> np.ndarray:
    """``count`` uniform float64 values in [0, 1), a function of (seed, position)."""
    bits = np.random.Philox(key=np.array([seed, position], np.int64).view(np.uint64)).random_raw(count)
    return (bits >> np.uint64(11)) * 2.0**-53
