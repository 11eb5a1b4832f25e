"""From a detector's predictions to detections. Does not import TensorFlow.

    scores      softmax over the background and the classes; the background's is left out
    boxes       decoded relative to the anchors
    per class   boxes with a score of at least `Selection.score`, in descending order of it, without those whose IoU with one that
                was kept is above `Selection.iou`; at most `Selection.most`
    per image   of all classes together, the `Selection.most` highest scores

This is what TFLite_Detection_PostProcess computes with use_regular_nms=true, max_detections and detections_per_class both
`Selection.most`, and softmax in front of it: as there, the boxes are not clipped to the image, and one anchor may give detections
of several classes. Differences: of equal scores, the operator's order is that of its sorting, here the lower anchor and then the
lower class come first; boxes that are not finite are left out; an IoU may differ in its last bits.

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
    usable = np.isfinite(boxes).all(axis=1)
    found_boxes, found_classes, found_scores = [boxes[:0]], [np.zeros(0, np.int64)], [scores[:0, 0]]
    for number in range(scores.shape[1]):
        own = scores[:, number]
        candidates = np.flatnonzero(usable & (own >= selection.score))
        kept = _kept(boxes, candidates[np.argsort(-own[candidates], kind="stable")], selection)
        found_boxes.append(boxes[kept])
        found_classes.append(np.full(len(kept), number, np.int64))
        found_scores.append(own[kept])
    every = np.concatenate(found_scores)
    first = np.argsort(-every, kind="stable")[: selection.most]
    return Detections(np.concatenate(found_boxes)[first], np.concatenate(found_classes)[first], every[first])


def _kept(boxes: np.ndarray, order: np.ndarray, selection: Selection) -> np.ndarray:
    """Those of the boxes at the indices ``order``, best first, that no better one suppresses."""
    kept = []
    while len(order) and len(kept) < selection.most:
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[iou_matrix(boxes[best : best + 1], boxes[order])[0] <= selection.iou]
    return np.array(kept, np.int64)
