"""A .tflite of a single operator of another one."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from el_larq.converters.rewrite import add_buffer, pack
from el_larq.tflite.interpreter import Interpreter


def one_operator(
    model: Any, number: int, computed: list[int], constants: Mapping[int, np.ndarray], *, linear: bool = False
) -> Interpreter:
    """An operator of an unpacked model by itself.

    Arguments:
        number: of the operator. computed: the tensors that it reads and that are not constants; the inputs, in this order.
        constants: other values for its constants, by tensor, in their own type.
        linear: leave out the fused activation.
    """
    from larq_compute_engine.mlir.python import tflite_schema as schema

    made: Any = schema.ModelT()
    source = model.subgraphs[0]
    graph: Any = schema.SubGraphT()
    made.version, made.operatorCodes, made.subgraphs = 3, model.operatorCodes, [graph]
    empty: Any = schema.BufferT()
    made.buffers, graph.tensors = [empty], []
    numbers: dict[int, int] = {}

    def number_of(index: int) -> int:
        if index < 0:
            return index
        if index not in numbers:
            old, tensor = source.tensors[index], schema.TensorT()
            tensor.shape, tensor.hasRank, tensor.type, tensor.name = old.shape, True, old.type, f"t{index}"
            tensor.quantization, tensor.buffer = old.quantization, 0
            data = model.buffers[old.buffer].data
            if index in constants:
                tensor.buffer = add_buffer(made, constants[index].tobytes())
            elif data is not None and index not in computed:
                made.buffers.append(model.buffers[old.buffer])
                tensor.buffer = len(made.buffers) - 1
            numbers[index] = len(graph.tensors)
            graph.tensors.append(tensor)
        return numbers[index]

    old, operator = source.operators[number], cast(Any, schema.OperatorT())
    operator.opcodeIndex, operator.builtinOptionsType = old.opcodeIndex, old.builtinOptionsType
    operator.builtinOptions = old.builtinOptions
    operator.inputs, operator.outputs = (
        np.array([number_of(int(index)) for index in ends], np.int32) for ends in (old.inputs, old.outputs)
    )
    graph.operators, graph.inputs, graph.outputs = [operator], np.array([numbers[i] for i in computed], np.int32), operator.outputs
    activation = getattr(old.builtinOptions, "fusedActivationFunction", 0)
    if linear:
        old.builtinOptions.fusedActivationFunction = 0
    try:
        return Interpreter(pack(made))
    finally:
        if linear:
            old.builtinOptions.fusedActivationFunction = activation
