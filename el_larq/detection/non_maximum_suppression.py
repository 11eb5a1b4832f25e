"""From a detector's predictions to detections. Does not import TensorFlow.

    scores      softmax over the background and the classes; the background's is left out
    boxes       decoded relative to the anchors
    per class   boxes with a score of at least `Selection.score`, in descending order of it, without those whose IoU with one that
                was kept is above `Selection.iou`; at most `Selection.most`
    per image   of all classes together, the `Selection.most` highest scores

This is what TFLite_Detection_PostProcess computes with use_regular_nms=true, max_detections and detections_per_class both
`Selection.most`, and softmax in front of it: as there, the boxes are not clipped to the image, and one anchor may give detections
of several classes. Differences: of equal scores, the operator's order is that of its sorting, here the lower class and then the
lower anchor come first; boxes that are not finite are left out; an IoU may differ in its last bits.

Source: Liu et al.: SSD, ECCV 2016, section 3.1 (a score of 0.01, an IoU of 0.45 per class, 200 detections per image).
"""

from dataclasses import dataclass

import numpy as np

from el_larq.detection.average_precision import Detections
from el_larq.detection.box_coding import decode
from el_larq.detection.boxes import iou_matrix, to_corners


@dataclass(frozen=True)
class Selection:
    """Which of a detector's predictions are detections.

    score: the least score, 0 to 1. iou: the highest IoU of two detections of one class, 0 to 1. most: detections per image.
    """

    score: float = 0.01
    iou: float = 0.45
    most: int = 200


FOR_EVALUATION = Selection()
"""SSD's: a low score, since precision is measured at every recall."""


SHOWN_SCORE = 0.5
"""The least score of a detection that is shown to people, by default: then no other class of that anchor is as probable."""


def detect(predictions: np.ndarray, anchors: np.ndarray, selection: Selection = FOR_EVALUATION) -> Detections:
    """The detections in one image, in descending order of their scores.

    Arguments:
        predictions: logits of the background and C classes, and an encoded box, (A, C + 5).
        anchors: in centre form, (A, 4).
    """
    scores = softmax(predictions[:, :-4])[:, 1:]
    with np.errstate(over="ignore", invalid="ignore"):  # of codes of a detector that is not trained
        boxes = to_corners(decode(predictions[:, -4:], anchors))
    return suppress(boxes, scores, selection)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def suppress(boxes: np.ndarray, scores: np.ndarray, selection: Selection = FOR_EVALUATION) -> Detections:
    """The detections among boxes (A, 4) in corner form with these scores (A, C), in descending order of their scores."""
    classes, anchors = np.nonzero((scores >= selection.score).T & np.isfinite(boxes).all(axis=1))
    order = np.argsort(-scores[anchors, classes], kind="stable")
    classes, anchors = classes[order], anchors[order]
    kept = _kept(boxes[anchors], classes, selection)
    return Detections(boxes[anchors[kept]], classes[kept], scores[anchors[kept], classes[kept]])


def _kept(boxes: np.ndarray, classes: np.ndarray, selection: Selection) -> list[int]:
    """The indices of those boxes, ordered best first, that no better one of their class suppresses; as many as are asked for.

    Going through all classes at once ends as soon as there are enough.
    """
    left = {number: np.flatnonzero(classes == number) for number in set(classes.tolist())}
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    for index in range(len(boxes)):
        if not alive[index]:
            continue
        if len(kept) == selection.most:
            break
        kept.append(index)
        number = int(classes[index])
        others = left[number][1:]  # this one is the best of those left
        overlapping = iou_matrix(boxes[index : index + 1], boxes[others])[0] > selection.iou
        alive[others[overlapping]] = False
        left[number] = others[~overlapping]
    return kept
