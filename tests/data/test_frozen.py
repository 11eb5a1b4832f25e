"""The embedded sets and the stream of their training images have not changed by a bit since version 0: comparisons rest on it."""

import hashlib
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from el_larq.data.dataset_registry import load_dataset
from el_larq.data.preprocessing import Preprocessing

# SHA-256, its first 16 digits: training images and labels, test images and labels, and of the unscaled stream of seed 3 with
# batches of 64 the four steps around the end of the first epoch. Taken before data sets other than these two existed.
GOLDEN = {
    "digits": ("4f6dcf49f5b0b85e", "e7c9ad3e80421d97", "75fd81c29a5b715e"),
    "photos": ("ba9cf2325896520f", "7ad2b4fec2ddfed0", "b402204a6d89d6ad"),
}


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


@pytest.mark.parametrize("name", ["digits", "photos"])
def test_embedded_data_and_their_stream_are_unchanged(name: Literal["digits", "photos"]) -> None:
    data = load_dataset(name)
    how = data.preprocessing
    raw = replace(data, preprocessing=Preprocessing(how.height, how.width, how.channels, mean=0.0, std=1.0))
    stream = raw.training_batches(64, 2, seed=3, start=data.steps_per_epoch(64) - 2).take(4)
    found = (
        digest(data.train.images, data.train.labels),
        digest(data.test.images, data.test.labels),
        digest(*(array.numpy() for batch in stream for array in batch)),
    )
    assert found == GOLDEN[name]
