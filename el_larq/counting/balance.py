"""How balanced binary kernels are: the share of +1, and the entropy of a weight."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Balance:
    """Of all weights of some binary kernels.

    positive: the share of weights that are +1, from 0 to 1.
    entropy: the mean over weights of the entropy of their filter, in bits from 0 to 1. A filter with a share p of +1 has

            H(p) = -p log2 p - (1 - p) log2(1 - p)

        It is 1 if each filter has as many positive as negative weights, and 0 if each has one sign only. A change of all signs
        of a filter, as conversion makes for a negative scale, does not change it.
    """

    positive: float
    entropy: float


def balance(kernels: Iterable[np.ndarray]) -> Balance | None:
    """Of kernels (C_out, ...), a filter per row, whose values above 0 count as +1; None if there is no weight."""
    total, positive, entropy = 0, 0.0, 0.0
    for kernel in (kernel for kernel in kernels if kernel.size):
        shares = (kernel.reshape(len(kernel), -1) > 0).mean(axis=1, dtype=np.float64)
        total += kernel.size
        positive += kernel.size * float(shares.mean())
        entropy += kernel.size * float(_entropy(shares).mean())
    return Balance(positive / total, entropy / total) if total else None


def _entropy(shares: np.ndarray) -> np.ndarray:
    both = np.stack([shares, 1 - shares])
    return -np.sum(both * np.log2(both, out=np.zeros_like(both), where=both > 0), axis=0)
