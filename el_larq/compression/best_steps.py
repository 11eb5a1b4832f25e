"""Steps of integers with the least squared error."""

import numpy as np

_CANDIDATES = np.geomspace(0.02, 1, 64)
"""Steps that are tried, as fractions of the one with which nothing is clipped."""


def best_steps(values: np.ndarray, axes: tuple[int, ...], lowest: int, highest: int) -> np.ndarray:
    """The steps, of `_CANDIDATES`, whose rounded values have the least squared error; 1 where all values are 0.

    axes: those that share a step; they have the size 1 in the result.
    """
    most = np.abs(values).max(axes, keepdims=True)
    most = np.where(most > 0, most, highest).astype(np.float32)
    least, best = np.full(most.shape, np.inf), most
    for share in _CANDIDATES:
        steps = np.float32(share) * most / highest
        error = ((steps * np.clip(np.round(values / steps), lowest, highest) - values) ** 2).sum(axes, keepdims=True)
        best, least = np.where(error <= least, steps, best), np.minimum(error, least)
    return best
