"""Constants of additions and multiplications whose values are all equal, stored as one number.

The gain of a link or the scale of a shortcut is one number, which the graph stores once per channel. XNNPACK then multiplies with
one call per pixel, each of C values; with a single number, one call takes the whole tensor:

    x[h, w, c] * d[c]  =  x[h, w, c] * d[0]    if d[c] = d[0] for every c

The results are the same numbers. A multiplication and the addition of a constant after it stay: they are a normalization that was
not folded, which the audit finds by its constants per channel.
"""

from typing import Any

import numpy as np

from el_larq.converters.rewrite import add_constant, constant_values, operator_codes


def with_scalar_constants(model: Any) -> int:
    """Store constants of equal values as one number, in place; how many operators read one now.

    model: the flatbuffer as LCE's object API represents it.
    """
    from larq_compute_engine.mlir.python import tflite_schema as schema

    graph, codes, count = model.subgraphs[0], operator_codes(model), 0
    sums, products = (
        [o for o in graph.operators if codes[o.opcodeIndex] == kind and any(_is_constant(model, i) for i in o.inputs)]
        for kind in (schema.BuiltinOperator.ADD, schema.BuiltinOperator.MUL)
    )
    scaled = {int(o.outputs[0]) for o in products}
    shifted = {int(index) for o in sums for index in o.inputs}
    left = [o for o in sums if scaled.isdisjoint(map(int, o.inputs))] + [o for o in products if int(o.outputs[0]) not in shifted]
    for operator in left:
        inputs = [int(index) for index in operator.inputs]
        position = next((p for p, index in enumerate(inputs) if _is_repeated(model, index)), None)
        if position is None or _size(graph, inputs[1 - position]) != _size(graph, int(operator.outputs[0])):
            continue
        inputs[position] = add_constant(model, _values(model, graph.tensors[inputs[position]])[:1], inputs[position])
        operator.inputs = np.array(inputs, np.int32)
        count += 1
    return count


def _is_constant(model: Any, index: int) -> bool:
    data = model.buffers[model.subgraphs[0].tensors[int(index)].buffer].data
    return data is not None and len(data) > 0


def _is_repeated(model: Any, index: int) -> bool:
    """Whether a tensor is a constant of float32 with several values, all equal bit by bit."""
    tensor = model.subgraphs[0].tensors[index]
    if tensor.type != 0 or not _is_constant(model, index):  # 0: float32
        return False
    values = _values(model, tensor).view(np.int32)
    return len(values) > 1 and bool(np.all(values == values[0]))


def _values(model: Any, tensor: Any) -> np.ndarray:
    return constant_values(model, tensor).reshape(-1)


def _size(graph: Any, index: int) -> list[int]:
    tensor = graph.tensors[index]
    return [] if tensor.shape is None else [int(size) for size in tensor.shape]
