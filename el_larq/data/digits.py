"""`digits`: scikit-learn's bundled 8x8 handwritten digits, a small, easy data set for quick checks.

1,797 greyscale images of ten classes (the test part of the UCI optical recognition set), enlarged to 16x16 by bilinear
interpolation unless another size is requested. A quarter of each class, drawn with a fixed seed, is the test split.
"""

from typing import Any

import numpy as np
from PIL import Image

from el_larq.data.in_memory import InMemory, Split
from el_larq.data.preprocessing import Preprocessing

VERSION = 1
IMAGE_SIZE = 16
_TEST_SHARE = 0.25
_GREY_LEVELS = 16


def load(image_size: int = IMAGE_SIZE) -> InMemory:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    grey = np.round(bunch.images * (255 / _GREY_LEVELS)).astype(np.uint8)
    images = np.stack([_resize(image, image_size) for image in grey])[..., None]
    labels = bunch.target.astype(np.int64)
    random = np.random.RandomState(0)  # the legacy generator's stream never changes
    test = np.zeros(len(labels), bool)
    for label in range(10):
        members = random.permutation(np.flatnonzero(labels == label))
        test[members[: round(_TEST_SHARE * len(members))]] = True
    train = images[~test]
    return InMemory(
        name="digits",
        version=VERSION,
        labels=tuple(str(digit) for digit in range(10)),
        preprocessing=Preprocessing(
            image_size, image_size, 1, mean=round(float(train.mean()), 3), std=round(float(train.std()), 3)
        ),
        train=Split(train, labels[~test]),
        test=Split(images[test], labels[test]),
        shift=1,
    )


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
