"""Checks that TFLite_Detection_PostProcess selects the boxes that NumPy selects from the same predictions.

The file computes both: the operator's inputs are additional outputs of it. Then the softmax is compared, and the operator's boxes
with those that `suppress` selects from the same scores and box codes: as many, of the same classes and scores in the same order,
and none more than a pixel away. What may differ:

- boxes with exactly equal scores may be in any order, and any of them may be the last one
- an IoU within `NEAR` of the threshold may decide otherwise: the operator's boxes must then be those of a threshold moved by it
"""

from dataclasses import dataclass, replace

import numpy as np

from el_larq.converters.rewrite import with_outputs
from el_larq.detection.average_precision import Detections
from el_larq.detection.box_coding import decode
from el_larq.detection.boxes import to_corners
from el_larq.detection.non_maximum_suppression import Selection, softmax, suppress
from el_larq.errors import ElLarqError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.postprocess import POSTPROCESS
from el_larq.tflite.reader import parse

NEAR = 1e-5
"""Of IoUs. Boxes are decoded in float64 and stored as float32 by both, whose IoUs differ by about 1e-6."""

_SCORE_TOLERANCE = 1e-5
_ROUNDING = 1e-5
"""Relative. The boxes of a detector that is not trained may be larger than any image, and their exponentials differ as much."""


@dataclass(frozen=True)
class SelectionCheck:
    """images: the number compared. detections: the operator's, in all of them. near: images in which a near IoU decided."""

    images: int
    detections: int
    near: int


def check_selected(content: bytes, anchors: np.ndarray, selection: Selection, images: np.ndarray) -> SelectionCheck:
    """Compare a .tflite that ends in the operator with NumPy, on inputs (N, H, W, C) of real numbers.

    Raises:
        ElLarqError: it selects other boxes.
    """
    graph = parse(content)
    last = next(operator for operator in graph.operators if operator.name == POSTPROCESS)
    codes, scores = (tensor.index for tensor in last.inputs[:2] if tensor is not None)
    (logits,) = (tensor.index for tensor in graph.producers[scores].inputs if tensor is not None)
    interpreter = Interpreter(with_outputs(content, [codes, scores, logits]))
    detections = near = 0
    for number, image in enumerate(images):
        boxes, classes, found_scores, count, codes_of, scores_of, logits_of = (
            output[0] for output in interpreter.run_raw(image[None]).outputs
        )
        error = np.abs(softmax(logits_of.astype(np.float64)) - scores_of).max()
        if not error <= _SCORE_TOLERANCE:
            raise ElLarqError(f"select: probabilities differ by {error:.1e} from NumPy's; report this as an error in el-larq")
        size = int(count)
        found = Detections(boxes[:size], classes[:size].astype(np.int64), found_scores[:size])
        decoded = to_corners(decode(codes_of.astype(np.float64), anchors.astype(np.float64))).astype(np.float32)
        exact, *moved = _thresholds(selection)
        same = same_detections(found, decoded, scores_of[:, 1:], exact, image.shape[:2])
        if not same and not any(same_detections(found, decoded, scores_of[:, 1:], one, image.shape[:2]) for one in moved):
            raise ElLarqError(
                f"select: TFLite_Detection_PostProcess selects other boxes of image {number} than NumPy does; "
                "report this as an error in el-larq"
            )
        detections += size
        near += not same
    return SelectionCheck(len(images), detections, near)


def _thresholds(selection: Selection) -> list[Selection]:
    return [replace(selection, iou=selection.iou + shift) for shift in (0, NEAR, -NEAR)]


def same_detections(found: Detections, boxes: np.ndarray, scores: np.ndarray, selection: Selection, size: tuple[int, int]) -> bool:
    """Whether these are the detections among boxes (A, 4) with scores (A, C), to within a pixel of an image of this size."""
    wanted = suppress(boxes, scores, replace(selection, most=selection.most + 1))
    if len(found) != min(len(wanted), selection.most) or (np.diff(found.scores) > 0).any():
        return False
    least = wanted.scores[selection.most] if len(wanted) > selection.most else -1.0
    a, b = _in_order(found, least), _in_order(wanted, least)
    if len(a) != len(b) or not (np.array_equal(a.classes, b.classes) and np.array_equal(a.scores, b.scores)):
        return False
    pixels = np.tile(size, 2)
    return bool((np.abs(a.boxes - b.boxes) * pixels <= 1 + _ROUNDING * np.abs(b.boxes) * pixels).all())


def _in_order(found: Detections, least: float) -> Detections:
    """Those with a higher score than ``least``; of equal scores, by class and place."""
    top, left, _, _ = found.boxes.T
    order = np.lexsort((left, top, found.classes, -found.scores))
    order = order[found.scores[order] > least]
    return Detections(found.boxes[order], found.classes[order], found.scores[order])
