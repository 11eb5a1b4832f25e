"""A binary kernel as signs and scales, and what makes filters one."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class BinaryLayer:
    """A binary kernel: signs (C_out, kh, kw, C_in) as int8 of -1 and +1, and what follows the sum, each (C_out,).

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
        """Of filters (C_out, ...) as they multiply, each of one magnitude."""
        scale = np.abs(filters).reshape(len(filters), -1).mean(axis=1).astype(np.float32)
        shift = np.zeros(len(filters), np.float32) if shift is None else shift.astype(np.float32)
        return cls(name, np.where(filters < 0, -1, 1).astype(np.int8), scale, shift, None, kind)


@dataclass(frozen=True)
class LeftOut:
    """A layer with a quantized kernel that is not a binary one, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Kernels:
    """The binary kernels of a model in the order they run, and the layers whose quantized kernels are not among them."""

    layers: list[BinaryLayer] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def one_magnitude(filters: np.ndarray) -> bool:
    """Whether the entries of each filter (C_out, ...) have one magnitude, so that signs and a scale say all of it."""
    magnitude = np.abs(filters.reshape(len(filters), -1))
    return bool(np.all(np.abs(magnitude - magnitude[:, :1]) <= 1e-5 * magnitude[:, :1]))


def two_signs(filters: np.ndarray) -> bool:
    """Whether they are a binary kernel by their values: of one magnitude, and of both signs. Sums and means have one."""
    return filters[0].size > 1 and one_magnitude(filters) and bool(np.any(filters < 0) and np.any(filters > 0))
