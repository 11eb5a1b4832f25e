"""Inspects the layers of a Keras model, and predicts the size and memory of its .tflite."""

from math import prod
from pathlib import Path
from typing import Any

import tf_keras as keras

from el_larq import card
from el_larq.counting.balance import Balance, balance
from el_larq.counting.counts import LayerCount, calls, count_call
from el_larq.counting.kernels import quantized_kernels
from el_larq.errors import ElLarqError
from el_larq.inspection.predicted_graph import PredictedGraph
from el_larq.inspection.predicted_weights import Neighbours, stored_bytes
from el_larq.inspection.summary import Inspection, Layer, bit_class
from el_larq.keras_internals import CONVOLUTION, is_functional
from el_larq.loading.load import check_has_layers, load_model
from el_larq.model_outputs import of_keras
from el_larq.tflite.arena import plan_arena
from el_larq.tflite.instructions import predict_cost

_NOTE = "memory, peak, size and instructions are predictions for the .tflite, without links; inspect the .tflite for exact figures"


def inspect_keras(path: Path, trust: bool = False, core: str | None = None) -> Inspection:
    """Inspect a model file: every call of a layer, in graph order.

    Raises:
        ElLarqError: the file is not a model, or the model is subclassed or has sizes that are not static.
    """
    model = load_model(path, trust=trust)
    size = path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    return inspect_model(model, str(path), size, card.read(path), path.suffix.lstrip(".") or "SavedModel", core)


def inspect_model(
    model: keras.Model,
    source: str,
    size: int = 0,
    model_card: card.Card | None = None,
    form: str = "",
    core: str | None = None,
) -> Inspection:
    """As `inspect_keras`, for a model in memory."""
    check_has_layers(model, source)
    if not is_functional(model):
        raise ElLarqError(f"{source}: a subclassed model does not show its layers; convert it and inspect the .tflite")
    for tensor in model.inputs or []:
        if None in tensor.shape[1:]:
            raise ElLarqError(f"{source}: its input {tuple(tensor.shape[1:])} has no fixed size; build it with one")
    lce_graph = PredictedGraph(model)
    try:
        memory = plan_arena(lce_graph.graph)
    except ElLarqError as error:
        raise ElLarqError(f"{source}: {error}") from None
    layers: list[Layer] = []
    seen: set[int] = set()
    predicted = {"binary kernels": 0, "real-valued weights": 0}
    uncounted: list[str] = []
    neighbours = Neighbours(model)
    for layer, input_shape, output_shape in calls(model):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        first = id(layer) not in seen  # a layer with several calls is stored once
        seen.add(id(layer))
        try:
            counted = count_call(layer, input_shape, output_shape)
        except ValueError as error:
            raise ElLarqError(f"{source}: {error}") from None
        if counted is None and first:
            uncounted.append(f"{layer.name} ({type(layer).__name__})")
        binary_bytes, real_bytes = stored_bytes(layer, input_shape, neighbours) if first else (0, 0)
        predicted["binary kernels"] += binary_bytes
        predicted["real-valued weights"] += real_bytes
        shape = _shape(output_shape, f"{source}: {layer.name}")
        kernels = counted or ()
        balances = _balances(layer) if first else {}
        rest = dict(_weights(layer, kernels)) if first else {}
        # A layer with several kernels has a row for each; the last row has the bytes of the whole layer.
        for kernel in kernels[:-1]:
            bits = bit_class(max(kernel.kernel_bits, kernel.input_bits))
            weights = {bit_class(kernel.kernel_bits): kernel.weights} if first else {}
            signs = balances.get(id(kernel.variable))
            row = (kernel.name, type(layer).__name__, (1, *shape[1:]), weights, kernel.macs, bits, 0, 0, 0)
            layers.append(Layer(*row, balance=signs))
            for known, number in weights.items():
                rest[known] -= number
        last = kernels[-1] if kernels else None
        layers.append(
            Layer(
                layer.name if last is None else last.name,
                type(layer).__name__,
                (1, *shape[1:]),
                {bits: number for bits, number in rest.items() if number},
                0 if last is None else last.macs,
                0 if last is None else bit_class(max(last.kernel_bits, last.input_bits)),
                binary_bytes + real_bytes,
                4 * prod(shape[1:]),
                max((memory.live[index] for index in lce_graph.operators_of.get(id(layer), ())), default=0),
                None if core is None else predict_cost(lce_graph.operators_for(layer), core).instructions if first else 0,
                None if last is None else balances.get(id(last.variable)),
            )
        )
    return Inspection(
        source,
        form,
        size,
        tuple(layers),
        tuple(_describe(tensor) for tensor in model.inputs or []),
        tuple(
            _describe(tensor) | {"name": output.name} for tensor, output in zip(model.outputs or [], of_keras(model), strict=True)
        ),
        predicted,
        memory.size,
        memory.lower_bound,
        max(memory.scratch.values(), default=0),
        model_card or {},
        {},
        tuple(uncounted),
        (_NOTE,),
        cost=None if core is None else predict_cost(lce_graph.all_operators, core),
    )


def _describe(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "type": tensor.dtype.name, "shape": list(tensor.shape)}


def _shape(shape: Any, layer: str) -> tuple[int, ...]:
    """The shape of the first output, if there are several."""
    while shape and isinstance(shape[0], (tuple, list)):
        shape = shape[0]
    if any(size is None for size in shape[1:]):
        raise ElLarqError(f"{layer}: its output {tuple(shape)} has no fixed size, so its memory cannot be predicted")
    return tuple(shape)


def _balances(layer: keras.layers.Layer) -> dict[int, Balance]:
    """The balance of a layer's binary kernels, by the id of the variable."""
    if not isinstance(layer, (CONVOLUTION, keras.layers.Dense)):
        return {}
    kernels = [kernel for kernel in quantized_kernels(layer) if kernel.bits == 1]
    found = {id(kernel.latent): balance(kernel.filters()) for kernel in kernels}
    return {variable: one for variable, one in found.items() if one is not None}


def _weights(layer: keras.layers.Layer, kernels: tuple[LayerCount, ...]) -> dict[int, int]:
    """The number of a layer's weights by bits."""
    bits_of = {id(kernel.variable): bit_class(kernel.kernel_bits) for kernel in kernels}
    counts: dict[int, int] = {}
    for variable in layer.weights:
        bits = bits_of.get(id(variable), 32)
        counts[bits] = counts.get(bits, 0) + prod(variable.shape)
    return counts
