"""Which anchors stand for which objects in training. Does not import TensorFlow.

First, each object gets the anchor with the highest IoU: pairs of object and anchor are taken in descending order of IoU, each
object and each anchor once. Then each other anchor with an IoU of at least 0.5 with some object stands for the one it overlaps
most. All others are background (Liu et al.: SSD, ECCV 2016, section 2.2).
"""

import numpy as np

from el_larq.detection.box_coding import encode
from el_larq.detection.boxes import iou_matrix, to_centred, to_corners

THRESHOLD = 0.5
_LEAST = 1e-6
"""An object that overlaps no anchor by at least this much gets none."""

BACKGROUND = -1


def match(truths: np.ndarray, anchors: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """The index of the object that each anchor stands for, int64 (A,), or `BACKGROUND`.

    Arguments:
        truths: the objects' boxes (T, 4) in corner form.
        anchors: (A, 4) in corner form.
    """
    found = np.full(len(anchors), BACKGROUND, np.int64)
    if not len(truths):
        return found
    overlaps = iou_matrix(truths, anchors)
    best = overlaps.argmax(axis=0)
    covered = overlaps[best, np.arange(len(anchors))] >= threshold
    found[covered] = best[covered]
    left = overlaps.copy()
    for _ in range(min(overlaps.shape)):
        truth, anchor = np.unravel_index(left.argmax(), left.shape)
        if left[truth, anchor] < _LEAST:
            break
        found[anchor] = truth
        left[truth], left[:, anchor] = 0, 0
    return found


def targets(truths: np.ndarray, classes: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a detector shall predict for an image.

    Arguments:
        truths: the objects' boxes (T, 4) in corner form, with positive areas.
        classes: their classes, int64 (T,), from 0.
        anchors: (A, 4) in centre form.

    Returns:
        Classes int64 (A,), where 0 is the background and class c is c + 1; and encoded boxes float32 (A, 4), 0 for background.
    """
    found = match(truths, to_corners(anchors))
    labels = np.zeros(len(anchors), np.int64)
    codes = np.zeros((len(anchors), 4), np.float32)
    objects = found != BACKGROUND
    labels[objects] = classes[found[objects]] + 1
    codes[objects] = encode(to_centred(truths[found[objects]]), anchors[objects])
    return labels, codes
