"""The anchors of a detector, from the sizes of its maps."""

from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.detection.anchors import SSD300, all_boxes, anchor_maps, default_ratios


def anchors_of(model: keras.Model) -> np.ndarray | None:
    """`model_anchors`, or None if the model is not a detector of this project."""
    names = {layer.name for layer in model.layers}
    return model_anchors(model) if {"head1_boxes", "predictions"} <= names else None


def model_anchors(model: keras.Model) -> np.ndarray:
    """In centre form, float32 (A, 4), in the order of the model's predictions. Those of SSD300 are the authors'.

    Raises:
        ValueError: the model is not a detector of this project.
    """
    names = {layer.name for layer in model.layers}
    sizes = []
    while (name := f"head{len(sizes) + 1}_boxes") in names:
        layer: Any = model.get_layer(name)
        sizes.append(tuple(layer.input_shape[1:3]))
    if not sizes:
        raise ValueError("the model has no heads of a detector")
    if sizes == [(part.rows, part.columns) for part in SSD300] and model.input_shape[1:3] == (300, 300):
        return all_boxes(SSD300)
    return all_boxes(anchor_maps(sizes, default_ratios(len(sizes))))
