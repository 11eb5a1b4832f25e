"""Joins a profile with the graph it was measured on: layer, operator, bits, MACs, milliseconds, share."""

from dataclasses import asdict, dataclass
from typing import Any

from el_larq.devices.profile_log import ProfileRow
from el_larq.tflite.macs import count_macs, mac_bits
from el_larq.tflite.operators import KERNELS, input_bits
from el_larq.tflite.reader import Operator, TfliteGraph


@dataclass(frozen=True)
class MeasuredLayer:
    """One operator of the graph with its measured time.

    bits: of the multiplications, or of its input if it has none; None if the row is not an operator of the graph (a delegate's).
    macs: multiply-accumulates of one inference, 0 unless it is a convolution or a matrix product. share: of the sum of all rows,
    from 0 to 1.
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


def join(rows: list[ProfileRow], graph: TfliteGraph) -> list[MeasuredLayer]:
    """The layer of each row, in run order. A row that is not an operator of the graph keeps its own name."""
    total = sum(row.ms for row in rows)
    layers = []
    for position, row in enumerate(rows):
        operator = _operator(row, position, len(rows), graph)
        share = row.ms / total if total > 0 else 0.0
        if operator is None:
            layers.append(MeasuredLayer(row.name or row.node_type, row.node_type, None, None, 0, row.ms, share))
            continue
        name = operator.outputs[0].name if operator.outputs else row.name
        layers.append(
            MeasuredLayer(
                name, operator.name, operator.index, _bits(operator), count_macs(operator) * _batch(operator), row.ms, share
            ),
        )
    return layers


def _operator(row: ProfileRow, position: int, count: int, graph: TfliteGraph) -> Operator | None:
    if row.delegated:
        return None
    # The oldest versions print no index; run order is then graph order, if no row is missing.
    index = row.index if row.index is not None else (position if count == len(graph.operators) else None)
    if index is None or not 0 <= index < len(graph.operators):
        return None
    operator = graph.operators[index]
    return operator if _is_operator(row.node_type, operator.name) else None


def _batch(operator: Operator) -> int:
    """The batch size."""
    shape = operator.outputs[0].shape if operator.outputs else ()
    return shape[0] if len(shape) > 1 else 1


def _is_operator(node_type: str, name: str) -> bool:
    """Whether a profile's node type, which may have a suffix "/detail" or the name of a kernel, is this operator."""
    return node_type == name or node_type.startswith((f"{name}/", f"{name} ", f"{name}:"))


def _bits(operator: Operator) -> int:
    return mac_bits(operator) if operator.name in KERNELS else input_bits(operator)
