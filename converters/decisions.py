"""Top-1: whether a .tflite and its model choose the same class, at every output that has the shape of logits.

Classes whose logits differ only by rounding are tied, and either is accepted. Ties are common in small binary networks, where
sums over few inputs and signs are often equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TIE_TOLERANCE = 1e-4
"""Largest difference to the logit of the best class for a class to count as tied, as a share of the image's largest |logit|."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of the .tflite and the model at one output that has the shape of logits.

    output: its index. share: share of the images on which they agree. classes: number of different classes the model chose.
    """

    output: int
    share: float
    classes: int


class Decisions:
    """For a batch, by output: the model's classes (N,), and whether the .tflite chose the same class or one tied with it (N,).

    An output has the shape of logits when it is a vector of two or more values per image.
    """

    def __init__(self, wanted: Sequence[np.ndarray], got: Sequence[np.ndarray], tied: float = TIE_TOLERANCE):
        self.chosen = {number: w.argmax(-1) for number, w in enumerate(wanted) if w.ndim == 2 and w.shape[1] > 1}
        self.same = {number: _agree(wanted[number], got[number], tied) for number in self.chosen}


def _agree(wanted: np.ndarray, got: np.ndarray, tied: float) -> np.ndarray:
    """Agreement for each image, bool (N,), from logits (N, classes)."""
    margin = wanted.max(-1) - np.take_along_axis(wanted, got.argmax(-1)[:, None], axis=-1)[:, 0]
    return margin <= tied * np.abs(wanted).max(-1)


def agreements(batches: Sequence[Decisions]) -> list[Agreement]:
    """The agreement over all batches for each output that has the shape of logits, lowest first."""
    found = [
        Agreement(
            number,
            float(np.concatenate([batch.same[number] for batch in batches]).mean()),
            len(np.unique(np.concatenate([batch.chosen[number] for batch in batches]))),
        )
        for number in batches[0].chosen
    ]
    return sorted(found, key=lambda agreement: agreement.share)


def agreed(share: float | None) -> str:
    """The beginning of a summary; "" if no output has the shape of logits, as of a detector."""
    return "" if share is None else f"top-1 agrees for {share:.1%}, "
