"""Predicts which layers of a Keras model become binary operators, and the bytes of each layer's weights in a .tflite."""

from math import prod
from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.counting.counts import input_bits, kernel_bits
from el_larq.counting.kernels import quantized_kernels
from el_larq.inspection.binary_layer import one_magnitude
from el_larq.keras_internals import layer_calls
from el_larq.layers.elastic_link import ElasticLink
from el_larq.tflite.operators import WORD, words

_NORMS = (keras.layers.BatchNormalization,)
_WIDE = (keras.layers.DepthwiseConv2D, keras.layers.Conv2DTranspose)


def becomes_binary(layer: Any, input_shape: Any) -> bool:
    """Whether a layer becomes an LceBconv2d: a 2D convolution, or a dense layer on vectors, with binary kernel and input."""
    dense = isinstance(layer, keras.layers.Dense) and len(input_shape) == 2
    if not dense and (not isinstance(layer, keras.layers.Conv2D) or isinstance(layer, _WIDE)):
        return False
    if not kernel_bits(layer) == input_bits(layer) == 1 or type(layer.input_quantizer).__name__ == "SteHeaviside":
        return False
    groups = getattr(layer, "groups", 1)
    if (groups > 1 and layer.kernel.shape[2] % WORD) or getattr(layer, "pad_values", 0.0) not in (-1.0, 0.0, 1.0):
        return False
    kernels = [np.moveaxis(values, -1, 0) for kernel in quantized_kernels(layer) for values in kernel.values()]
    return all(one_magnitude(filters) and np.all(filters) for filters in kernels)


class Neighbours:
    """The layer that each layer reads, and the layers that read it, separately within each nested model."""

    def __init__(self, model: keras.Model):
        self._before: dict[int, Any] = {}
        self._after: dict[int, list[Any]] = {}
        for call in layer_calls(model):
            if isinstance(call.layer, keras.Model):
                inner = Neighbours(call.layer)
                self._before |= inner._before
                self._after |= inner._after
            sources = call.sources
            if len(sources) == 1:
                self._before[id(call.layer)] = sources[0]
            for source in sources:
                self._after.setdefault(id(source), []).append(call.layer)

    def before(self, layer: Any) -> Any | None:
        """The only input of ``layer``, if no other layer reads it; else None."""
        before = self._before.get(id(layer))
        return before if before is not None and len(self._after[id(before)]) == 1 else None

    def after(self, layer: Any) -> Any | None:
        """The only layer that reads ``layer``; None if there are none or several."""
        readers = self._after.get(id(layer), [])
        return readers[0] if len(readers) == 1 else None


def stored_bytes(layer: Any, input_shape: Any, neighbours: Neighbours) -> tuple[int, int]:
    """Bytes of a layer's weights in a .tflite, binary and real-valued.

    A binary kernel packs 32 channels into a word; each filter has a scale and a shift, or a threshold if its result stays packed.
    A normalization is a scale and a shift. After a convolution it is merged into it, which adds a shift if there was none; directly
    before signs it is only a shift. An elastic link that squeezes channels is a depthwise convolution with a bias.
    """
    real = sum(4 * prod(variable.shape) for variable in layer.weights)
    if isinstance(layer, _NORMS):
        channels, before = int(layer.weights[-1].shape[0]), neighbours.before(layer)
        if before is None or not hasattr(before, "use_bias"):
            return 0, (4 if _reads_signs(neighbours.after(layer)) else 8) * channels
        folded = before.use_bias or _reads_signs(before)
        return 0, 0 if folded else 4 * channels
    if isinstance(layer, ElasticLink):
        before, after = (shape[-1] for shape in input_shape)
        return 0, real + (4 * (-(-before // after) + 1) * after if before > after else 0)
    if not becomes_binary(layer, input_shape):
        return 0, real
    shape = tuple(layer.kernel.shape)
    after = neighbours.after(layer)
    packed = _reads_signs(neighbours.after(after) if isinstance(after, _NORMS) else after)
    channels = shape[-1] * getattr(layer, "products", 1)
    bias = 4 * shape[-1] if layer.use_bias else 0
    packed_words = prod(shape[:-2]) * words(shape[-2]) * shape[-1]
    return 4 * packed_words * getattr(layer, "kernels", 1), real - 4 * prod(shape) - bias + (4 if packed else 8) * channels


def _reads_signs(layer: Any | None) -> bool:
    return layer is not None and hasattr(layer, "kernel") and becomes_binary(layer, layer.input_shape)
