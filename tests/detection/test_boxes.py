"""Boxes against definitions computed in another way: counting of unit squares, loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from el_larq.detection.box_coding import SCALES, decode, encode
from el_larq.detection.boxes import areas, clip_boxes, intersections, iou_matrix, to_centred, to_corners

quick = settings(max_examples=60, deadline=None, derandomize=True)
grid = st.integers(0, 12)


@st.composite
def box_lists(draw: st.DrawFn, most: int = 4) -> np.ndarray:
    """Boxes whose corners are integers, some of them without an area."""
    corners = draw(st.lists(st.tuples(grid, grid, grid, grid), max_size=most))
    ordered = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    return np.array(ordered, np.float64).reshape(-1, 4)


def cells(box: np.ndarray) -> set[tuple[int, int]]:
    top, left, bottom, right = map(int, box)
    return {(y, x) for y in range(top, bottom) for x in range(left, right)}


@quick
@given(box_lists(), box_lists())
def test_areas_intersections_and_iou_are_those_of_counted_squares(a: np.ndarray, b: np.ndarray) -> None:
    assert iou_matrix(a, b).shape == (len(a), len(b))
    assert areas(a).tolist() == [len(cells(box)) for box in a]
    for row, one in enumerate(a):
        for column, other in enumerate(b):
            both, either = len(cells(one) & cells(other)), len(cells(one) | cells(other))
            assert intersections(a, b)[row, column] == both
            assert iou_matrix(a, b)[row, column] == pytest.approx(both / either if either else 0)


@quick
@given(box_lists(), st.integers(1, 12), st.integers(1, 12))
def test_clipping_keeps_the_squares_inside(boxes: np.ndarray, height: int, width: int) -> None:
    for box, clipped in zip(boxes, clip_boxes(boxes, height, width), strict=True):
        inside = {(y, x) for y, x in cells(box) if y < height and x < width}
        assert cells(clipped) == inside


def test_a_box_with_exchanged_corners_has_no_area() -> None:
    assert areas(np.array([[3.0, 3.0, 1.0, 1.0], [0, 0, 2, -1]])).tolist() == [0, 0]


@quick
@given(box_lists())
def test_both_forms_say_the_same(boxes: np.ndarray) -> None:
    centred = to_centred(boxes)
    np.testing.assert_array_equal(to_corners(centred), boxes)
    for (y, x, height, width), (top, left, bottom, right) in zip(centred, boxes, strict=True):
        assert (y, x, height, width) == ((top + bottom) / 2, (left + right) / 2, bottom - top, right - left)


sides = st.floats(0.01, 1.5)
places = st.floats(-0.5, 1.5)
centred_boxes = st.tuples(places, places, sides, sides)


@quick
@given(st.lists(st.tuples(centred_boxes, centred_boxes), min_size=1, max_size=5))
def test_decode_inverts_encode(pairs: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
    boxes, anchors = (np.array(part) for part in zip(*pairs, strict=True))
    np.testing.assert_allclose(decode(encode(boxes, anchors), anchors), boxes, rtol=1e-5, atol=1e-5)


def test_the_code_of_a_box_by_hand() -> None:
    anchor = np.array([0.5, 0.5, 0.2, 0.4])
    box = np.array([0.52, 0.42, 0.2 * np.e, 0.4])
    np.testing.assert_allclose(encode(box, anchor), [1, -2, 5, 0], atol=1e-6)
    # TFLite's operator: yc = t_y / y_scale * h_a + y_a, h = exp(t_h / h_scale) * h_a.
    code = encode(box, anchor)
    assert code[0] / SCALES[0] * anchor[2] + anchor[0] == pytest.approx(0.52)
    assert np.exp(code[2] / SCALES[2]) * anchor[2] == pytest.approx(0.2 * np.e)
