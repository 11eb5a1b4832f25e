"""Matching of objects and anchors against the rule written as loops, and targets by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from el_larq.detection.anchors import SSD300, all_boxes
from el_larq.detection.box_coding import decode
from el_larq.detection.boxes import iou_matrix, to_corners
from el_larq.detection.matching import BACKGROUND, match, targets


def reference(truths: np.ndarray, anchors: np.ndarray) -> list[int]:
    overlaps = iou_matrix(truths, anchors)
    found = [BACKGROUND] * len(anchors)
    for anchor in range(len(anchors)):
        best = max(range(len(truths)), key=lambda truth: overlaps[truth, anchor], default=None)
        if best is not None and overlaps[best, anchor] >= 0.5:
            found[anchor] = best
    pairs = [(-overlaps[t, a], t, a) for t in range(len(truths)) for a in range(len(anchors)) if overlaps[t, a] >= 1e-6]
    used_truths, used_anchors = set(), set()
    for _, truth, anchor in sorted(pairs):
        if truth not in used_truths and anchor not in used_anchors:
            found[anchor] = truth
            used_truths.add(truth)
            used_anchors.add(anchor)
    return found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(0, 12))
def test_match_follows_the_rule(seed: int, objects: int, count: int) -> None:
    random = np.random.default_rng(seed)
    low, sides = random.uniform(0, 0.7, (objects + count, 2)), random.uniform(0.05, 0.5, (objects + count, 2))
    boxes = np.concatenate([low, low + sides], axis=1)
    assert match(boxes[:objects], boxes[objects:]).tolist() == reference(boxes[:objects], boxes[objects:])


def test_every_object_gets_an_anchor_even_if_none_overlaps_it_by_half() -> None:
    anchors = to_corners(all_boxes(SSD300))
    tiny = np.array([[0.5, 0.5, 0.51, 0.51], [0.5, 0.5, 0.512, 0.512]])
    assert iou_matrix(tiny, anchors).max() < 0.5
    found = match(tiny, anchors)
    assert sorted(found[found != BACKGROUND]) == [0, 1]


def test_many_objects_in_one_place_are_matched_by_the_same_rule() -> None:
    """They have far more pairs than are looked at together."""
    anchors = to_corners(all_boxes(SSD300))
    shifts = np.random.default_rng(0).uniform(-0.02, 0.02, (40, 4))
    truths = np.concatenate([np.array([0.2, 0.2, 0.8, 0.8]) + shifts, np.array([[0.9, 0.9, 0.95, 0.95]])])
    left = iou_matrix(truths, anchors)
    best = left.argmax(axis=0)
    expected = np.where(left[best, np.arange(len(anchors))] >= 0.5, best, BACKGROUND)
    for _ in range(len(truths)):
        truth, anchor = np.unravel_index(left.argmax(), left.shape)
        expected[anchor] = truth
        left[truth], left[:, anchor] = 0, 0
    assert np.array_equal(match(truths, anchors), expected)
    assert set(range(41)) <= set(expected)


def test_an_image_without_objects_is_background() -> None:
    labels, codes = targets(np.zeros((0, 4)), np.zeros(0, np.int64), all_boxes(SSD300))
    assert not labels.any()
    assert not codes.any()


def test_targets_decode_to_the_objects() -> None:
    anchors = all_boxes(SSD300)
    truths = np.array([[0.1, 0.2, 0.4, 0.6], [0.3, 0.3, 0.95, 0.9]])
    labels, codes = targets(truths, np.array([4, 0]), anchors)
    assert set(labels) == {0, 1, 5}
    boxes = to_corners(decode(codes, anchors))
    np.testing.assert_allclose(boxes[labels == 5], np.broadcast_to(truths[0], (sum(labels == 5), 4)), atol=1e-5)
    np.testing.assert_allclose(boxes[labels == 1], np.broadcast_to(truths[1], (sum(labels == 1), 4)), atol=1e-5)
    positive = iou_matrix(truths, to_corners(anchors)).max(axis=0) >= 0.5
    assert (labels[positive] > 0).all()
    assert (labels > 0).sum() == pytest.approx(positive.sum(), abs=2)
