"""Top-1: whether a .tflite and its model choose the same class, at every output that looks like logits.

Classes whose logits differ by rounding only are tied, and either is right. That is common in small binary networks, where few
inputs and signs make equal sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TIE_TOLERANCE = 1e-4
"""Of an image's largest logit: how far behind its best class another one may be to be tied with it."""


@dataclass(frozen=True)
class Agreement:
    """The output of those that look like logits at which the two agree least.

    output: its number. share: of the images on which they agree. classes: how many classes the model chose.
    """

    output: int
    share: float
    classes: int


class Decisions:
    """Of a batch, by output: what the model chose (N,), and whether the .tflite chose the same or a class tied with it.

    An output looks like logits when it has two or more values for each image, in a vector.
    """

    def __init__(self, wanted: Sequence[np.ndarray], got: Sequence[np.ndarray]):
        self.chosen = {number: w.argmax(-1) for number, w in enumerate(wanted) if w.ndim == 2 and w.shape[1] > 1}
        self.same = {number: _agree(wanted[number], got[number]) for number in self.chosen}


def _agree(wanted: np.ndarray, got: np.ndarray) -> np.ndarray:
    """Of logits (N, classes), for each image, bool (N,)."""
    behind = wanted.max(-1) - np.take_along_axis(wanted, got.argmax(-1)[:, None], axis=-1)[:, 0]
    return behind <= TIE_TOLERANCE * np.abs(wanted).max(-1)


def agreements(batches: Sequence[Decisions]) -> list[Agreement]:
    """Of all batches together, an entry for each output that looks like logits, the least agreement first."""
    found = [
        Agreement(
            number,
            float(np.concatenate([batch.same[number] for batch in batches]).mean()),
            len(np.unique(np.concatenate([batch.chosen[number] for batch in batches]))),
        )
        for number in batches[0].chosen
    ]
    return sorted(found, key=lambda agreement: agreement.share)
