"""What a model was meant to become: every quantized kernel, from what its layer declares and what the graph shows.

Layers declare their quantizers, but not what runs. The frozen graph shows what runs, but the values of a kernel do not always show
what it was meant to be. A layer's kernels are found in the graph by their values, since names are not reliable.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tf_keras as keras

from el_larq.converters.graph import Convolution
from el_larq.counting.kernels import declared_bits, quantized_kernels
from el_larq.keras_internals import CONVOLUTION, leaf_layers

# Layers whose kernel is the operand of a single operation in the graph.
_SHOWN = (CONVOLUTION, keras.layers.Dense)
_PARTS = {"depthwise_kernel": "depthwise part", "pointwise_kernel": "pointwise part"}

# Number of values that distinguishes most kernels, and the share of equal values from which two kernels are taken as the same:
# rounding to levels may differ in the last digit.
_PREFIX, _SAME = 64, 0.99


@dataclass(frozen=True)
class Intent:
    """What a layer declares about one of its kernels.

    kind: the layer's class. part: which of its kernels, as in `QuantizedKernel`.
    kernel_quantizer, input_quantizer: names of the quantizers; None if the input has none.
    kernel_bits, input_bits: the bit widths that these declare; None if they declare none.
    kernels: the quantized values. shown: wherever the layer runs, the graph has an operation with such a kernel.
    """

    layer: str
    kind: str
    part: str
    kernel_quantizer: str
    kernel_bits: int | None
    input_quantizer: str | None
    input_bits: int | None
    kernels: tuple[np.ndarray, ...]
    shown: bool = True


@dataclass(frozen=True)
class QuantizedLayer:
    """A convolution or dense layer whose kernel is quantized: as shown by the graph, as declared by its layer, or both."""

    convolution: Convolution | None
    intent: Intent | None

    @property
    def layer(self) -> str:
        if self.convolution is not None:
            return self.convolution.layer
        return "" if self.intent is None else self.intent.layer

    @property
    def title(self) -> str:
        """The layer's name, with the part of a separable convolution."""
        return f"{self.layer} ({_PARTS[self.intent.part]})" if self.separable and self.intent is not None else self.layer

    @property
    def separable(self) -> bool:
        """Whether it is a part of a separable convolution."""
        return self.intent is not None and "Separable" in self.intent.kind

    @property
    def ternary_input(self) -> bool:
        """Whether its kernel is binary and its input ternary."""
        return self.convolution is not None and self.convolution.ternary_input and self.convolution.binary_kernel

    @property
    def elsewhere(self) -> int:
        """The number of its weights that no convolution of the graph contains."""
        return 0 if self.convolution is not None or self.intent is None else sum(k.size for k in self.intent.kernels)

    @property
    def sort(self) -> Literal["binary", "low-bit", "real-input"]:
        """Kernel and input are binary, one of them has more bits, or only the kernel is quantized.

        The last of these if the layer declares no input quantizer and the graph shows no sign of any kind there: then there is
        nothing that a conversion could have lost.
        """
        convolution, intent = self.convolution, self.intent
        if intent is not None and intent.part == "pointwise_kernel":
            return "real-input"
        quantized_input = intent is not None and intent.input_quantizer is not None and (intent.input_bits or 1) < 32
        if not quantized_input and (convolution is None or not convolution.sign_input):
            return "real-input"
        bits = None if intent is None else intent.kernel_bits
        if self.ternary_input:
            return "low-bit"
        if bits is None:
            bits = 1 if convolution is None or convolution.meant_binary else 2
        return "binary" if bits == 1 and (intent is None or intent.input_bits in (None, 1)) else "low-bit"


def read_intents(model: keras.Model) -> tuple[Intent, ...]:
    """An entry for each quantized kernel of a model. Real-valued layers have none."""
    found = []
    for layer in leaf_layers(model):
        for kernel in quantized_kernels(layer):
            found.append(
                Intent(
                    layer.name,
                    type(layer).__name__,
                    kernel.part,
                    _name(kernel.quantizer) or "",
                    kernel.bits,
                    _name(kernel.input_quantizer),
                    declared_bits(kernel.input_quantizer),
                    tuple(kernel.values()),
                    isinstance(layer, _SHOWN),
                )
            )
    return tuple(found)


def join(convolutions: Sequence[Convolution], intents: Iterable[Intent]) -> tuple[QuantizedLayer, ...]:
    """Every convolution of a graph that has a quantized kernel, in order, then the layers that the graph does not show as one.

    A layer whose kernel should be in the graph and is not is not part of the model's inference; it is left out.
    """
    intents = [intent for intent in intents if intent.kernel_bits is None or intent.kernel_bits < 32]
    found, seen = [], set()
    for convolution in convolutions:
        intent = next((i for i in intents if any(_same(convolution.kernel, kernel) for kernel in i.kernels)), None)
        seen.add(id(intent))
        if (intent is not None and intent.kernel_bits is not None) or convolution.meant_binary or convolution.ternary:
            found.append(QuantizedLayer(convolution, intent))
    return (*found, *(QuantizedLayer(None, intent) for intent in intents if id(intent) not in seen and not intent.shown))


def evidence(quantized: Iterable[QuantizedLayer]) -> str:
    """Whether what was meant comes from the layers' quantizers, from the graph alone, or from both."""
    sources = {"graph" if one.intent is None else "layers" for one in quantized}
    return " and ".join(sorted(sources, reverse=True)) or "graph"


def _name(quantizer: object) -> str | None:
    return None if quantizer is None else getattr(quantizer, "__name__", type(quantizer).__name__)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two kernels have the same values; an operation's kernel may have an additional axis of size 1."""
    if a.size != b.size:
        return False
    # NumPy does not compare bfloat16 with other types.
    a, b = a.reshape(-1).astype(np.float32), b.reshape(-1).astype(np.float32)
    return all(np.mean(np.isclose(a[:n], b[:n], 1e-4, 1e-6)) >= _SAME for n in (_PREFIX, a.size))
