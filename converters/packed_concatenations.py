"""Signs of a concatenation as a concatenation of packed signs.

A densely connected network packs the signs of a concatenation that grows with each convolution, although most of them have been
packed before. For parts of whole words, that is multiples of 32 channels,

    pack(concat(a, b))  =  concat(pack(a), pack(b))

A concatenation of which only the signs were read then disappears, and one that only another concatenation reads becomes part
of that one. All results keep their bits.

A packing is rewritten if this takes fewer instructions, by the constants of `tflite/instruction_constants.py`: a concatenation
costs a call for each part of each pixel and its bytes, a packing its channels.
"""

from collections.abc import Iterable
from copy import copy
from math import prod
from typing import Any

import numpy as np

from el_larq.converters.rewrite import operator_codes
from el_larq.tflite.instruction_constants import CALL, COPY, QUANTIZE
from el_larq.tflite.operators import WORD

_PACK = QUANTIZE["float32"].instructions


def with_packed_concatenations(model: Any) -> int:
    """Rewrite packings of concatenations of float32 along the channels, in place; the number of those rewritten.

    model: the flatbuffer as LCE's object API represents it.
    """
    graph = model.subgraphs[0]
    packings = {int(o.inputs[0]): o for o in _packings(model)}
    joins = {int(o.outputs[0]): o for o in _concatenations(model)}
    sites = {source for source in packings if source in joins and _saves(graph, source, packings, joins)}
    if sites:
        graph.operators = _repacked(graph, sites, packings, joins)
        _inline(graph, sites, joins)
    return len(sites)


def _packings(model: Any) -> Iterable[Any]:
    graph, codes = model.subgraphs[0], [code.customCode for code in model.operatorCodes]
    for operator in graph.operators:
        if codes[operator.opcodeIndex] in (b"LceQuantize", "LceQuantize") and _shape(graph, operator.inputs[0]):
            yield operator


def _concatenations(model: Any) -> Iterable[Any]:
    """Those of two or more float32 tensors along the channels, each a multiple of 32, without an activation."""
    from larq_compute_engine.mlir.python import tflite_schema as schema

    graph, codes = model.subgraphs[0], operator_codes(model)
    for operator in graph.operators:
        options = operator.builtinOptions
        if codes[operator.opcodeIndex] != schema.BuiltinOperator.CONCATENATION or options is None:
            continue
        shapes = [_shape(graph, index) for index in (*operator.inputs, operator.outputs[0])]
        if (
            len(shapes) > 2
            and all(shape and shape[-1] % WORD == 0 for shape in shapes)
            and options.axis in (-1, len(shapes[-1]) - 1)
            and options.fusedActivationFunction == schema.ActivationFunctionType.NONE
        ):
            yield operator


def _shape(graph: Any, index: int) -> tuple[int, ...]:
    """The static shape of a tensor of float32; () for other tensors."""
    tensor = graph.tensors[int(index)]
    sizes = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
    signature = () if tensor.shapeSignature is None else tensor.shapeSignature
    static = all(size > 0 for size in (*sizes, *signature))
    return sizes if tensor.type == 0 and static else ()  # 0: float32


def _saves(graph: Any, source: int, packings: dict[int, Any], joins: dict[int, Any]) -> bool:
    *outer, channels = _shape(graph, source)
    parts = [int(index) for index in joins[source].inputs]
    join = len(parts) * CALL.instructions + 4 * channels * COPY.instructions
    packed = len(parts) * CALL.instructions + 4 * channels / WORD * COPY.instructions
    new = sum(_shape(graph, part)[-1] for part in parts if part not in packings)
    saved = (channels - new) * _PACK - packed
    others = [o for o in _readers(graph, source) if o is not packings[source]]
    if not others and source not in graph.outputs:
        saved += join
    elif _is_inner(graph, source, others, joins):
        saved += join - (len(parts) - 1) * CALL.instructions
    return saved * prod(outer) > 0


def _readers(graph: Any, index: int) -> list[Any]:
    return [operator for operator in graph.operators if index in operator.inputs]


def _is_inner(graph: Any, index: int, readers: list[Any], joins: dict[int, Any]) -> bool:
    """Whether a tensor is read by one concatenation, once, and by nothing else."""
    if len(readers) != 1 or index in graph.outputs:
        return False
    return readers[0] is joins.get(int(readers[0].outputs[0])) and list(readers[0].inputs).count(index) == 1


def _repacked(graph: Any, sites: set[int], packings: dict[int, Any], joins: dict[int, Any]) -> list[Any]:
    """The operators, with the packing of each site replaced by a concatenation of packed parts, each packed once and before it."""
    operators: list[Any] = []
    done = set[int]()

    def pack(source: int) -> int:
        """The packed tensor of a tensor, whose operators are appended if they are not there yet."""
        if source not in packings:
            packings[source] = _packing(graph, source, next(iter(packings.values())))
        operator = packings[source]
        if source in done:
            return int(operator.outputs[0])
        done.add(source)
        if source in sites:
            joined = copy(joins[source])
            joined.inputs = np.array([pack(int(part)) for part in joins[source].inputs], np.int32)
            joined.outputs = operator.outputs
            operator = joined
        operators.append(operator)
        return int(operator.outputs[0])

    for operator in graph.operators:
        if operator is packings.get(int(operator.inputs[0]) if len(operator.inputs) else -1):
            pack(int(operator.inputs[0]))
        else:
            operators.append(operator)
    return operators


def _packing(graph: Any, source: int, like: Any) -> Any:
    """A packing of a tensor, into a new tensor."""
    operator, tensor = copy(like), copy(graph.tensors[int(like.outputs[0])])
    *outer, channels = _shape(graph, source)
    tensor.shape, tensor.shapeSignature = np.array([*outer, channels // WORD], np.int32), None
    tensor.name = f"packed{len(graph.tensors)}"
    graph.tensors.append(tensor)
    operator.inputs, operator.outputs = np.array([source], np.int32), np.array([len(graph.tensors) - 1], np.int32)
    return operator


def _inline(graph: Any, sites: set[int], joins: dict[int, Any]) -> None:
    """Remove the concatenations of sites that nothing reads, and those that one concatenation reads, which gets their parts."""
    for source in sorted(sites, key=lambda site: graph.operators.index(joins[site])):
        readers = _readers(graph, source)
        if source in graph.outputs or not (not readers or _is_inner(graph, source, readers, joins)):
            continue
        for reader in readers:
            position = list(reader.inputs).index(source)
            reader.inputs = np.array([*reader.inputs[:position], *joins[source].inputs, *reader.inputs[position + 1 :]], np.int32)
        graph.operators.remove(joins[source])
