"""Matches the LceBconv2d of a .tflite to the binary convolutions of the model by the bits of their kernels.

Names are not reliable: LCE truncates them, and names a packed result after the layer that reads it. Kernels of trained or
randomly initialized networks are unique. LCE may invert whole filters (it does so for negative multipliers before a packed
result), so filters are compared up to their sign.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from el_larq.tflite.operators import BINARY, TRANSPOSED, kernel_signs
from el_larq.tflite.reader import Operator, TfliteGraph

if TYPE_CHECKING:
    from el_larq.converters.graph import Convolution

REAL_OPERATORS = {
    "Conv2D": "CONV_2D",
    "DepthwiseConv2dNative": "DEPTHWISE_CONV_2D",
    "MatMul": "FULLY_CONNECTED",
    "Conv2DBackpropInput": "TRANSPOSE_CONV",
    "Conv3D": "CONV_3D",
    "Conv3DBackpropInputV2": "CONV_3D_TRANSPOSE",
}
"""The TFLite operator that a real-valued TensorFlow operation is converted to."""

# Operators whose kernels can be compared, and those of them that have the output channels last.
_KINDS = {operator: kind for kind, operator in REAL_OPERATORS.items() if operator not in TRANSPOSED}
_CHANNELS_LAST = ("DEPTHWISE_CONV_2D", "CONV_3D")

# Minimum |cosine| between a filter and the same filter after scaling and rounding, also to 8 bits.
_PARALLEL = 0.99


@dataclass(frozen=True)
class Match:
    """A binary convolution of the model and its operator; ``differing`` is the number of kernel bits that differ."""

    convolution: "Convolution"
    operator: Operator
    differing: int


def match(convolutions: "Iterable[Convolution]", graph: TfliteGraph) -> list[Match]:
    """Each LceBconv2d with the model's binary convolution whose kernel is nearest, in operator order."""
    open_ = [c for c in convolutions if c.kind in ("Conv2D", "MatMul") and c.meant_binary]
    matches = []
    for operator in graph.operators:
        if operator.name != BINARY:
            continue
        bits = kernel_signs(operator)
        candidates = [c for c in open_ if _as_convolution(c).shape == (*bits.shape[1:], bits.shape[0])]
        if not candidates:
            continue
        distances = [_distance(bits, c) for c in candidates]
        nearest = int(np.argmin(distances))
        # Not list.remove: convolutions contain arrays, whose comparison has no single truth value.
        open_ = [c for c in open_ if c is not candidates[nearest]]
        matches.append(Match(candidates[nearest], operator, distances[nearest]))
    return matches


def real_layers(convolutions: "Iterable[Convolution]", graph: TfliteGraph) -> dict[int, str]:
    """Layer names of real-valued convolutions and dense layers, by operator index.

    Batch normalization has been folded into their kernels, so filters are compared by direction.
    """
    open_ = list(convolutions)
    names = {}
    for operator in graph.operators:
        tensor = operator.inputs[1] if operator.name in _KINDS else None
        if tensor is None or not (tensor.constant or tensor.stored is not None):
            continue
        kernel = (tensor.stored or tensor).array().astype(np.float64)
        filters = kernel.reshape(-1, kernel.shape[-1]).T if operator.name in _CHANNELS_LAST else kernel.reshape(len(kernel), -1)
        for convolution in open_:
            if convolution.kind == _KINDS[operator.name] and _parallel(filters, convolution):
                names[operator.index] = convolution.layer
                open_ = [c for c in open_ if c is not convolution]
                break
    return names


def _parallel(filters: np.ndarray, convolution: "Convolution") -> bool:
    """Whether each filter is parallel to the model's, with either sign; filters of zeros match any filter."""
    kernel = convolution.kernel.astype(np.float64)
    if convolution.kind == "DepthwiseConv2dNative":
        wanted = kernel.reshape(-1, kernel.shape[2] * kernel.shape[3]).T
    else:
        wanted = kernel.reshape(-1, kernel.shape[-1]).T
    if wanted.shape != filters.shape:
        return False
    product = np.abs(np.sum(filters * wanted, axis=1))
    norms = np.linalg.norm(filters, axis=1) * np.linalg.norm(wanted, axis=1)
    return bool(np.all(product >= _PARALLEL * norms))


def _as_convolution(convolution: "Convolution") -> np.ndarray:
    """The kernel as (kh, kw, C_in, C_out); `fold` turns binary dense layers into 1x1 convolutions."""
    kernel = convolution.kernel
    return kernel[None, None] if convolution.kind == "MatMul" else kernel


def _distance(bits: np.ndarray, convolution: "Convolution") -> int:
    wanted = np.transpose(_as_convolution(convolution) < 0, (3, 0, 1, 2)).reshape(len(bits), -1)
    differing = (bits.reshape(len(bits), -1) != wanted).sum(axis=1)
    return int(np.minimum(differing, wanted.shape[1] - differing).sum())
