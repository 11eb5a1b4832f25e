"""What is said of a model, layer by layer and in total. The same for a Keras model and a .tflite.

Counting rule of the field: only convolutions and dense layers have multiply-accumulates (MACs); batch normalization, biases,
activations, pooling and links have none. A MAC has the bits of its wider operand. BOPs are MACs of 1 bit, FLOPs all others,
OPs = FLOPs + BOPs / 64.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from el_larq.inspection.elementwise import Work

CLASSES = (1, 8, 32)
"""Bit widths that are told apart; a width in between counts to the next."""


def bit_class(bits: int) -> int:
    return next((known for known in CLASSES if bits <= known), CLASSES[-1])


@dataclass(frozen=True)
class Layer:
    """One layer or operator.

    weights: how many, by bits.
    macs, mac_bits: multiply-accumulates for one input, and the bits of their wider operand (0 where there are none).
    memory: bytes of its weights as they are stored.
    activation: bytes of what it puts out, for one input.
    live: bytes of all activations and buffers that exist while it runs.
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
    """A model's layers and what follows from them.

    size: bytes of the file.
    predicted: bytes of a .tflite as the layers' weights foretell it, by what they are for.
    outputs: in the model's order, by the names and numbers that --output takes.
    arena: bytes of the planned arena; ``live_peak`` the most that is alive at once, below which no plan can be.
    uncounted: operators with weights whose MACs this project does not count.
    notes: what a reader must know of these figures.
    beside: of a .tflite, what its operators do beside multiply-accumulates.
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
