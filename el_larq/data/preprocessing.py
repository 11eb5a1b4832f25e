"""From an image file or array to what a network takes. The same function serves training, prediction and verification."""

import math
import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from el_larq.errors import ElLarqError

# Larger images are refused before they are decoded: a few kilobytes can claim gigabytes.
MAX_PIXELS = 100_000_000
MAX_SIDE = 8192

# Keeps a flat image from being divided by nothing; in units of 8-bit grey levels.
MIN_STD = 1.0


@dataclass(frozen=True)
class Preprocessing:
    """How an 8-bit image becomes a float32 input of shape (height, width, channels).

    mean, std: what is subtracted, then divided by, in units of the 8-bit range 0 to 255. Both None: each image's own, so
        that its brightness and contrast tell nothing.
    """

    height: int
    width: int
    channels: int
    mean: float | None = None
    std: float | None = None

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 < value <= MAX_SIDE:
                raise ValueError(f"{name} must be an integer from 1 to {MAX_SIDE}; got {value!r}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3; got {self.channels!r}")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together")
        for value in (self.mean, self.std):
            if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value)):
                raise ValueError(f"mean and std must be finite numbers; got {value!r}")
        if self.std is not None and self.std <= 0:
            raise ValueError(f"std must be positive; got {self.std!r}")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels

    def scale(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, C) to float32 of the same shape."""
        x = images.astype(np.float32)
        if self.mean is None or self.std is None:
            mean = x.mean(axis=(1, 2, 3), keepdims=True)
            std = np.maximum(x.std(axis=(1, 2, 3), keepdims=True), MIN_STD)
            return (x - mean) / std
        return (x - self.mean) / self.std

    def load(self, path: str | os.PathLike[str]) -> np.ndarray:
        """An image file to float32 (height, width, channels): the largest centred part of the right proportions, resized."""
        image = open_image(path).convert("L" if self.channels == 1 else "RGB")
        scale = min(image.width / self.width, image.height / self.height)
        part_width, part_height = self.width * scale, self.height * scale
        left, top = (image.width - part_width) / 2, (image.height - part_height) / 2
        part = (left, top, left + part_width, top + part_height)
        resized = image.resize((self.width, self.height), Image.Resampling.BILINEAR, box=part)
        pixels = np.asarray(resized, np.uint8).reshape(1, *self.input_shape)
        return self.scale(pixels)[0]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Preprocessing":
        return cls(**fields)


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """A decoded image, or one clear line."""
    try:
        with open(path, "rb") as file, Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ElLarqError(f"{path}: {image.width}x{image.height} pixels is more than {MAX_PIXELS}; scale it down first")
            image.load()
            if image.mode == "I" or image.mode.startswith("I;16"):
                # Pillow cuts 16-bit grey values off at 255 instead of scaling them.
                return Image.fromarray((np.asarray(image, np.uint32) >> 8).clip(0, 255).astype(np.uint8))
            return image.copy()
    except UnidentifiedImageError:
        raise ElLarqError(f"{path}: not an image that can be read; give a PNG, JPEG or another common format") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ElLarqError(f"{path}: cannot be read as an image: {reason}") from None
