"""The result of an inspection, per layer and in total; the same for a Keras model and a .tflite.

Usual counting rule: only convolutions and dense layers have multiply-accumulates (MACs); batch normalization, biases,
activations, pooling and links have none. The bits of a MAC are those of its wider operand. BOPs are 1-bit MACs, FLOPs all others,
OPs = FLOPs + BOPs / 64.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from el_larq.inspection.elementwise import Work

CLASSES = (1, 8, 32)
"""The bit widths that are distinguished; other widths count as the next larger one, those over 32 as 32."""


def bit_class(bits: int) -> int:
    return next((known for known in CLASSES if bits <= known), CLASSES[-1])


@dataclass(frozen=True)
class Layer:
    """One layer or operator.

    weights: number of weights by bits.
    macs, mac_bits: multiply-accumulates for one input, and the bits of their wider operand (0 where there are none).
    memory: bytes of its weights as stored.
    activation: bytes of its outputs, for one input.
    live: bytes of all activations and buffers alive while it runs.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    weights: dict[int, int]
    macs: int
    mac_bits: int
    memory: int
    activation: int
    live: int


@dataclass(frozen=True)
class Inspection:
    """A model's layers and the figures derived from them.

    size: bytes of the file.
    predicted: bytes of the .tflite by purpose: of a .tflite as stored, of a Keras model as predicted from the layers' weights.
    outputs: in the model's order; --output takes their names or numbers.
    arena: bytes of the planned arena. ``live_peak``: the most bytes alive at once, a lower bound for any plan.
        ``scratch_peak``: bytes of the largest temporary buffer.
    uncounted: operators or layers with weights whose MACs this project does not count.
    notes: remarks needed to interpret these figures.
    beside: for a .tflite, the work of its operators in addition to multiply-accumulates.
    """

    model: str
    format: str
    size: int
    layers: tuple[Layer, ...]
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    predicted: dict[str, int]
    arena: int
    live_peak: int
    scratch_peak: int
    card: dict[str, Any]
    metadata: dict[str, int]
    uncounted: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    beside: tuple[Work, ...] = ()

    @property
    def weights(self) -> dict[int, int]:
        return {bits: sum(layer.weights.get(bits, 0) for layer in self.layers) for bits in CLASSES}

    @property
    def macs(self) -> dict[int, int]:
        return {bits: sum(layer.macs for layer in self.layers if layer.mac_bits == bits) for bits in CLASSES}

    @property
    def bops(self) -> int:
        return self.macs[1]

    @property
    def flops(self) -> int:
        return sum(macs for bits, macs in self.macs.items() if bits > 1)

    @property
    def ops(self) -> float:
        return self.flops + self.bops / 64

    @property
    def predicted_size(self) -> int:
        return sum(self.predicted.values())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "weights": self.weights,
            "macs": self.macs,
            "bops": self.bops,
            "flops": self.flops,
            "ops": self.ops,
            "parameters": sum(self.weights.values()),
            "predicted_size": self.predicted_size,
        }
