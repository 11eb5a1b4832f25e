"""A profile joined with the graph it was measured on: layer, operator, bits, MACs, milliseconds, share."""

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from el_larq.devices.profile_log import ProfileRow
from el_larq.tflite import Graph, Operator

_INTEGER = {"int8": 8, "uint8": 8, "int16": 16, "int4": 4}


@dataclass(frozen=True)
class Layer:
    """One operator of the graph with its measured time.

    bits: of the weights and inputs it multiplies; of its input where it multiplies nothing; None when a row is no operator
    of the graph (a delegate's). macs: multiply-accumulates of one inference, 0 for what is no convolution or matrix product.
    share: of the sum of all rows, from 0 to 1.
    """

    layer: str
    operator: str
    index: int | None
    bits: int | None
    macs: int
    ms: float
    share: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def join(rows: list[ProfileRow], graph: Graph) -> list[Layer]:
    """Rows with what the graph knows of them, in run order. A row that is no operator of the graph keeps its own name."""
    total = sum(row.ms for row in rows)
    layers = []
    for position, row in enumerate(rows):
        operator = _operator(row, position, len(rows), graph)
        share = row.ms / total if total > 0 else 0.0
        if operator is None:
            layers.append(Layer(row.name or row.node_type, row.node_type, None, None, 0, row.ms, share))
            continue
        name = operator.outputs[0].name if operator.outputs else row.name
        layers.append(
            Layer(name, operator.name, operator.index, bits(operator), macs(operator), row.ms, share),
        )
    return layers


def _operator(row: ProfileRow, position: int, count: int, graph: Graph) -> Operator | None:
    if row.delegated:
        return None
    # The oldest versions print no index; run order is graph order then, if nothing is missing.
    index = row.index if row.index is not None else (position if count == len(graph.operators) else None)
    if index is None or not 0 <= index < len(graph.operators):
        return None
    operator = graph.operators[index]
    return operator if _same(row.node_type, operator.name) else None


def _same(node_type: str, name: str) -> bool:
    """Whether a profile's node type, which may be followed by "/detail" or a kernel's name, is this operator."""
    return node_type == name or node_type.startswith((f"{name}/", f"{name} ", f"{name}:"))


def bits(operator: Operator) -> int:
    if operator.name == "LceBconv2d":
        return 1
    types = [tensor.type for tensor in operator.inputs[:2] if tensor is not None]
    return min((_INTEGER.get(kind, 32) for kind in types), default=32)


def macs(operator: Operator) -> int:
    """Multiply-accumulates of one inference of the graph's batch; for LceBconv2d those of one bit."""
    if len(operator.inputs) < 2 or operator.inputs[1] is None or not operator.outputs:
        return 0
    weights, output = operator.inputs[1].shape, operator.outputs[0].shape
    if operator.name == "LceBconv2d" and len(weights) == 4 and len(output) == 4:
        channels = operator.options.get("channels_in", 0)
        groups = 1
        packed = operator.inputs[0].shape[-1] if operator.inputs[0] is not None else weights[-1]
        if weights[-1] and packed > weights[-1]:
            groups = packed // weights[-1]
        # A packed output counts 32 channels a word: the kernels say how many there are.
        return prod(output[:3]) * weights[0] * weights[1] * weights[2] * (channels // groups)
    if operator.name == "CONV_2D" and len(weights) == 4:
        return prod(output) * prod(weights[1:])
    if operator.name == "DEPTHWISE_CONV_2D" and len(weights) == 4:
        return prod(output) * prod(weights[1:3])
    if operator.name == "TRANSPOSE_CONV" and len(operator.inputs) > 2 and operator.inputs[2] is not None:
        return prod(operator.inputs[2].shape[:3]) * prod(weights)
    if operator.name == "FULLY_CONNECTED" and len(weights) == 2:
        return prod(output) * weights[1]
    return 0
