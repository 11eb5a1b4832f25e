"""Selection of detections against the rule written as loops over single numbers, and cases by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from el_larq.detection.non_maximum_suppression import Selection, detect, suppress


def overlap(a: list[float], b: list[float]) -> float:
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    if min(area) <= 0:
        return 0.0
    height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(height, 0.0) * max(width, 0.0)
    return common / (sum(area) - common)


def reference(predictions: np.ndarray, anchors: np.ndarray, selection: Selection) -> list[tuple[float, int, list[float]]]:
    """(score, class, box in corner form), as TFLite's operator goes through anchors and classes."""
    boxes, scores = [], []
    for row, (y, x, height, width) in zip(predictions.tolist(), anchors.tolist(), strict=True):
        *logits, ty, tx, th, tw = row
        total = sum(math.exp(logit) for logit in logits)
        scores.append([math.exp(logit) / total for logit in logits][1:])
        centre_y, centre_x = ty / 10 * height + y, tx / 10 * width + x
        half_height, half_width = 0.5 * math.exp(th / 5) * height, 0.5 * math.exp(tw / 5) * width
        boxes.append([centre_y - half_height, centre_x - half_width, centre_y + half_height, centre_x + half_width])
    found: list[tuple[float, int, list[float]]] = []
    for label in range(len(scores[0])):
        own: list[int] = []
        for anchor in sorted(range(len(boxes)), key=lambda anchor: -scores[anchor][label]):
            if scores[anchor][label] < selection.score or len(own) == selection.most:
                break
            if all(overlap(boxes[anchor], boxes[other]) <= selection.iou for other in own):
                own.append(anchor)
        found += [(scores[anchor][label], label, boxes[anchor]) for anchor in own]
    return sorted(found, key=lambda item: -item[0])[: selection.most]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4), st.integers(1, 20), st.sampled_from([0.0, 0.2, 0.5]))
def test_detections_are_those_of_the_loops(seed: int, anchors: int, classes: int, most: int, score: float) -> None:
    random = np.random.default_rng(seed)
    places = np.concatenate([random.uniform(0, 1, (anchors, 2)), random.uniform(0.1, 0.6, (anchors, 2))], axis=1)
    predictions = random.normal(0, 2, (anchors, classes + 5))
    selection = Selection(score, 0.45, most)
    found, wanted = detect(predictions, places, selection), reference(predictions, places, selection)
    assert found.classes.tolist() == [label for _, label, _ in wanted]
    np.testing.assert_allclose(found.scores, [score for score, _, _ in wanted], rtol=1e-12)
    np.testing.assert_allclose(found.boxes, np.reshape([box for _, _, box in wanted], (-1, 4)), atol=1e-6)


BOXES = np.array([[0, 0, 1, 1], [0, 0, 1, 0.8], [0, 0, 0.5, 0.5]])


def test_the_higher_score_suppresses_within_a_class_only() -> None:
    found = suppress(BOXES, np.array([[0.5, 0.9], [0.6, 0.2], [0.4, 0.0]]), Selection(0.1, 0.5))
    assert list(zip(found.classes.tolist(), found.scores.tolist(), strict=True)) == [(1, 0.9), (0, 0.6), (0, 0.4)]


def test_a_box_at_the_threshold_stays_and_what_is_suppressed_does_not_suppress() -> None:
    """The second box overlaps the first by 0.8, and the third by 0.3125; the first and the third by 0.25."""
    scores = np.array([[0.9], [0.8], [0.7]])
    assert len(suppress(BOXES, scores, Selection(0.1, 0.8))) == 3
    assert suppress(BOXES, scores, Selection(0.1, 0.3)).scores.tolist() == [0.9, 0.7]
    assert suppress(BOXES, scores, Selection(0.1, 0.2)).scores.tolist() == [0.9]


def test_scores_at_the_threshold_count_and_equal_ones_keep_their_order() -> None:
    found = suppress(BOXES, np.array([[0.25, 0.5], [0.1, 0.5], [0.25, 0.5]]), Selection(0.25, 0.9))
    assert list(zip(found.classes.tolist(), found.boxes.tolist(), strict=True)) == [
        *((1, box) for box in BOXES.tolist()),
        (0, BOXES[0].tolist()),
        (0, BOXES[2].tolist()),
    ]


@pytest.mark.parametrize("code", [1e4, np.inf, np.nan])
def test_boxes_that_are_not_finite_are_left_out(code: float) -> None:
    predictions = np.array([[0, 5, 0, 0, code, 0], [0, 5, 0, 0, 0, 0]], np.float32)
    found = detect(predictions, np.full((2, 4), 0.5, np.float32))
    assert found.boxes.tolist() == [[0.25, 0.25, 0.75, 0.75]]
    assert found.boxes.dtype == np.float32


def test_no_candidates_are_no_detections() -> None:
    found = detect(np.array([[20.0, 0, 0, 0, 0, 0]]), np.full((1, 4), 0.5))
    assert (len(found), found.boxes.shape, found.classes.dtype) == (0, (0, 4), np.int64)
