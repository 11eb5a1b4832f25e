"""Boxes as arrays, in the order of TensorFlow and of TFLite's operators. Does not import TensorFlow.

    corner form   (ymin, xmin, ymax, xmax)
    centre form   (y, x, height, width), y and x of the centre

Coordinates are continuous: a box that covers the first pixel of a row reaches from 0 to 1 (in pixels). Those of anchors, truths and
detections are fractions of the image's height and width, so that they hold for every size that the image is scaled to.
"""

import numpy as np


def to_corners(centred: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) in centre form, in corner form."""
    half = centred[..., 2:] / 2
    return np.concatenate([centred[..., :2] - half, centred[..., :2] + half], axis=-1)


def to_centred(corners: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) in corner form, in centre form."""
    low, high = corners[..., :2], corners[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def areas(corners: np.ndarray) -> np.ndarray:
    """The areas (...) of boxes (..., 4) in corner form; 0 if a side has no or a negative length."""
    sides = np.maximum(corners[..., 2:] - corners[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def clip_boxes(corners: np.ndarray, height: float = 1.0, width: float = 1.0) -> np.ndarray:
    """The parts of boxes (..., 4) in corner form that are inside an image of this size; a box outside of it gets the area 0."""
    return np.clip(corners, 0, np.array([height, width, height, width]))


def intersections(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The areas (N, M) that boxes ``a`` (N, 4) and ``b`` (M, 4), in corner form, have in common."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0)
    return sides[..., 0] * sides[..., 1]


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (N, M) of boxes ``a`` (N, 4) and ``b`` (M, 4) in corner form; 0 for two boxes without an area."""
    common = intersections(a, b)
    union = areas(a)[:, None] + areas(b)[None, :] - common
    return np.divide(common, union, out=np.zeros_like(common, np.result_type(common, np.float32)), where=union > 0)
