"""RandAugment: a few random operations per training image, all at one magnitude. Does not import TensorFlow.

Source: Cubuk, Zoph, Shlens, Le: RandAugment, NeurIPS 2020. The operations and their largest magnitudes are those of AutoAugment
(Cubuk et al., CVPR 2019), without SamplePairing, Cutout and Invert, as in RandAugment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from el_larq.data.augmentation import uniform

_GREY = 128
"""The value of pixels that an operation moves into the image."""

_Operation = Callable[[Image.Image, float, float], Image.Image]
"""A function of an image, a magnitude (0 to 1) and a sign (-1 or 1)."""


def _moved(image: Image.Image, matrix: tuple[float, float, float, float, float, float]) -> Image.Image:
    fillcolor: Any = _GREY if image.mode == "L" else (_GREY,) * 3
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR, fillcolor=fillcolor)


def _rotated(image: Image.Image, degrees: float) -> Image.Image:
    angle = np.deg2rad(degrees)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    x, y = image.width / 2, image.height / 2  # in pixel edges, as Pillow counts
    return _moved(image, (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y))


def _enhanced(kind: Callable[[Image.Image], Any]) -> _Operation:
    return lambda image, m, sign: kind(image).enhance(1 + 0.9 * m * sign)


_OPERATIONS: dict[str, _Operation] = {
    "identity": lambda image, m, sign: image,
    "autocontrast": lambda image, m, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, m, sign: ImageOps.equalize(image),
    "posterize": lambda image, m, sign: ImageOps.posterize(image, 8 - round(4 * m)),
    "solarize": lambda image, m, sign: ImageOps.solarize(image, round(256 * (1 - m))),
    "rotate": lambda image, m, sign: _rotated(image, 30 * m * sign),
    "shear_x": lambda image, m, sign: _moved(image, (1, 0.3 * m * sign, 0, 0, 1, 0)),
    "shear_y": lambda image, m, sign: _moved(image, (1, 0, 0, 0.3 * m * sign, 1, 0)),
    "translate_x": lambda image, m, sign: _moved(image, (1, 0, 0.45 * m * sign * image.width, 0, 1, 0)),
    "translate_y": lambda image, m, sign: _moved(image, (1, 0, 0, 0, 1, 0.45 * m * sign * image.height)),
    "color": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
}
_NAMES = tuple(_OPERATIONS)


@dataclass(frozen=True)
class RandomAugment:
    """``operations`` random operations per image, each at ``magnitude``, 0 to 1.

    At magnitude 1: rotation by 30 degrees, shear by 0.3, translation by 45 % of the image, color, contrast, brightness and
    sharpness changed by a factor of 0.1 or 1.9, posterization to 4 bits, solarization of all pixels. Auto-contrast and
    equalization have no magnitude. The published magnitude 9 (of 30) is 0.3.
    """

    operations: int
    magnitude: float

    def batch(self, images: np.ndarray, seed: int, first: int) -> np.ndarray:
        """Augment uint8 images (N, H, W, C) with 1 or 3 channels: a function of seed and of the first image's position."""
        return np.stack([self._image(image, seed, first + number) for number, image in enumerate(images)])

    def _image(self, pixels: np.ndarray, seed: int, position: int) -> np.ndarray:
        # Negative positions: other numbers than those of crops and flips, which have the position itself.
        draws = uniform(seed, -1 - position, 2 * self.operations).reshape(self.operations, 2)
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        for which, side in draws:
            image = _OPERATIONS[_NAMES[int(which * len(_NAMES))]](image, self.magnitude, 1.0 if side < 0.5 else -1.0)
        return np.asarray(image).reshape(pixels.shape)
