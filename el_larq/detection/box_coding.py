"""Boxes relative to anchors, as a detector predicts them. Does not import TensorFlow.

    t_y = (y - y_a) / h_a / 0.1      t_h = log(h / h_a) / 0.2      and the same for x and w

0.1 and 0.2 are SSD's "variances" (Liu et al., ECCV 2016, in the authors' code). TFLite's operator divides by their reciprocals,
`SCALES`.
"""

import numpy as np

CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
SCALES = (10.0, 10.0, 5.0, 5.0)
"""y_scale, x_scale, h_scale and w_scale of TFLite_Detection_PostProcess."""

_VARIANCES = np.array([CENTRE_VARIANCE] * 2 + [SIZE_VARIANCE] * 2, np.float32)


def encode(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) relative to anchors (..., 4), both in centre form. The sides of boxes are positive."""
    centres = (boxes[..., :2] - anchors[..., :2]) / anchors[..., 2:]
    sides = np.log(boxes[..., 2:] / anchors[..., 2:])
    return np.concatenate([centres, sides], axis=-1) / _VARIANCES


def decode(codes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """The boxes (..., 4) in centre form that `encode` maps to ``codes`` (..., 4)."""
    codes = codes * _VARIANCES
    centres = codes[..., :2] * anchors[..., 2:] + anchors[..., :2]
    return np.concatenate([centres, np.exp(codes[..., 2:]) * anchors[..., 2:]], axis=-1)
