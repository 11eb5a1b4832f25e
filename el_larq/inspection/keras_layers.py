"""A Keras model's layers, and the .tflite they foretell."""

from math import prod
from pathlib import Path
from typing import Any

import tf_keras as keras

from el_larq import card
from el_larq.errors import ElLarqError
from el_larq.inspection.arena import plan
from el_larq.inspection.sketch import Sketch
from el_larq.inspection.summary import Inspection, Layer, bit_class
from el_larq.model_outputs import of_keras
from el_larq.models.counts import calls, count_call, input_bits, kernel_bits
from el_larq.models.load import load_model

_NORMS = (keras.layers.BatchNormalization,)
_NOTE = "memory, peak and size are those of the .tflite that this model foretells, without links; inspect the .tflite itself"


def inspect_keras(path: Path, trust: bool = False) -> Inspection:
    """Every call of a layer of a model file, in the order of the graph.

    Raises:
        ElLarqError: no model, a subclassed one, or one whose sizes are not static.
    """
    model = load_model(path, trust=trust)
    size = path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    return inspect_model(model, str(path), size, card.read(path), path.suffix.lstrip(".") or "SavedModel")


def inspect_model(
    model: keras.Model, source: str, size: int = 0, model_card: card.Card | None = None, form: str = ""
) -> Inspection:
    """The same for a model in memory."""
    if not getattr(model, "_nodes_by_depth", None):
        raise ElLarqError(f"{source}: a subclassed model does not show its layers; convert it and inspect the .tflite")
    for tensor in model.inputs or []:
        if None in tensor.shape[1:]:
            raise ElLarqError(f"{source}: its input {tuple(tensor.shape[1:])} has no fixed size; build it with one")
    sketch = Sketch(model)
    try:
        memory = plan(sketch.graph)
    except ElLarqError as error:
        raise ElLarqError(f"{source}: {error}") from None
    layers: list[Layer] = []
    seen: set[int] = set()
    predicted = {"binary kernels": 0, "real-valued weights": 0}
    for layer, input_shape, output_shape in calls(model):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        first = id(layer) not in seen  # a layer that is called again is stored once
        seen.add(id(layer))
        try:
            counted = count_call(layer, input_shape, output_shape)
        except ValueError as error:
            raise ElLarqError(f"{source}: {error}") from None
        binary_bytes, real_bytes = _stored(layer) if first else (0, 0)
        predicted["binary kernels"] += binary_bytes
        predicted["real-valued weights"] += real_bytes
        bits = 0 if counted is None else bit_class(max(counted.kernel_bits, counted.input_bits))
        shape = _shape(output_shape)
        layers.append(
            Layer(
                layer.name,
                type(layer).__name__,
                (1, *shape[1:]),
                _weights(layer) if first else {},
                0 if counted is None else counted.macs,
                bits,
                binary_bytes + real_bytes,
                4 * prod(shape[1:]),
                max((memory.live[index] for index in sketch.operators_of.get(id(layer), ())), default=0),
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
        notes=(_NOTE,),
    )


def _describe(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "type": tensor.dtype.name, "shape": list(tensor.shape)}


def _shape(shape: Any) -> tuple[int, ...]:
    """Of the first output, where there are several."""
    while shape and isinstance(shape[0], (tuple, list)):
        shape = shape[0]
    if any(size is None for size in shape[1:]):
        raise ElLarqError(f"a layer's output {tuple(shape)} has no fixed size, so nothing can be said of it")
    return tuple(shape)


def _kernel(layer: keras.layers.Layer) -> Any | None:
    kernel = getattr(layer, "depthwise_kernel", None)
    return kernel if kernel is not None else getattr(layer, "kernel", None)


def _weights(layer: keras.layers.Layer) -> dict[int, int]:
    counts: dict[int, int] = {}
    kernel = _kernel(layer)
    for variable in layer.weights:
        bits = bit_class(kernel_bits(layer)) if variable is kernel else 32
        counts[bits] = counts.get(bits, 0) + prod(variable.shape)
    return counts


def _stored(layer: keras.layers.Layer) -> tuple[int, int]:
    """Bytes in a .tflite, binary and real-valued: 32 channels of a binary kernel in a word, a norm as scale and shift."""
    if isinstance(layer, _NORMS):
        return 0, 2 * 4 * int(layer.weights[-1].shape[0])
    kernel = _kernel(layer)
    others = sum(4 * prod(variable.shape) for variable in layer.weights if variable is not kernel)
    if kernel is None:
        return 0, others
    shape = tuple(kernel.shape)
    binary = isinstance(layer, keras.layers.Conv2D) and kernel_bits(layer) == input_bits(layer) == 1
    if binary and not isinstance(layer, (keras.layers.DepthwiseConv2D, keras.layers.Conv2DTranspose)):
        return 4 * prod(shape[:-2]) * -(-shape[-2] // 32) * shape[-1] * getattr(layer, "kernels", 1), others
    return 0, others + 4 * prod(shape)
