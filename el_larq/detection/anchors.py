"""SSD's anchors: the boxes relative to which a detector predicts, a few per cell of each feature map. Does not import TensorFlow.

Map k of m has the scale s_k, a fraction of the image's side: 0.1 for the first, then 0.2 to about 0.9 in equal steps of whole
percents. With s_{k+1} of the next map (for the last one, a step further), each cell has the anchors

    (s_k, s_k)    (sqrt(s_k s_{k+1}), the same)    for each aspect ratio r    (s_k / sqrt(r), s_k sqrt(r))    and this exchanged

as (height, width). Anchors are ordered by map, row, column, and within a cell as above, which is the order of a convolution's
output that is reshaped. They are not clipped at the image's border. SSD300's six maps have 38 to 1 cells a side and 8,732 anchors.

Source: Liu, Anguelov, Erhan, Szegedy, Reed, Fu, Berg: SSD: Single Shot MultiBox Detector, ECCV 2016.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FIRST_SCALE, _SECOND_SCALE, _LAST_SCALE = 10, 20, 90  # percent


def anchors_per_cell(ratios: Sequence[float]) -> int:
    """The number of anchors per cell for aspect ratios above 1."""
    return 2 + 2 * len(ratios)


@dataclass(frozen=True)
class AnchorMap:
    """The anchors of one feature map.

    rows, columns: its size. scale, next_scale: s_k and s_{k+1}. ratios: the aspect ratios in addition to 1, above 1.
    step: the distance of neighbouring centres as a fraction of the image's side; None spreads them evenly over the image.
    """

    rows: int
    columns: int
    scale: float
    next_scale: float
    ratios: tuple[float, ...] = (2.0,)
    step: float | None = None

    @property
    def per_cell(self) -> int:
        return anchors_per_cell(self.ratios)

    def boxes(self) -> np.ndarray:
        """In centre form, float32 (rows * columns * per_cell, 4), as fractions of the image's sides."""
        between = math.sqrt(self.scale * self.next_scale)
        sizes = [(self.scale, self.scale), (between, between)]
        for ratio in self.ratios:
            root = math.sqrt(ratio)
            sizes += [(self.scale / root, self.scale * root), (self.scale * root, self.scale / root)]
        y, x = np.meshgrid(self._centres(self.rows), self._centres(self.columns), indexing="ij")
        centres = np.stack([y, x], axis=-1).reshape(-1, 1, 2)
        shape = (len(centres), len(sizes), 2)
        boxes = np.concatenate([np.broadcast_to(centres, shape), np.broadcast_to(np.array(sizes), shape)], axis=-1)
        return boxes.reshape(-1, 4).astype(np.float32)

    def _centres(self, count: int) -> np.ndarray:
        return (np.arange(count) + 0.5) * (1 / count if self.step is None else self.step)


def anchor_scales(maps: int) -> list[float]:
    """s_1 to s_{maps + 1} for a number of feature maps, 1 or more."""
    rest = max(maps - 1, 1)
    step = (_LAST_SCALE - _SECOND_SCALE) // max(rest - 1, 1)
    return [_FIRST_SCALE / 100, *((_SECOND_SCALE + step * index) / 100 for index in range(rest + (maps > 1)))]


def anchor_maps(
    sizes: Sequence[tuple[int, int]], ratios: Sequence[tuple[float, ...]], steps: Sequence[float | None] | None = None
) -> tuple[AnchorMap, ...]:
    """The anchors for feature maps of these sizes, (rows, columns) each, in their order, from fine to coarse."""
    scales = anchor_scales(len(sizes))
    return tuple(
        AnchorMap(rows, columns, scales[index], scales[index + 1], tuple(ratios[index]), None if steps is None else steps[index])
        for index, (rows, columns) in enumerate(sizes)
    )


def default_ratios(maps: int) -> tuple[tuple[float, ...], ...]:
    """SSD's aspect ratios: 2 for the first map and the last two, otherwise 2 and 3."""
    return tuple((2.0,) if index == 0 or index >= maps - 2 else (2.0, 3.0) for index in range(maps))


def all_boxes(maps: Sequence[AnchorMap]) -> np.ndarray:
    """The anchors of all maps in centre form, float32 (A, 4)."""
    return np.concatenate([part.boxes() for part in maps])


SSD300 = anchor_maps(
    [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)],
    default_ratios(6),
    [step / 300 for step in (8, 16, 32, 64, 100, 300)],
)
"""The anchors of SSD300 as the authors use them for Pascal VOC: sides of 30, 60, 111, 162, 213 and 264 pixels of 300."""
