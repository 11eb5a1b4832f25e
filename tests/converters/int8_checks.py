"""What tests of int8 files share: random graphs, and float files with the biases of int8 ones."""

from typing import Any

import numpy as np

from el_larq.converters.int8.int8_file import Shifts
from el_larq.converters.rewrite import add_buffer, pack, unpack
from el_larq.tflite.operators import BINARY
from el_larq.tflite.reader import parse


def with_shifts(content: bytes, shifts: Shifts) -> bytes:
    """The float file with what is added to the biases of its operators, by their number."""
    from larq_compute_engine.mlir.python import tflite_schema as schema

    graph, model = parse(content), unpack(content)
    for operator in graph.operators:
        if operator.index not in shifts:
            continue
        position = 3 if operator.name == BINARY else 2
        bias, edited = operator.inputs[position], model.subgraphs[0].operators[operator.index]
        assert bias is not None
        values = (bias.array() + shifts[operator.index]).astype("<f4")
        tensor: Any = schema.TensorT()
        tensor.shape, tensor.hasRank, tensor.name = np.array(values.shape, np.int32), True, f"bias{operator.index}"
        tensor.type, tensor.buffer = schema.TensorType.FLOAT32, add_buffer(model, values.tobytes())
        model.subgraphs[0].tensors.append(tensor)
        inputs = np.array(edited.inputs)
        inputs[position] = len(model.subgraphs[0].tensors) - 1
        edited.inputs = inputs
    return pack(model)
