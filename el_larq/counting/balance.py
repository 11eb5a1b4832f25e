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
    """Of kernels (C_out, ...) with one filter in each row, whose values above 0 count as +1; None if there is no weight."""
    return mean_balance((kernel.size, _balance(kernel)) for kernel in kernels if kernel.size)


def mean_balance(parts: Iterable[tuple[int, Balance]]) -> Balance | None:
    """Of several kernels together, from their numbers of weights and their balances; None if there is no weight."""
    found = list(parts)
    total = sum(count for count, _ in found)
    if not total:
        return None
    return Balance(*(sum(count * getattr(one, name) for count, one in found) / total for name in ("positive", "entropy")))


def _balance(kernel: np.ndarray) -> Balance:
    shares = (kernel.reshape(len(kernel), -1) > 0).mean(axis=1, dtype=np.float64)
    return Balance(float(shares.mean()), float(_entropy(shares).mean()))


def _entropy(shares: np.ndarray) -> np.ndarray:
    both = np.stack([shares, 1 - shares])
    return -np.sum(both * np.log2(both, out=np.zeros_like(both), where=both > 0), axis=0)
