"""A contact sheet of a data set: training images after augmentation, with statistics of their channels."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from el_larq.data.channel_statistics import ChannelStatistics
from el_larq.data.dataset import Dataset

_CAPTION = 14
_GAP = 4
_LEAST_SIDE = 64
_LARGEST_SIDE = 256
_PAPER = 255
_BATCH, _BATCH_BYTES = 32, 1 << 25
_THREADS = 4
STATISTICS = 1024
"""The number of training images that mean and standard deviation are computed from, at most."""

STATISTICS_PIXELS = 1 << 28
"""The number of pixels that they are computed from, about: of large inputs, fewer images are read."""


@dataclass(frozen=True)
class Sheet:
    """picture: the sheet. mean, std: per channel of ``images`` augmented training images, in units of the 8-bit range."""

    picture: Image.Image
    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int


Annotate = Callable[[Image.Image, np.ndarray], str]
"""Draws an image's label on its tile, if it is more than a class, and returns the text below the tile."""


def draw(data: Dataset, count: int, seed: int, annotate: Annotate | None = None) -> Sheet:
    """Draw the first ``count`` images of a training with this seed, in its order, augmented and not scaled.

    annotate: for a data set whose labels are not classes; None writes the class's name.
    """
    height, width, channels = data.preprocessing.input_shape
    size = data.train_size
    seen = min(max(count, min(STATISTICS, STATISTICS_PIXELS // (height * width))), size)
    batch = 1  # so that no image of a small data set is dropped
    if size > 2 * STATISTICS:
        batch = max(1, min(_BATCH, _BATCH_BYTES // (height * width * channels)))
    statistics, measured = ChannelStatistics(channels), 0
    tiles: list[Image.Image] = []
    names: list[str] = []
    with data.reading():
        for images, labels in _few_at_once(data.augmented_batches(batch, seed).take(math.ceil(seen / batch))):
            for image, label in zip(images.numpy(), labels.numpy(), strict=True):
                statistics.add(image)
                measured += 1
                if len(tiles) < count:
                    tiles.append(_tile(image))
                    names.append(annotate(tiles[-1], label) if annotate else data.labels[label])
    figures = (tuple(round(float(value), 3) for value in values) for values in (statistics.mean, statistics.std))
    return Sheet(_arrange(tiles, names), *figures, images=measured)


def _few_at_once(batches: Any) -> Any:
    """The same batches, of which tf.data prepares at most `_THREADS` at once; otherwise it prepares as many as there are cores."""
    import tensorflow as tf

    options = tf.data.Options()
    options.threading.private_threadpool_size = _THREADS
    return batches.with_options(options)


def _tile(image: np.ndarray) -> Image.Image:
    """A uint8 image (H, W, C) as a picture that is neither too small to recognize nor larger than a sheet needs."""
    height, width, channels = image.shape
    tile = Image.fromarray(image[..., 0] if channels == 1 else image).convert("RGB")
    # An integer, so that each pixel stays a square; not more than the thumbnail of an elongated image shows.
    factor = min(math.ceil(_LEAST_SIDE / min(height, width)), max(1, _LARGEST_SIDE // max(height, width)))
    if factor > 1:
        tile = tile.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    tile.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    return tile


def _arrange(tiles: list[Image.Image], names: list[str]) -> Image.Image:
    """Tiles of one size with their class names below, in a grid with about as many columns as rows."""
    width, height = tiles[0].size
    columns = max(1, math.ceil(math.sqrt(len(tiles))))
    rows = math.ceil(len(tiles) / columns)
    cell_width, cell_height = width + _GAP, height + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height + _GAP), (_PAPER,) * 3)
    pen = ImageDraw.Draw(sheet)
    for number, (tile, name) in enumerate(zip(tiles, names, strict=True)):
        left, top = _GAP + number % columns * cell_width, _GAP + number // columns * cell_height
        sheet.paste(tile, (left, top))
        name = " ".join(name.split())  # Pillow measures only single lines
        while name and pen.textlength(name) > width:
            name = name[:-1]
        pen.text((left, top + height + 1), name, fill=(0, 0, 0))
    return sheet
