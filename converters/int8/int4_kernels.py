"""Which kernels of an int8 file have 4 bits, on request, and the scales of all kernels.

The operators are those for which both LCE's interpreter and TensorFlow Lite have a kernel of int4 with a scale per channel. Of a
dense layer, LCE's takes one scale only, so it keeps 8 bits. The first and the last layer keep 8 bits too, as in training.
"""

from dataclasses import replace

import numpy as np

from el_larq.compression.int4 import LARGEST, int4_scales
from el_larq.compression.symmetric import LARGEST as LARGEST_INT8
from el_larq.compression.symmetric import channel_scales
from el_larq.converters.int8.int8_operators import KERNEL_AXES, Scales
from el_larq.errors import UsageError
from el_larq.tflite.reader import Operator, TfliteGraph

OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def with_int4_kernels(graph: TfliteGraph, scales: Scales) -> Scales:
    """The scales, with 4 bits for the kernels of all operators that can have them.

    Raises:
        UsageError: there is none.
    """
    found = _candidates(graph)
    if not found:
        raise UsageError(
            "quantize: no kernel of the model can have 4 bits: that takes a convolution which is neither its first nor its last "
            "layer; omit --kernel-bits 4"
        )
    return replace(scales, int4=frozenset(o.index for o in found) & scales.operators)


def learned_kernels(graph: TfliteGraph) -> frozenset[int]:
    """The operators whose kernel could have 4 bits and loses nothing with them, as one that was trained so."""
    return frozenset(o.index for o in _candidates(graph) if int4_scales(_values(o), KERNEL_AXES[o.name])[1].all())


def kernel_scales(operator: Operator, scales: Scales) -> tuple[np.ndarray, int]:
    """The scale of each output channel of a layer's kernel, float32 (C,), and the largest integer."""
    values, axis = _values(operator), KERNEL_AXES[operator.name]
    if operator.index in scales.int4:
        return int4_scales(values, axis)[0], LARGEST
    return channel_scales(values, axis), LARGEST_INT8


def _candidates(graph: TfliteGraph) -> list[Operator]:
    layers = [o for o in graph.operators if o.name in KERNEL_AXES and o.inputs[1] is not None and o.inputs[1].constant]
    return [operator for operator in layers[1:-1] if operator.name in OPERATORS]


def _values(operator: Operator) -> np.ndarray:
    assert operator.inputs[1] is not None
    return operator.inputs[1].array()
