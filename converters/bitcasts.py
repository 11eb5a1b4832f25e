"""Views of float tensors that TensorFlow Lite makes in place: BITCAST to int32, RESHAPE, BITCAST back to float32.

A RESHAPE moves no value: its output has the bytes of its input. TensorFlow Lite's own kernel therefore lets both share memory. But
XNNPACK takes over each RESHAPE of float32, and always copies. It leaves int32 alone, so that TensorFlow Lite runs all three
operators in place. Reading the same 32 bits as an integer and back changes none of them, so the result is identical, NaN included.
"""

from typing import Any

import numpy as np

from el_larq.converters.rewrite import add_operator_code, operator_codes, unary_operator

MIN_BYTES = 8192
"""Smaller tensors keep their RESHAPE: three calls of operators cost about as many instructions as copying this much."""

REASONS = {
    "bitcast": (
        "the runtime of LCE 0.16 and its benchmark binaries register TensorFlow 2.16's built-in operators, BITCAST among them; "
        "el-larq engine check says whether a binary does"
    ),
    "reshape": "as requested: for runtimes without BITCAST (TensorFlow before 2.13)",
}
"""Why each of `steps.VIEWS` is used."""


def with_bitcasts(model: Any) -> int:
    """Replace each RESHAPE of float32 of at least MIN_BYTES, of static shape, in place; the number of those replaced.

    model: the flatbuffer as LCE's object API represents it.
    """
    from larq_compute_engine.mlir.python import tflite_schema as schema

    graph = model.subgraphs[0]
    reshapes = {index for index, code in enumerate(operator_codes(model)) if code == schema.BuiltinOperator.RESHAPE}
    chosen = {id(o) for o in graph.operators if o.opcodeIndex in reshapes and _is_view(graph, o)}
    if not chosen:
        return 0
    bitcast = add_operator_code(model, schema.BuiltinOperator.BITCAST, version=1)
    operators = []
    # By tensor of float32, the same bits as int32: several views may be taken of one tensor, or of a view.
    integers: dict[int, int] = {}
    for operator in graph.operators:
        if id(operator) not in chosen:
            operators.append(operator)
            continue
        source, output = int(operator.inputs[0]), int(operator.outputs[0])
        if source not in integers:
            integers[source] = _integers(graph, source, schema)
            operators.append(unary_operator(bitcast, source, integers[source], "BitcastOptions"))
        integers[output] = _integers(graph, output, schema)
        operator.inputs = np.array([integers[source], *operator.inputs[1:]], np.int32)
        operator.outputs = np.array([integers[output]], np.int32)
        operators += [operator, unary_operator(bitcast, integers[output], output, "BitcastOptions")]
    graph.operators = operators
    return len(chosen)


def _is_view(graph: Any, operator: Any) -> bool:
    source, output = (graph.tensors[int(index)] for index in (operator.inputs[0], operator.outputs[0]))
    for tensor in (source, output):
        sizes = [] if tensor.shape is None else [*tensor.shape, *([] if tensor.shapeSignature is None else tensor.shapeSignature)]
        if tensor.type != 0 or not sizes or any(size < 1 for size in sizes):  # 0: float32
            return False
    return 4 * int(np.prod(output.shape)) >= MIN_BYTES


def _integers(graph: Any, index: int, schema: Any) -> int:
    """The number of a new int32 tensor of another tensor's shape."""
    like, tensor = graph.tensors[index], schema.TensorT()
    tensor.shape, tensor.hasRank, tensor.buffer = like.shape, like.hasRank, 0
    tensor.type = schema.TensorType.INT32
    tensor.name = f"view{len(graph.tensors)}"
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
