import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from el_larq.detection.anchors import SSD300, all_boxes, anchor_maps, anchor_scales, default_ratios


def literature() -> list[tuple[float, float, float, float]]:
    """SSD300's anchors from the numbers in the authors' configuration for Pascal VOC, written as loops."""
    boxes = []
    rows = zip(
        (38, 19, 10, 5, 3, 1),
        (8, 16, 32, 64, 100, 300),
        (30, 60, 111, 162, 213, 264),
        (60, 111, 162, 213, 264, 315),
        ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
        strict=True,
    )
    for cells, step, least, most, ratios in rows:
        for i, j in itertools.product(range(cells), repeat=2):
            y, x = (i + 0.5) * step / 300, (j + 0.5) * step / 300
            boxes += [(y, x, least / 300, least / 300), (y, x, math.sqrt(least * most) / 300, math.sqrt(least * most) / 300)]
            for ratio in ratios:
                wide, narrow = least * math.sqrt(ratio) / 300, least / math.sqrt(ratio) / 300
                boxes += [(y, x, narrow, wide), (y, x, wide, narrow)]
    return boxes


def test_ssd300_has_the_8732_anchors_of_the_literature() -> None:
    found = all_boxes(SSD300)
    assert found.shape == (8732, 4)
    assert [part.per_cell for part in SSD300] == [4, 6, 6, 6, 4, 4]
    np.testing.assert_allclose(found, literature(), rtol=1e-6)


@pytest.mark.parametrize(
    ("maps", "scales"),
    [(1, [0.1, 0.2]), (2, [0.1, 0.2, 0.9]), (3, [0.1, 0.2, 0.9, 1.6]), (6, [0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05])],
)
def test_scales_of_any_number_of_maps(maps: int, scales: list[float]) -> None:
    assert anchor_scales(maps) == pytest.approx(scales)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=6))
def test_any_maps_are_covered_by_their_cells(sizes: list[tuple[int, int]]) -> None:
    maps = anchor_maps(sizes, default_ratios(len(sizes)))
    boxes = all_boxes(maps)
    assert len(boxes) == sum(rows * columns * part.per_cell for (rows, columns), part in zip(sizes, maps, strict=True))
    first = 0
    for (rows, columns), part in zip(sizes, maps, strict=True):
        own = boxes[first : first + rows * columns * part.per_cell].reshape(rows, columns, part.per_cell, 4)
        first += own.size // 4
        np.testing.assert_allclose(own[:, 0, 0, 0], (np.arange(rows) + 0.5) / rows, rtol=1e-6)
        np.testing.assert_allclose(own[0, :, 0, 1], (np.arange(columns) + 0.5) / columns, rtol=1e-6)
        assert np.ptp(own[..., 2:], axis=(0, 1)).max() == 0
        # Each pair for an aspect ratio has the area of the first anchor.
        np.testing.assert_allclose(own[0, 0, 2:, 2] * own[0, 0, 2:, 3], part.scale**2, rtol=1e-5)
