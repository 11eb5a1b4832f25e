"""Average precision against cases by hand, the definitions as plain loops, and pycocotools, on 200 random sets of images."""

import itertools
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from el_larq.detection.annotations import Objects
from el_larq.detection.average_precision import Detections, DetectionScores, score_detections

FAR = (0.8, 0.8, 0.9, 0.9)
A, B = (0.0, 0.0, 0.2, 0.2), (0.4, 0.4, 0.6, 0.6)
Row = tuple[float, float, float, float]


def objects(*boxes: Row, classes: list[int] | None = None, ignored: list[bool] | None = None) -> Objects:
    count = len(boxes)
    return Objects(
        np.array(boxes, float).reshape(-1, 4), np.array(classes or [0] * count, int), np.array(ignored or [False] * count, bool)
    )


def detections(*scored: tuple[float, Row], classes: list[int] | None = None) -> Detections:
    boxes = np.array([box for _, box in scored], float).reshape(-1, 4)
    return Detections(boxes, np.array(classes or [0] * len(scored), int), np.array([score for score, _ in scored]))


def scores(truth: Objects, found: Detections, classes: int = 1) -> DetectionScores:
    return score_detections([truth], [found], classes)


def test_right_wrong_right_by_hand() -> None:
    """Precision 1, 1/2, 2/3 at recalls 1/2, 1/2, 1."""
    result = scores(objects(A, B), detections((0.9, A), (0.8, FAR), (0.7, B)))
    assert result.voc_all.tolist() == pytest.approx([0.5 * 1 + 0.5 * 2 / 3])
    assert result.voc_11.tolist() == pytest.approx([(6 * 1 + 5 * 2 / 3) / 11])
    np.testing.assert_allclose(result.coco, (51 * 1 + 50 * 2 / 3) / 101)
    assert result.summary() == pytest.approx(
        {"voc_11": (6 + 10 / 3) / 11, "voc_all": 5 / 6, **dict.fromkeys(("coco", "coco_50", "coco_75"), (51 + 100 / 3) / 101)}
    )


def test_the_order_of_scores_decides_and_not_that_of_the_list() -> None:
    first = scores(objects(A), detections((0.1, FAR), (0.2, A)))
    assert (first.voc_all[0], first.voc_11[0], first.coco[0, 0]) == (1, 1, 1)
    last = scores(objects(A), detections((0.2, FAR), (0.1, A)))
    assert (last.voc_all[0], last.voc_11[0]) == (0.5, 0.5)
    assert last.coco[0, 0] == pytest.approx(0.5)


def test_a_second_detection_of_an_object_is_wrong() -> None:
    result = scores(objects(A, B), detections((0.9, A), (0.8, A), (0.7, B)))
    assert result.voc_all[0] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert result.coco[0, 0] == pytest.approx((51 + 50 * 2 / 3) / 101)


@pytest.mark.parametrize("found", range(11))
def test_some_of_ten_objects_by_hand(found: int) -> None:
    """The first k of 10 objects, and nothing else: precision is 1 at the recalls 0, 0.1, ..., k / 10, which are k + 1 of 11."""
    rows: list[Row] = [(0.1 * number, 0.0, 0.1 * number + 0.05, 0.1) for number in range(10)]
    result = scores(objects(*rows), detections(*[(1 - 0.01 * number, row) for number, row in enumerate(rows[:found])]))
    assert result.voc_11[0] == pytest.approx((found + 1) / 11 if found else 0, abs=1e-12)
    assert result.voc_all[0] == pytest.approx(found / 10, abs=1e-12)


def test_nothing_found_and_nothing_right() -> None:
    for found in (Detections(), detections((0.9, FAR))):
        result = scores(objects(A), found)
        assert (result.voc_all[0], result.voc_11[0], result.coco.max()) == (0, 0, 0)


def test_thresholds_of_iou() -> None:
    """Half of the object: an IoU of exactly 0.5; 0.72 of it is right at five of COCO's thresholds."""
    half = scores(objects((0, 0, 0.5, 0.5)), detections((0.9, (0, 0, 0.5, 0.25))))
    assert (half.voc_all[0], half.coco[0, 0], half.coco[1:].max()) == (1, 1, 0)
    most = scores(objects((0, 0, 1, 1)), detections((0.9, (0, 0, 1, 0.72))))
    assert most.coco[:, 0].tolist() == [1] * 5 + [0] * 5
    assert most.summary()["coco"] == pytest.approx(0.5)
    assert most.summary()["coco_75"] == 0


def test_ignored_objects_are_neither_required_nor_wrong() -> None:
    truth = objects(A, B, ignored=[False, True])
    for found in (detections((0.9, A)), detections((0.9, B), (0.8, B), (0.7, A))):
        result = scores(truth, found)
        assert (result.voc_all[0], result.voc_11[0]) == (1, 1)
        np.testing.assert_allclose(result.coco, 1)
    # A small box in a crowd has a low IoU with it and is inside: wrong for VOC, passed over by COCO.
    small = scores(truth, detections((0.9, (0.45, 0.45, 0.5, 0.5)), (0.8, A)))
    assert small.voc_all[0] == 0.5
    np.testing.assert_allclose(small.coco, 1)


def test_coco_takes_the_best_object_that_is_left_and_voc_the_best_of_all() -> None:
    near = (0.0, 0.0, 0.2, 0.25)
    result = scores(objects(A, near), detections((0.9, A), (0.8, A)))
    assert result.coco[0, 0] == 1  # the second detection has an IoU of 0.8 with the other object
    assert result.voc_all[0] == 0.5


def test_classes_are_separate_and_those_without_objects_do_not_count() -> None:
    result = scores(objects(A, B, classes=[0, 2]), detections((0.9, A), (0.8, B), (0.7, FAR), classes=[0, 1, 1]), 4)
    np.testing.assert_array_equal(result.voc_all, [1, np.nan, 0, np.nan])
    assert result.summary()["coco"] == 0.5


def test_more_than_100_detections_of_an_image_are_not_counted_by_coco() -> None:
    found = detections(*((1 - index / 1000, FAR) for index in range(100)), (0.1, A))
    result = scores(objects(A), found)
    assert result.coco.max() == 0
    assert result.voc_all[0] == pytest.approx(1 / 101)


def test_what_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="no objects"):
        score_detections([Objects()], [Detections()], 2)
    with pytest.raises(ValueError, match="2 images, but detections for 1"):
        score_detections([Objects()] * 2, [Detections()], 2)


def iou(a: Row, b: Row, crowd: bool = False) -> float:
    common = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    size_a, size_b = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return common / (size_a if crowd else size_a + size_b - common)


def pooled(
    truths: list[Objects], found: list[Detections], number: int
) -> tuple[list[tuple[int, Row]], list[list[tuple[Row, bool]]]]:
    """Detections of a class over all images by descending score, with their images; each image's objects, and whether ignored."""
    rows = [
        (-score, image, place, tuple(box))
        for image, item in enumerate(found)
        for place, (box, label, score) in enumerate(zip(item.boxes.tolist(), item.classes, item.scores, strict=True))
        if label == number
    ]
    own = [
        [
            (tuple(box), bool(ignored))
            for box, label, ignored in zip(item.boxes.tolist(), item.classes, item.ignored, strict=True)
            if label == number
        ]
        for item in truths
    ]
    return [(image, box) for _, image, _, box in sorted(rows)], own


def reference(
    truths: list[Objects], found: list[Detections], number: int, threshold: float, voc: bool
) -> list[tuple[float, float]]:
    """(recall, precision) after each detection of a class, for images with at most 100 detections."""
    ranked, own = pooled(truths, found, number)
    required = sum(not ignored for item in own for _, ignored in item)
    matched: set[tuple[int, int]] = set()
    right = wrong = 0
    points = []
    for image, box in ranked:
        candidates = []
        for place, (truth, ignored) in enumerate(own[image]):
            overlap = iou(box, truth, crowd=ignored and not voc)
            if voc or ignored or (image, place) not in matched:
                candidates.append((overlap, place, ignored))
        if not voc:  # crowds only if nothing else matches
            candidates = [c for c in candidates if c[0] >= threshold]
            candidates = [c for c in candidates if not c[2]] or candidates
        best = max(candidates, default=(-1.0, -1, False))
        if best[0] < threshold or ((image, best[1]) in matched and not best[2]):
            wrong += 1
        elif not best[2]:
            matched.add((image, best[1]))
            right += 1
        if right + wrong:
            points.append((right / required, right / (right + wrong)))
    return points


def sampled(points: list[tuple[float, float]], recalls: np.ndarray) -> float:
    return float(np.mean([max((precision for recall, precision in points if recall >= least), default=0.0) for least in recalls]))


def area(points: list[tuple[float, float]]) -> float:
    edges = sorted({0.0, *(recall for recall, _ in points)})
    return sum((high - low) * max(p for recall, p in points if recall >= high) for low, high in itertools.pairwise(edges))


def random_case(seed: int) -> tuple[list[Objects], list[Detections], int]:
    """A few images with objects, and detections: near objects, of the wrong class, or anywhere; in some cases with equal scores."""
    random = np.random.default_rng(seed)
    classes = int(random.integers(1, 4))
    truths, found = [], []
    for _ in range(random.integers(1, 6)):
        count = random.integers(0, 6)
        low = random.uniform(0, 0.7, (count, 2))
        boxes = np.concatenate([low, low + random.uniform(0.05, 0.3, (count, 2))], axis=1)
        truths.append(Objects(boxes, random.integers(0, classes, count), random.random(count) < 0.2))
        near = np.repeat(boxes, random.integers(0, 4, count), axis=0)
        near = near + random.normal(0, 0.02, near.shape)
        extra = random.integers(0, 4)
        corner = random.uniform(0, 0.7, (extra, 2))
        rows = np.concatenate([near, np.concatenate([corner, corner + 0.2], axis=1)])
        rows[:, 2:] = np.maximum(rows[:, 2:], rows[:, :2] + 0.01)
        values = np.round(random.random(len(rows)), 1 if seed % 3 == 0 else 6)
        found.append(Detections(rows, random.integers(0, classes, len(rows)), values))
    first = Objects(np.array([A]), np.array([0]), np.array([False]))
    return [first, *truths], [Detections(), *found], classes


@pytest.mark.parametrize("group", range(4))
def test_200_random_cases_as_defined(group: int) -> None:
    for seed in range(50 * group, 50 * group + 50):
        truths, found, classes = random_case(seed)
        result = score_detections(truths, found, classes)
        for number in range(classes):
            if np.isnan(result.voc_all[number]):
                assert not any((item.required.classes == number).any() for item in truths)
                continue
            points = reference(truths, found, number, 0.5, voc=True)
            assert result.voc_all[number] == pytest.approx(area(points), abs=1e-12)
            assert result.voc_11[number] == pytest.approx(sampled(points, np.arange(11) / 10), abs=1e-12)
            for row in (0, 5, 9):
                points = reference(truths, found, number, np.linspace(0.5, 0.95, 10)[row], voc=False)
                assert result.coco[row, number] == pytest.approx(sampled(points, np.linspace(0, 1, 101)), abs=1e-12)


def test_200_random_cases_with_pycocotools() -> None:
    def rows(images: list[Objects] | list[Detections]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for image, item in enumerate(images):
            for index, (top, left, bottom, right) in enumerate((item.boxes * 1000).tolist()):
                box = [left, top, right - left, bottom - top]
                row = {"id": len(found) + 1, "image_id": image, "category_id": int(item.classes[index]), "bbox": box}
                if isinstance(item, Detections):
                    found.append(row | {"score": float(item.scores[index])})
                else:
                    found.append(row | {"area": box[2] * box[3], "iscrowd": int(item.ignored[index])})
        return found

    compared = 0
    for seed in range(200):
        truths, found, classes = random_case(seed)
        truth: Any = COCO()
        truth.dataset = {
            "images": [{"id": image, "height": 1000, "width": 1000} for image in range(len(truths))],
            "annotations": rows(truths),
            "categories": [{"id": number, "name": str(number)} for number in range(classes)],
        }
        truth.createIndex()
        answers: Any = rows(found)
        if not answers:
            continue
        evaluation = COCOeval(truth, truth.loadRes(answers), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        theirs = evaluation.eval["precision"][:, :, :, 0, 2].mean(axis=1)
        ours = score_detections(truths, found, classes).coco
        np.testing.assert_array_equal(np.isnan(ours), theirs == -1)
        np.testing.assert_allclose(ours[~np.isnan(ours)], theirs[theirs > -1], atol=1e-12)
        compared += 1
    assert compared > 190
