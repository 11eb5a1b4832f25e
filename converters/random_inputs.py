"""Random values for a model's inputs, of the type and in the range that each input takes."""

from typing import Any

import numpy as np

from el_larq.converters.frozen import FrozenModel

IMAGE_RANGE = 256
"""Integer inputs that are not indices take the values of images, 0 to 255."""


def random_inputs(model: FrozenModel, count: int) -> list[np.ndarray]:
    """A batch of ``count`` for each input: normally distributed, or integers from 0 up to `value_range`. Always the same values."""
    random = np.random.default_rng(0)
    batches = []
    for tensor, shape in zip(model.inputs, model.input_shapes, strict=True):
        kind = tensor.dtype.as_numpy_dtype
        if kind == np.bool_:
            batches.append(random.integers(0, 2, (count, *shape)).astype(bool))
        elif np.issubdtype(kind, np.integer):
            batches.append(random.integers(0, value_range(model, tensor), (count, *shape)).astype(kind))
        else:
            batches.append(random.standard_normal((count, *shape), np.float32).astype(kind))
    return batches


def value_range(model: FrozenModel, tensor: Any) -> int:
    """One more than the largest value of an integer input: the number of rows that it selects from, as in an Embedding."""
    rows, limit = [], min(IMAGE_RANGE, np.iinfo(tensor.dtype.as_numpy_dtype).max + 1)
    stack, seen = [tensor], set()
    while stack:
        for reader in stack.pop().consumers():
            if reader.name in seen:
                continue
            seen.add(reader.name)
            if reader.type in ("Cast", "Identity", "Reshape", "ExpandDims", "Squeeze"):
                stack.extend(reader.outputs)
            elif reader.type in ("GatherV2", "Gather") and not model.depends(reader.inputs[0]):
                axis = model.constants([reader.inputs[2]])[0] if reader.type == "GatherV2" else 0
                rows.append(reader.inputs[0].shape[int(axis or 0)])
    return min([limit, *(row for row in rows if row)]) if rows else limit
