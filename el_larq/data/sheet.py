"""A contact sheet of a data set: what training sees, after augmentation, and figures of its channels."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from el_larq.data.dataset import Dataset

_CAPTION = 14
_GAP = 4
_LEAST_SIDE = 64
_PAPER = 255
STATISTICS = 1024
"""Training images that mean and spread are taken of."""


@dataclass(frozen=True)
class Sheet:
    """picture: the tiles. mean, std: of each channel of augmented training images, in units of the 8-bit range."""

    picture: Image.Image
    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int


def draw(data: Dataset, count: int, seed: int) -> Sheet:
    """The first ``count`` images that a training with this seed sees, in the order in which it sees them.

    Where each image is scaled by its own mean and spread, those are gone: each tile then fills the range from black to white.
    """
    size = data.train_size
    seen = min(max(count, STATISTICS), size)
    batch = 32 if size > 2 * STATISTICS else 1  # the last images of a small set count too
    pixels, labels = [], []
    with data.reading():
        for x, y in data.augmented_batches(batch, seed).take(math.ceil(seen / batch)):
            pixels.append(x.numpy())
            labels.append(y.numpy())
    images, classes = np.concatenate(pixels), np.concatenate(labels)
    flat = images.reshape(-1, images.shape[-1]).astype(np.float64)
    names = [data.labels[label] for label in classes[:count]]
    figures = (tuple(round(float(value), 3) for value in values) for values in (flat.mean(axis=0), flat.std(axis=0)))
    return Sheet(_tiles(images[:count], names), *figures, images=len(images))


def _tiles(images: np.ndarray, names: list[str]) -> Image.Image:
    """uint8 images (n, H, W, C) with their names below, in a grid about as wide as high."""
    _, height, width, channels = images.shape
    factor = max(1, math.ceil(_LEAST_SIDE / min(height, width)))  # whole: each pixel stays a square
    height, width = height * factor, width * factor
    columns = max(1, math.ceil(math.sqrt(len(images))))
    rows = math.ceil(len(images) / columns)
    cell_width, cell_height = width + _GAP, height + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height + _GAP), (_PAPER,) * 3)
    pen = ImageDraw.Draw(sheet)
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        left, top = _GAP + number % columns * cell_width, _GAP + number // columns * cell_height
        tile = Image.fromarray(image[..., 0] if channels == 1 else image).convert("RGB")
        sheet.paste(tile.resize((width, height), Image.Resampling.NEAREST), (left, top))
        name = " ".join(name.split())  # Pillow measures single lines only
        while name and pen.textlength(name) > width:
            name = name[:-1]
        pen.text((left, top + height + 1), name, fill=(0, 0, 0))
    return sheet
