"""Average precision of detections, as Pascal VOC and COCO define it. Does not import TensorFlow.

Detections of a class, from all images, are taken in descending order of their scores. A detection is right if it matches an object
of its class that no earlier one matched. After each, precision is the share of right ones so far, and recall the share of objects
found. Precision at a recall r is the highest one at any recall of at least r. Average precision is

    VOC, 11 points    its mean at the recalls 0, 0.1, ..., 1 (VOC until 2009)
    VOC, all points   the area under it (VOC since 2010)
    COCO              its mean at the recalls 0, 0.01, ..., 1

VOC: a detection is compared with the object of its class that it overlaps most, and matches it if their IoU is at least 0.5. COCO:
of the objects that are not yet matched, it takes the one that it overlaps most, if their IoU is at least a threshold; mAP@[.5:.95]
is the mean over the thresholds 0.5, 0.55, ..., 0.95, with at most 100 detections per image and class.

Ignored objects need not be found, and what matches them is neither right nor wrong. In COCO's definition they are crowds: any
number of detections may match one, and in place of the IoU, the part of the detection that is inside counts.

mAP is the mean over the classes that have objects. Sources: Everingham, Eslami, Van Gool, Williams, Winn, Zisserman: The Pascal
Visual Object Classes Challenge: A Retrospective, IJCV 2015; Lin et al.: Microsoft COCO, ECCV 2014, and its evaluation code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from el_larq.detection.annotations import Objects
from el_larq.detection.boxes import areas, clip_boxes, intersections, iou_matrix

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""COCO's thresholds of IoU."""

VOC_THRESHOLD = 0.5
MOST = 100
"""The number of detections per image and class that COCO's definition takes into account."""

_RECALLS = np.linspace(0, 1, 101)
_ELEVEN = np.arange(11) / 10
"""Quotients as recalls are: np.linspace gives 0.30000000000000004, which a recall of 3/10 does not reach."""


@dataclass(frozen=True)
class Detections:
    """What a detector found in an image.

    boxes: (D, 4) in corner form, as fractions of the image's height and width. classes: int64 (D,), from 0. scores: (D,), higher is
    surer.
    """

    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.scores)

    def clipped(self) -> "Detections":
        """The same with the parts of boxes that are inside the image."""
        return replace(self, boxes=clip_boxes(self.boxes))


@dataclass(frozen=True)
class DetectionScores:
    """Average precisions, each float64 (C,) by class; NaN for a class without objects.

    voc_11, voc_all: at an IoU of 0.5 with 11 and with all points. coco: (10, C), at each of `THRESHOLDS`.
    """

    voc_11: np.ndarray
    voc_all: np.ndarray
    coco: np.ndarray

    def summary(self) -> dict[str, float]:
        """Means over the classes that have objects: "voc_11", "voc_all", "coco" (mAP@[.5:.95]), "coco_50" and "coco_75"."""
        rows = {"voc_11": self.voc_11, "voc_all": self.voc_all, "coco": self.coco, "coco_50": self.coco[0], "coco_75": self.coco[5]}
        return {name: float(np.mean(values[..., ~np.isnan(self.voc_all)])) for name, values in rows.items()}


def score_detections(truths: Sequence[Objects], detections: Sequence[Detections], classes: int) -> DetectionScores:
    """Compare the detections in images with the objects in the same images.

    Arguments:
        classes: the number of classes, C.

    Raises:
        ValueError: there are more or fewer detections than images, or no objects at all.
    """
    _check(truths, detections)
    voc_11, voc_all, coco = np.full(classes, np.nan), np.full(classes, np.nan), np.full((len(THRESHOLDS), classes), np.nan)
    for number in range(classes):
        count, images = _of_class_in_all(truths, detections, number)
        if not count:
            continue
        voc = _voc_curve(images, count)
        voc_11[number], voc_all[number] = _mean_at(_ELEVEN, *voc), _area(*voc)
        for row, threshold in enumerate(THRESHOLDS):
            curve = _curve(images, count, partial(_coco_matches, least=threshold))
            coco[row, number] = _mean_at(_RECALLS, *curve)
    return DetectionScores(voc_11, voc_all, coco)


def voc_map(truths: Sequence[Objects], detections: Sequence[Detections], classes: int) -> float:
    """The mean of `DetectionScores.voc_all` alone. Arguments and errors are those of `score_detections`."""
    _check(truths, detections)
    curves = [precision_recall(truths, detections, number) for number in range(classes)]
    return float(np.mean([_area(*curve) for curve in curves if curve is not None]))


def precision_recall(
    truths: Sequence[Objects], detections: Sequence[Detections], number: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Recall and precision of a class after each of its detections, as VOC defines them; None for a class without objects."""
    count, images = _of_class_in_all(truths, detections, number)
    return _voc_curve(images, count) if count else None


def _check(truths: Sequence[Objects], detections: Sequence[Detections]) -> None:
    if len(truths) != len(detections):
        raise ValueError(f"{len(truths)} images, but detections for {len(detections)}")
    if not any(len(objects.required) for objects in truths):
        raise ValueError("the images have no objects to find")


_Image = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Of one class: boxes of objects (T, 4), whether ignored (T,), boxes of detections (D, 4) by descending score, scores (D,)."""

_RIGHT, _WRONG, _NEITHER = 1, 0, -1


def _of_class_in_all(truths: Sequence[Objects], detections: Sequence[Detections], number: int) -> tuple[int, list[_Image]]:
    """The number of objects of a class to find, and its objects and detections in each image."""
    count = sum(int((objects.required.classes == number).sum()) for objects in truths)
    return count, [_of_class(*pair, number) for pair in zip(truths, detections, strict=True)]


def _voc_curve(images: Sequence[_Image], count: int) -> tuple[np.ndarray, np.ndarray]:
    return _curve(images, count, partial(_voc_matches, least=VOC_THRESHOLD))


def _of_class(objects: Objects, found: Detections, number: int) -> _Image:
    own = objects.part(objects.classes == number)
    chosen = np.flatnonzero(found.classes == number)
    # Stable: of equal scores, the first detection comes first.
    chosen = chosen[np.argsort(-found.scores[chosen], kind="stable")]
    return own.boxes, own.ignored, found.boxes[chosen], found.scores[chosen]


def _curve(images: Sequence[_Image], count: int, match: Callable[..., np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision after each detection that counts, where precision is the highest one from there on."""
    verdicts = [match(boxes, ignored, found) for boxes, ignored, found, _ in images]
    scores = np.concatenate([image[3][: len(verdict)] for image, verdict in zip(images, verdicts, strict=True)])
    verdict = np.concatenate(verdicts)[np.argsort(-scores, kind="stable")]
    right, wrong = np.cumsum(verdict == _RIGHT), np.cumsum(verdict == _WRONG)
    # An ignored detection repeats the point before it; one that is first of all has none and must not count as precision.
    counted = right + wrong > 0
    right, wrong = right[counted], wrong[counted]
    precision = right / np.maximum(right + wrong, 1)
    return right / count, np.maximum.accumulate(precision[::-1])[::-1]


def _voc_matches(boxes: np.ndarray, ignored: np.ndarray, found: np.ndarray, least: float) -> np.ndarray:
    verdict = np.full(len(found), _WRONG)
    if not len(boxes):
        return verdict
    overlaps = iou_matrix(found, boxes)
    taken = np.zeros(len(boxes), bool)
    for index, best in enumerate(overlaps.argmax(axis=1)):
        if overlaps[index, best] < least:
            continue
        if ignored[best]:
            verdict[index] = _NEITHER
        elif not taken[best]:
            verdict[index] = _RIGHT
            taken[best] = True
    return verdict


def _coco_matches(boxes: np.ndarray, ignored: np.ndarray, found: np.ndarray, least: float) -> np.ndarray:
    found = found[:MOST]
    verdict = np.full(len(found), _WRONG)
    if not len(boxes):
        return verdict
    overlaps = iou_matrix(found, boxes)
    inside = np.divide(
        intersections(found, boxes), areas(found)[:, None], out=np.zeros_like(overlaps), where=areas(found)[:, None] > 0
    )
    free = ~ignored
    for index in range(len(found)):
        # Of equal overlaps, the last object is taken, as COCO's code does.
        candidates = np.where(free, overlaps[index], -1)
        best = len(boxes) - 1 - int(candidates[::-1].argmax())
        if candidates[best] >= least:
            verdict[index] = _RIGHT
            free[best] = False
        elif (inside[index, ignored] >= least).any():
            verdict[index] = _NEITHER
    return verdict


def _mean_at(recalls: np.ndarray, recall: np.ndarray, precision: np.ndarray) -> float:
    """The mean precision at these recalls, 0 where the recall is not reached."""
    place = np.searchsorted(recall, recalls, side="left")
    return float(np.append(precision, 0)[place].mean())


def _area(recall: np.ndarray, precision: np.ndarray) -> float:
    return float((np.diff(recall, prepend=0) * precision).sum())
