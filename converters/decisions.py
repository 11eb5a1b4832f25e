"""Top-1: whether a .tflite and its model choose the same class, at every output that looks like logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """The output of those that look like logits at which the two agree least.

    output: its number. share: of the images on which they choose the same class. classes: how many classes the model chose.
    """

    output: int
    share: float
    classes: int


class Decisions:
    """Of a batch, by output: what the model chose (N,), and whether the .tflite chose the same.

    An output looks like logits when it has two or more values for each image, in a vector.
    """

    def __init__(self, wanted: Sequence[np.ndarray], got: Sequence[np.ndarray]):
        self.chosen = {number: w.argmax(-1) for number, w in enumerate(wanted) if w.ndim == 2 and w.shape[1] > 1}
        self.same = {number: chosen == got[number].argmax(-1) for number, chosen in self.chosen.items()}


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
