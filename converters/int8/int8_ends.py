"""int8 inputs and outputs: the QUANTIZE of each float input and the DEQUANTIZE of each float output are removed."""

from typing import Any

import numpy as np

from el_larq.converters.rewrite import operator_codes, pack, unpack
from el_larq.errors import UsageError
from el_larq.tflite.reader import parse


def with_int8_ends(content: bytes, *, outputs: bool = True) -> bytes:
    """The flatbuffer without conversions at its ends. outputs: whether outputs become int8 too.

    Raises:
        UsageError: an operator that stays float computes with an input or output.
    """
    from larq_compute_engine.mlir.python import tflite_schema as schema

    model = unpack(content)
    graph = model.subgraphs[0]
    codes = operator_codes(model)
    readers: dict[int, int] = {}
    for operator in graph.operators:
        for index in operator.inputs:
            readers[int(index)] = readers.get(int(index), 0) + 1
    results = {int(index) for index in graph.outputs}
    renamed: dict[int, int] = {}
    kept = []
    for operator in graph.operators:
        code, source, output = codes[operator.opcodeIndex], int(operator.inputs[0]), int(operator.outputs[0])
        is_input = code == schema.BuiltinOperator.QUANTIZE and source in graph.inputs and readers[source] == 1
        is_output = outputs and code == schema.BuiltinOperator.DEQUANTIZE and output in results and output not in readers
        if is_input:
            renamed[source] = output
        elif is_output:
            renamed[output] = source
        else:
            kept.append(operator)
    _check_ends(content, set(renamed), outputs)
    for old, new in renamed.items():
        graph.tensors[old].name, graph.tensors[new].name = graph.tensors[new].name, graph.tensors[old].name
    graph.operators = kept
    graph.inputs, graph.outputs = (_replaced(ends, renamed) for ends in (graph.inputs, graph.outputs))
    for signature in model.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = renamed.get(entry.tensorIndex, entry.tensorIndex)
    return pack(model)


def _check_ends(content: bytes, converted: set[int], outputs: bool) -> None:
    graph = parse(content)
    for kind, ends in (("input", graph.inputs), ("output", graph.outputs if outputs else ())):
        for end in ends:
            if end.type != "float32" or end.index in converted:
                continue
            near = {o.name for o in graph.operators if end.index in [t.index for t in (*o.inputs, *o.outputs) if t is not None]}
            names = ", ".join(sorted(near - {"QUANTIZE", "DEQUANTIZE"})) or "no operator with an int8 form"
            raise UsageError(f"quantize: {kind} {end.name!r} cannot be int8: {names} computes with it in float; use --int8 full")


def _replaced(ends: Any, renamed: dict[int, int]) -> np.ndarray:
    return np.array([renamed.get(int(index), int(index)) for index in ends], np.int32)
