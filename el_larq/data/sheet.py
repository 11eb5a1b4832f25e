"""A contact sheet of a data set: training images after augmentation, with statistics of their channels."""

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
"""The number of training images that mean and standard deviation are computed from, at most."""


@dataclass(frozen=True)
class Sheet:
    """picture: the sheet. mean, std: per channel of ``images`` augmented training images, in units of the 8-bit range."""

    picture: Image.Image
    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int


def draw(data: Dataset, count: int, seed: int) -> Sheet:
    """Draw the first ``count`` images of a training with this seed, in its order, augmented and not scaled."""
    size = data.train_size
    seen = min(max(count, STATISTICS), size)
    batch = 32 if size > 2 * STATISTICS else 1  # so that no image of a small data set is dropped
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
    """uint8 images (n, H, W, C) with their class names below, in a grid with about as many columns as rows."""
    _, height, width, channels = images.shape
    factor = max(1, math.ceil(_LEAST_SIDE / min(height, width)))  # an integer, so that each pixel stays a square
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
        name = " ".join(name.split())  # Pillow measures only single lines
        while name and pen.textlength(name) > width:
            name = name[:-1]
        pen.text((left, top + height + 1), name, fill=(0, 0, 0))
    return sheet
