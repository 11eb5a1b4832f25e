"""Where a model makes discrete values of real ones: signs, and rounding to integers as quantizers of several bits do.

Rounding errors of real values have no effect there, unless a value is so near a threshold that it gets another discrete value.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph import find_signs

ROUNDING = ("Round", "Rint")


@dataclass(frozen=True)
class Discretization:
    """A tensor ``real`` that depends on the image, and ``values`` of the same shape: its signs, -1 and 1.

    rounding: the values are the nearest integers instead.
    """

    real: Any
    values: Any
    rounding: bool = False

    def of(self, x: np.ndarray) -> np.ndarray:
        """The discrete values of x. As in TensorFlow, halves are rounded to even numbers."""
        return np.rint(x) if self.rounding else np.where(x < 0, np.float32(-1), np.float32(1))

    def distance(self, x: np.ndarray, values: np.ndarray) -> np.ndarray:
        """How far x is from the threshold between its own discrete value and another, elementwise.

        More than 0.5 for a value that is not next to x's own.
        """
        return np.abs(x - (np.rint(x) + values) / 2) if self.rounding else np.abs(x)


def find_discretizations(model: FrozenModel) -> tuple[Discretization, ...]:
    """All whose shapes, apart from the batch, are known: first the signs, then the roundings, each in graph order."""
    signs = [Discretization(sign.real, sign.signs) for sign in find_signs(model)]
    rounded = [
        Discretization(operation.inputs[0], operation.outputs[0], rounding=True)
        for operation in model.operations
        if operation.type in ROUNDING and operation.inputs[0].dtype.is_floating and model.depends(operation.inputs[0])
    ]
    return tuple(found for found in [*signs, *rounded] if found.real.shape[1:].is_fully_defined())
