"""`photos`: crops of scikit-image's bundled photographs, one class per photograph. Version 1 is frozen.

The task is to tell which photograph a small window comes from. Training windows are in one half of each photograph, test windows
in the other, so that memorizing does not help: a network must recognize textures and kinds of shapes. A window is a square of
20 to 72 pixels at any angle, rendered in greyscale at 32x32 pixels (or another size); each crop is standardized before it
reaches a network, so brightness and contrast carry no information. Windows with almost no contrast are drawn again.

Validation windows are in the training half too. They are drawn after all others, so that training and test windows are the same
as before there was a validation split. They serve to compare epochs, not to predict the accuracy on the test split.

The data set is a benchmark for comparisons: hard, small, the same everywhere. A change of training or test windows requires a new
version.
"""

import math
import os

import numpy as np
from PIL import Image

from el_larq.data.in_memory import InMemory, Split
from el_larq.data.preprocessing import Preprocessing

VERSION = 1
IMAGE_SIZE = 32
TRAIN_PER_CLASS = 400
TEST_PER_CLASS = 240
VALIDATION_PER_CLASS = 40

# File name in skimage.data, by label. The longer side is halved; the first half is for training.
PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "cat": "chelsea.png",
    "cell": "cell.png",
    "clock": "clock_motion.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "galaxies": "hubble_deep_field.jpg",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "moon": "moon.png",
    "motorcycle": "motorcycle_left.png",
    "page": "page.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
    "text": "text.png",
    "tissue": "ihc.png",
}

_SMALLEST, _LARGEST = 20.0, 72.0  # side of a window in the photograph's pixels, drawn with log-uniform density
_MIN_CONTRAST = 4.0  # standard deviation of a crop, of 255
_OVERSAMPLING = 2


def load(image_size: int = IMAGE_SIZE) -> InMemory:
    import skimage.data

    folder = os.path.dirname(skimage.data.__file__)
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": [], "validation": []}
    for index, file in enumerate(PHOTOGRAPHS.values()):
        with Image.open(os.path.join(folder, file)) as image:
            grey = np.asarray(image.convert("L"), np.float32)
        if grey.shape[0] > grey.shape[1]:
            grey = grey.T
        middle = grey.shape[1] // 2
        # NumPy guarantees that the legacy generator's stream never changes.
        random = np.random.RandomState(1000 + index)
        parts["train"].append(_crops(grey[:, :middle], TRAIN_PER_CLASS, image_size, random))
        parts["test"].append(_crops(grey[:, middle:], TEST_PER_CLASS, image_size, random))
        parts["validation"].append(_crops(grey[:, :middle], VALIDATION_PER_CLASS, image_size, random))
    return InMemory(
        name="photos",
        version=VERSION,
        labels=tuple(PHOTOGRAPHS),
        preprocessing=Preprocessing(image_size, image_size, 1),
        train=_split(parts["train"]),
        test=_split(parts["test"]),
        validation=_split(parts["validation"]),
        mirror=True,
    )


def _split(crops: list[np.ndarray]) -> Split:
    return Split(np.concatenate(crops), np.repeat(np.arange(len(crops)), [len(part) for part in crops]))


def _crops(half: np.ndarray, count: int, size: int, random: np.random.RandomState) -> np.ndarray:
    """``count`` crops of one half of a photograph, uint8 (count, size, size, 1)."""
    height, width = half.shape
    crops = np.empty((count, size, size, 1), np.uint8)
    for index in range(count):
        crop = np.zeros((size, size))
        while crop.std() < _MIN_CONTRAST:
            side = math.exp(random.uniform(math.log(_SMALLEST), math.log(_LARGEST)))
            angle = random.uniform(0, 2 * math.pi)
            # Half the extent of the rotated square, so that the whole window lies inside.
            reach = side / 2 * (abs(math.cos(angle)) + abs(math.sin(angle))) + 1
            x = random.uniform(reach, width - 1 - reach)
            y = random.uniform(reach, height - 1 - reach)
            crop = _render(half, x, y, side, angle, size)
        crops[index, ..., 0] = np.round(crop)
    return crops


def _render(half: np.ndarray, x: float, y: float, side: float, angle: float, size: int) -> np.ndarray:
    """A window sampled bilinearly on a finer grid, then averaged down to (size, size)."""
    fine = size * _OVERSAMPLING
    offsets = ((np.arange(fine) + 0.5) / fine - 0.5) * side
    u, v = np.meshgrid(offsets, offsets)
    columns = x + u * math.cos(angle) - v * math.sin(angle)
    rows = y + u * math.sin(angle) + v * math.cos(angle)
    left, top = np.floor(columns).astype(int), np.floor(rows).astype(int)
    a, b = columns - left, rows - top
    upper = half[top, left] * (1 - a) + half[top, left + 1] * a
    lower = half[top + 1, left] * (1 - a) + half[top + 1, left + 1] * a
    values = upper * (1 - b) + lower * b
    return values.reshape(size, _OVERSAMPLING, size, _OVERSAMPLING).mean(axis=(1, 3))
