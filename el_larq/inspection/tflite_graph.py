"""Inspects the operators of a .tflite as layers; works on any .tflite, since all figures come from the file."""

from math import prod

import numpy as np

from el_larq import card
from el_larq.counting.balance import balance
from el_larq.errors import ElLarqError
from el_larq.inspection.elementwise import work
from el_larq.inspection.summary import Inspection, Layer, bit_class
from el_larq.model_outputs import of_graph
from el_larq.printable import counted
from el_larq.tflite.arena import plan_arena
from el_larq.tflite.instructions import predict_cost, predict_operator
from el_larq.tflite.macs import count_macs, mac_bits
from el_larq.tflite.operators import BINARY, KERNELS, kernel_shape, kernel_signs, output_shape, restores_constant
from el_larq.tflite.postprocess import POSTPROCESS
from el_larq.tflite.reader import Operator, Tensor, TfliteGraph
from el_larq.tflite.types import BITS, tensor_bytes

# Constants of these types are indices, shapes or axes, not weights.
_INDEX_TYPES = ("int32", "int64", "bool", "string")


def inspect_graph(graph: TfliteGraph, source: str, core: str | None = None) -> Inspection:
    """Inspect a graph: every operator, in order of execution; ``core``: also predict its instructions on this core.

    Raises:
        ElLarqError: shapes do not match, as in a damaged file, or the graph is too large to plan its memory.
    """
    try:
        memory = plan_arena(graph)
        run = [operator for operator in graph.operators if not restores_constant(operator)]
        layers = tuple(_layer(operator, memory.live[operator.index], core) for operator in run)
        other_operations = work(graph)
        cost = None if core is None else predict_cost(graph.operators, core)
    except ElLarqError as error:
        raise ElLarqError(f"{source}: {error}") from None
    except (AssertionError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ElLarqError(f"{source}: its operators are inconsistent; the file is damaged, convert the model again") from error
    uncounted = sorted({o.name for o in run if _has_weights(o) and o.name not in KERNELS})
    notes = []
    if any(-1 in tensor.shape or 0 in tensor.shape for tensor in (*graph.inputs, *graph.outputs)):
        notes.append("an input or output has no fixed size: figures that depend on it are counted as 0")
    if restored := sum(tensor_bytes(tensor) for tensor in graph.tensors if tensor.stored is not None):
        notes.append(f"{restored:,} bytes of RAM in addition: weights stored as int8 or float16 are restored once, as float32")
    if unpacked := [kernel.elements for operator in run if (kernel := _int4_kernel(operator)) is not None]:
        notes.append(
            f"{counted(len(unpacked), 'kernel')} as int4, {sum(unpacked):,} weights in {sum(-(-n // 2) for n in unpacked):,} "
            "bytes; "
            f"{max(unpacked):,} bytes of RAM in addition, since TensorFlow Lite unpacks one whenever its operator runs"
        )
    return Inspection(
        source,
        "tflite",
        graph.size,
        layers,
        tuple(describe(tensor) for tensor in graph.inputs),
        tuple(describe(graph.outputs[output.position]) | {"name": output.name} for output in of_graph(graph)),
        _sizes(graph),
        memory.size,
        memory.lower_bound,
        max(memory.scratch.values(), default=0),
        card.of_metadata(graph.metadata, source),
        {name: len(value) for name, value in graph.metadata.items()},
        tuple(uncounted),
        tuple(notes),
        other_operations,
        cost,
        restored,
    )


def describe(tensor: Tensor) -> dict[str, object]:
    return {"name": tensor.name, "type": tensor.type, "shape": list(tensor.shape)}


def _layer(operator: Operator, live: int, core: str | None) -> Layer:
    macs = count_macs(operator)
    return Layer(
        layer_name(operator),
        operator.name,
        output_shape(operator),
        _weights(operator),
        macs,
        bit_class(mac_bits(operator)) if macs else 0,
        sum(len((tensor.stored or tensor).data) for tensor in operator.inputs if tensor is not None),
        sum(tensor_bytes(tensor) for tensor in operator.outputs),
        live,
        None if core is None else predict_operator(operator, core),
        balance([np.where(kernel_signs(operator), -1, 1)]) if operator.name == BINARY else None,
        _zeros(operator),
    )


def _int4_kernel(operator: Operator) -> Tensor | None:
    kernel = operator.inputs[1] if operator.name in KERNELS and len(operator.inputs) > 1 else None
    return kernel if kernel is not None and kernel.constant and kernel.type == "int4" else None


def _zeros(operator: Operator) -> float | None:
    kernel = operator.inputs[1] if operator.name in KERNELS and operator.name != BINARY else None
    if kernel is None or not (kernel.constant or kernel.stored is not None):
        return None
    return round(float(np.mean((kernel.stored or kernel).array() == 0)), 4)


def layer_name(operator: Operator) -> str:
    """The layer that LCE names an operator's first output after, without the parts that TensorFlow adds."""
    if not operator.outputs:
        return f"operator {operator.index}"
    # Of several names, the first that contains a layer: those added by rewriting do not.
    names = operator.outputs[0].name.split(";")
    name = next((name for name in names if "/" in name), names[0]).split(":")[0]
    parts = [part for part in name.split("/") if part not in ("", "StatefulPartitionedCall", "PartitionedCall")]
    # The model's name comes first, TensorFlow's operation last.
    inner = parts[1:-1] if len(parts) > 2 else parts[-1:]
    return "/".join(inner) or f"operator {operator.index}"


def _has_weights(operator: Operator) -> bool:
    return operator.name != POSTPROCESS and any(  # its anchors are not weights
        t is not None and (t.constant or t.stored is not None) and len(t.shape) > 1 and t.type not in _INDEX_TYPES
        for t in operator.inputs
    )


def _weights(operator: Operator) -> dict[int, int]:
    counts: dict[int, int] = {}
    for position, tensor in enumerate(operator.inputs if operator.name != POSTPROCESS else ()):
        if tensor is None or not (tensor.constant or tensor.stored is not None):
            continue
        if operator.name == BINARY and position == 1:
            bits, count = 1, prod(kernel_shape(operator))
        elif tensor.type in _INDEX_TYPES and not (operator.name in KERNELS and position > 0):
            continue  # shapes, axes, multiples
        else:
            bits, count = bit_class(BITS.get((tensor.stored or tensor).type, 32)), tensor.elements
        counts[bits] = counts.get(bits, 0) + count
    return counts


def _sizes(graph: TfliteGraph) -> dict[str, int]:
    """Bytes of the file by purpose. Buffers shared by several tensors count once."""
    names = ("binary kernels", "4-bit weights", "8-bit weights", "real-valued weights")
    sizes = dict.fromkeys(names, 0) | {"metadata": sum(map(len, graph.metadata.values()))}
    kernels = {o.inputs[1].index for o in graph.operators if o.name == BINARY and o.inputs[1] is not None}
    seen: set[int] = set()
    for tensor in graph.tensors:
        if not tensor.constant or id(tensor.data) in seen:
            continue
        seen.add(id(tensor.data))
        if tensor.index in kernels:
            sizes["binary kernels"] += len(tensor.data)
        else:
            bits = BITS.get(tensor.type, 32)
            sizes[f"{bits}-bit weights" if bits in (4, 8) else "real-valued weights"] += len(tensor.data)
    return sizes
