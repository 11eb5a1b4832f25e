"""The anchors of a detector, from the sizes of its maps."""

from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.detection.anchors import SSD300, AnchorMap, all_boxes, anchor_maps, default_ratios

NOT_CLASSES = 5
"""Values for an anchor in addition to those of the classes: the background and the box."""


def anchors_of(model: keras.Model) -> np.ndarray | None:
    """`model_anchors`, or None if the model is not a detector of this project: others may have layers of the same names."""
    maps = _maps(model)
    if maps is None or "predictions" not in {layer.name for layer in model.layers} or len(model.outputs or []) != 1:
        return None
    # Counted before they are built: a file may state maps of any size.
    count = sum(part.rows * part.columns * part.per_cell for part in maps)
    shape = tuple(model.outputs[0].shape)
    if len(shape) != 3 or shape[1] != count or shape[2] is None or shape[2] <= NOT_CLASSES:
        return None
    return all_boxes(maps)


def model_anchors(model: keras.Model) -> np.ndarray:
    """In centre form, float32 (A, 4), in the order of the model's predictions. Those of SSD300 are the authors'.

    Raises:
        ValueError: the model is not a detector of this project.
    """
    maps = _maps(model)
    if maps is None:
        raise ValueError("the model has no heads of a detector")
    return all_boxes(maps)


def _maps(model: keras.Model) -> tuple[AnchorMap, ...] | None:
    """The maps with the heads of a detector; None if there are none, or a size of one is not fixed."""
    names = {layer.name for layer in model.layers}
    sizes = []
    while (name := f"head{len(sizes) + 1}_boxes") in names:
        layer: Any = model.get_layer(name)
        try:
            shape = layer.input_shape
        except (AttributeError, RuntimeError):  # Keras', for a layer that is called several times or never
            return None
        if not isinstance(shape, tuple) or len(shape) != 4 or not all(isinstance(size, int) for size in shape[1:3]):
            return None
        sizes.append(shape[1:3])
    if not sizes:
        return None
    if sizes == [(part.rows, part.columns) for part in SSD300] and model.input_shape[1:3] == (300, 300):
        return SSD300
    return anchor_maps(sizes, default_ratios(len(sizes)))
