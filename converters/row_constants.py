"""Constants of additions per channel, stored once per pixel of a row.

XNNPACK adds (H * W, C) and (C) with one call per pixel, each of C values; with few channels, most instructions are calls. The same
constant stored as (1, 1, W, C) is added to (H, W * C), with one call per row:

    x[h, w, c] + d[c]  =  x[h, w, c] + d'[w, c],   d'[w, c] = d[c]

The sums are the same numbers, added in the same way. It costs 4 * (W - 1) * C bytes in the file, so only where C is at most
MAX_CHANNELS, and as long as the file does not grow by more than MAX_GROWTH.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from el_larq.converters.rewrite import add_constant, constant_values, operator_codes

MAX_CHANNELS = 256
MAX_GROWTH = 0.02


@dataclass(frozen=True)
class _Site:
    """An addition, the position of its constant among its inputs, the map's height and width, and its constant."""

    operator: Any
    position: int
    height: int
    width: int
    values: np.ndarray

    @property
    def bytes(self) -> int:
        return self.values.nbytes * self.width

    @property
    def calls_per_byte(self) -> float:
        """Calls that storing rows saves, by bytes that it costs."""
        return self.height * (self.width - 1) / self.bytes


def with_row_constants(model: Any, size: int) -> int:
    """Replace constants of additions by rows, those that save most per byte first; their number.

    model: the flatbuffer as LCE's object API represents it. size: of the file in bytes.
    """
    from larq_compute_engine.mlir.python import tflite_schema as schema

    graph = model.subgraphs[0]
    additions = {index for index, code in enumerate(operator_codes(model)) if code == schema.BuiltinOperator.ADD}
    sites = [site for o in graph.operators if o.opcodeIndex in additions and (site := _site(model, graph, o)) is not None]
    left, used, count = int(MAX_GROWTH * size), 0, 0
    for site in sorted(sites, key=lambda site: -site.calls_per_byte):
        if used + site.bytes > left:
            continue
        inputs = [int(index) for index in site.operator.inputs]
        inputs[site.position] = add_constant(model, np.tile(site.values, (1, 1, site.width, 1)), inputs[site.position])
        site.operator.inputs = np.array(inputs, np.int32)
        used += site.bytes
        count += 1
    return count


def _site(model: Any, graph: Any, operator: Any) -> _Site | None:
    shapes = [_shape(graph.tensors[int(index)]) for index in (*operator.inputs, operator.outputs[0])]
    kinds = {graph.tensors[int(index)].type for index in (*operator.inputs, operator.outputs[0])}
    output = shapes[-1]
    if kinds != {0} or len(output) != 4 or output[0] != 1 or min(output) < 1:  # 0: float32
        return None
    _, height, width, channels = output
    if not 1 < channels <= MAX_CHANNELS or width == 1:
        return None
    for position in (0, 1):
        data = model.buffers[graph.tensors[int(operator.inputs[position])].buffer].data
        one_per_channel = shapes[position] in ((channels,), (1, 1, 1, channels))
        if shapes[1 - position] == output and one_per_channel and data is not None and len(data) == 4 * channels:
            values = constant_values(model, graph.tensors[int(operator.inputs[position])])
            return _Site(operator, position, height, width, values.reshape(1, 1, 1, channels))
    return None


def _shape(tensor: Any) -> tuple[int, ...]:
    dynamic = tensor.shapeSignature is not None and any(size < 0 for size in tensor.shapeSignature)
    return () if tensor.shape is None or dynamic else tuple(int(size) for size in tensor.shape)
