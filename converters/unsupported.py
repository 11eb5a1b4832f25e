"""What no .tflite of LCE can compute, found in the graph, so that it is named before LCE's converter or interpreter fails on it."""

from typing import Any

from el_larq.converters.frozen import FrozenModel, find_source, static_value
from el_larq.converters.graph import layer_name
from el_larq.converters.graph_def import add_constant, add_operation
from el_larq.converters.random_numbers import check_not_random, reason_against_drawing
from el_larq.errors import ElLarqError

_TRAINING = (
    "normalizes with the statistics of each batch (it is called with training=True), so its result depends on which images are "
    "together in a batch; call it without training=True and save the model again"
)
_LIST = "keeps a list in a loop, which LCE's converter cannot write; build a recurrent layer with unroll=True, or replace the loop"
_BRANCH = (
    "has a condition or loop that depends on the input, which becomes a .tflite of several graphs; el-larq reads files of one: "
    "compute both branches and choose with tf.where, or unroll the loop"
)
_OPERATORS = {
    "Erfc": "uses Erfc, which LCE's runtime does not have; for GELU use approximate=True, which takes tanh",
    "Erf": "uses Erf, which LCE's runtime does not have; for GELU use approximate=True, which takes tanh",
    "SparseTensorDenseMatMul": (
        "multiplies by a sparse matrix, which LCE's runtime cannot; "
        "if it is a locally connected layer, build it with implementation=1 or 2"
    ),
    "TensorListReserve": _LIST,
    "TensorListFromTensor": _LIST,
    "TensorListStack": _LIST,
    **dict.fromkeys(("If", "StatelessIf", "While", "StatelessWhile"), _BRANCH),
}
_CHANNELS_LAST = ("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MaxPool", "AvgPool")
"""Operators that TensorFlow computes with channels first on GPUs only."""


def check_computable(model: FrozenModel) -> None:
    """Raise ElLarqError, naming the layer, if an output depends on random numbers or cannot be computed on this machine."""
    check_not_random(model)
    for operation in model.operations:
        if operation.type in _CHANNELS_LAST and operation.get_attr("data_format").startswith(b"NC"):
            layer = layer_name(operation.name, model.name)
            raise ElLarqError(
                f"layer {layer} has data_format='channels_first', which neither TensorFlow on a CPU nor LCE computes; build the "
                "model with channels_last and set the same weights, which have the same shapes"
            )


def check_supported(model: FrozenModel) -> None:
    """Raise ElLarqError, naming the layer, for an operation that cannot be converted."""
    for operation in model.operations:
        reason = _OPERATORS.get(operation.type)
        if operation.type.startswith("FusedBatchNorm") and operation.get_attr("is_training"):
            reason = _TRAINING
        reason = reason or _lost_range(operation) or reason_against_drawing(operation, model)
        if reason is not None and model.depends(operation.outputs[0]):
            layer = layer_name(operation.name, model.name).split("/PartitionedCall")[0]
            raise ElLarqError(f"layer {layer} {reason}")


def _lost_range(operation: Any) -> str | None:
    """Why a fake quantizer directly after another one cannot be converted: LCE's converter keeps the first in a row only.

    The rounding of the others is lost too, but is at most one step each; a smaller range is a clipping.
    """
    outer = _range(operation)
    inner = None if outer is None else _range(find_source(operation.inputs[0]).op)
    if outer is None or inner is None:
        return None
    step = (inner[1] - inner[0]) / 255
    if outer[0] <= inner[0] + step and outer[1] >= inner[1] - step:
        return None
    return (
        f"quantizes to the range from {outer[0]:.4g} to {outer[1]:.4g} what is quantized to that from {inner[0]:.4g} to "
        f"{inner[1]:.4g}, and LCE's converter keeps the first of two fake quantizers in a row; keep one of them in the model"
    )


def _range(operation: Any) -> tuple[float, float] | None:
    """The range of a fake quantizer with one for all channels; None for other operations."""
    if operation.type == "FakeQuantWithMinMaxArgs":
        return operation.get_attr("min"), operation.get_attr("max")
    if operation.type != "FakeQuantWithMinMaxVars":
        return None
    least, most = (static_value(find_source(bound)) for bound in operation.inputs[1:])
    return None if least is None or most is None else (float(least), float(most))


def without_softsign(model: FrozenModel) -> FrozenModel:
    """The model with x / (|x| + 1) in place of Softsign, which LCE's runtime does not have."""
    found = {operation.name: operation.inputs[0] for operation in model.operations if operation.type == "Softsign"}
    if not found:
        return model

    def change(graph: Any) -> None:
        for node in list(graph.node):
            if node.name in found:
                x, dtype = found[node.name].name, found[node.name].dtype
                size = add_operation(graph, "Abs", f"{node.name}/size", [x], dtype)
                one = add_constant(graph, f"{node.name}/one", 1.0, dtype)
                larger = add_operation(graph, "AddV2", f"{node.name}/larger", [size, one], dtype)
                node.op = "RealDiv"
                node.input[:] = [x, larger]

    return model.edited(change)
