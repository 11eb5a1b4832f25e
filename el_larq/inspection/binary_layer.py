"""A binary kernel as signs and scales, and tests whether filters are one."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class BinaryLayer:
    """A binary kernel: signs (C_out, kh, kw, C_in) as int8 -1 and +1, and scale, shift or threshold of its result, each (C_out,).

    kind: the class of the layer, or the name of the operator.
    """

    name: str
    signs: np.ndarray
    scale: np.ndarray | None
    shift: np.ndarray | None
    threshold: np.ndarray | None = None
    kind: str = ""

    @classmethod
    def of(cls, name: str, filters: np.ndarray, shift: np.ndarray | None, kind: str) -> "BinaryLayer":
        """Create one from quantized filters (C_out, ...), each of one magnitude."""
        scale = np.abs(filters).reshape(len(filters), -1).mean(axis=1).astype(np.float32)
        shift = np.zeros(len(filters), np.float32) if shift is None else shift.astype(np.float32)
        return cls(name, np.where(filters < 0, -1, 1).astype(np.int8), scale, shift, None, kind)


@dataclass(frozen=True)
class LeftOut:
    """A layer whose quantized kernel is not binary, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class Kernels:
    """The binary kernels of a model, in order of execution, and the layers whose quantized kernels are not among them."""

    layers: list[BinaryLayer] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def one_magnitude(filters: np.ndarray) -> bool:
    """Whether the entries of each filter (C_out, ...) have the same magnitude, so that signs and a scale describe it completely."""
    magnitude = np.abs(filters.reshape(len(filters), -1))
    return bool(np.all(np.abs(magnitude - magnitude[:, :1]) <= 1e-5 * magnitude[:, :1]))


def two_signs(filters: np.ndarray) -> bool:
    """Whether filters (C_out, ...) look like a binary kernel: one magnitude each, and both signs (sums and means have only one)."""
    return filters[0].size > 1 and one_magnitude(filters) and bool(np.any(filters < 0) and np.any(filters > 0))
