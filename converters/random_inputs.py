"""Random values for a model's inputs, of the type and in the range that each input takes."""

from typing import Any

import numpy as np

from el_larq.converters.frozen import FrozenModel

IMAGE_RANGE = 256
"""Integer inputs that are not indices take the values of images, 0 to 255."""


def random_inputs(model: FrozenModel, count: int) -> list[np.ndarray]:
    """A batch of ``count`` for each input: normally distributed, or integers from 0 up to `value_range`. Always the same values.

    An input of floating-point numbers gets integers if it selects rows: Keras casts the input of an Embedding.
    """
    random = np.random.default_rng(0)
    batches = []
    for tensor, shape in zip(model.inputs, model.input_shapes, strict=True):
        kind = tensor.dtype.as_numpy_dtype
        if kind == np.bool_:
            batches.append(random.integers(0, 2, (count, *shape)).astype(bool))
        elif np.issubdtype(kind, np.integer) or _selected_rows(model, tensor):
            batches.append(random.integers(0, value_range(model, tensor), (count, *shape)).astype(kind))
        else:
            batches.append(random.standard_normal((count, *shape), np.float32).astype(kind))
    return batches


def value_range(model: FrozenModel, tensor: Any) -> int:
    """One more than the largest value of an integer input: the number of rows that it selects from, as in an Embedding."""
    kind = tensor.dtype.as_numpy_dtype
    limit = min(IMAGE_RANGE, np.iinfo(kind).max + 1) if np.issubdtype(kind, np.integer) else IMAGE_RANGE
    return min([limit, *_selected_rows(model, tensor)])


def _selected_rows(model: FrozenModel, tensor: Any) -> list[int]:
    """The number of rows of each constant that the input selects from."""
    rows, stack, seen = [], [tensor], set()
    while stack:
        indices = stack.pop()
        for reader in indices.consumers():
            if reader.name in seen:
                continue
            # Keras 3 selects between indices and, where these are negative, others. Not its condition, which is read earlier.
            if reader.type == "SelectV2" and indices.name not in [value.name for value in reader.inputs[1:]]:
                continue
            seen.add(reader.name)
            if reader.type in ("Cast", "Identity", "Reshape", "ExpandDims", "Squeeze", "SelectV2"):
                stack.extend(reader.outputs)
            elif reader.type in ("GatherV2", "Gather") and not model.depends(reader.inputs[0]):
                axis = model.constants([reader.inputs[2]])[0] if reader.type == "GatherV2" else 0
                rows.append(reader.inputs[0].shape[int(axis or 0)])
    return [row for row in rows if row]
