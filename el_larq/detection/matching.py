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

_CHUNK = 4096
"""Pairs of object and anchor that are looked at together: without most of them, the rest is decided quickly."""

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
    pairs = np.flatnonzero(overlaps >= _LEAST)
    pairs = pairs[np.argsort(-overlaps.ravel()[pairs], kind="stable")]
    has_one, is_taken = np.zeros(len(truths), bool), np.zeros(len(anchors), bool)
    for start in range(0, len(pairs), _CHUNK):
        rows, columns = np.divmod(pairs[start : start + _CHUNK], len(anchors))
        free = ~has_one[rows] & ~is_taken[columns]
        for truth, anchor in zip(rows[free].tolist(), columns[free].tolist(), strict=True):
            if not has_one[truth] and not is_taken[anchor]:
                found[anchor] = truth
                has_one[truth] = is_taken[anchor] = True
        if has_one.all():
            break
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
