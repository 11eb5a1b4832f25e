"""The result of an inspection, per layer and in total; the same for a Keras model and a .tflite.

Usual counting rule: only convolutions and dense layers have multiply-accumulates (MACs); batch normalization, biases,
activations, pooling and links have none. The bits of a MAC are those of its wider operand. BOPs are 1-bit MACs, FLOPs all others,
OPs = FLOPs + BOPs / 64.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from el_larq import card
from el_larq.counting.balance import Balance, mean_balance
from el_larq.errors import ElLarqError
from el_larq.inspection.elementwise import Work
from el_larq.tables import html_table
from el_larq.tflite.instructions import PredictedCost

CLASSES = (1, 8, 32)
"""The bit widths that are distinguished; other widths count as the next larger one, those over 32 as 32."""

_SHOWN = ("schema", "inputs", "outputs")
"""Card fields that are not shown as such: the schema, and what is shown of the model itself."""


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
    instructions: predicted for one inference, if a core is given; None for an operator without a prediction.
    balance: of its binary kernel; None for one that is not binary. LCE may store a filter with the opposite signs, which
        changes `positive` of a .tflite, but not `entropy`.
    zeros: share of exact zeros in the kernel of a .tflite that is not binary, 0 to 1; None where there is none.
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
    instructions: int | None = None
    balance: Balance | None = None
    zeros: float | None = None


@dataclass(frozen=True)
class Inspection:
    """A model's layers and the figures derived from them.

    model, format: path of the file, and the kind of model that it contains.
    layers: layers or operators in the order in which they run, see `el_larq.inspection.summary.Layer`.
    inputs: name, type and shape of each input.
    card: what the file says of itself: labels, preprocessing, data set, provenance.
    metadata: bytes of each entry of a .tflite's metadata.
    size: bytes of the file.
    predicted: bytes of the .tflite by purpose: of a .tflite as stored, of a Keras model as predicted from the layers' weights.
    outputs: in the model's order; --output takes their names or numbers.
    arena: bytes of the planned arena. ``live_peak``: the most bytes alive at once, a lower bound for any plan.
        ``scratch_peak``: bytes of the largest temporary buffer.
    uncounted: operators or layers with weights whose MACs this project does not count.
    notes: remarks needed to interpret these figures.
    other_operations: for a .tflite, the work of its operators in addition to multiply-accumulates.
    cost: predicted instructions on the core that was given, see `el_larq.tflite.instructions`.
    restored: bytes of RAM, in addition to the arena, for weights that are stored as int8 or float16 and computed as float32.
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
    other_operations: tuple[Work, ...] = ()
    cost: PredictedCost | None = None
    restored: int = 0

    def __repr__(self) -> str:
        return f"Inspection({self.model!r}: {self.size:,} bytes, {len(self.layers):,} layers, {self.ops:,.0f} OPs)"

    def _repr_html_(self) -> str:
        return html_table(self.model, self.totals())

    def summary(self) -> list[tuple[str, str]]:
        """The part of `totals` that is read first, without the parts of the file and with the card in a line."""
        brief = ("predicted", "as .tflite", "balance", "metadata", "card", "peak RAM")
        lines = [(heading, text) for heading, text in self.totals() if heading not in brief]
        at = next((i for i, (heading, _) in enumerate(lines) if heading in ("input", "output", "note")), len(lines))
        memory = [("peak RAM", f"{self.arena:,} bytes of activations and buffers")]
        if self.format != "tflite":
            memory = [("as .tflite", f"{self.predicted_size:,} bytes"), *memory]
        notes = next((i for i, (heading, _) in enumerate(lines) if heading == "note"), len(lines))
        about = _about(self.card)
        return [*lines[:at], *memory, *lines[at:notes], *([("card", about)] if about else []), *lines[notes:]]

    def totals(self) -> list[tuple[str, str]]:
        """The figures of the whole model in words, as the command prints them: headings and texts."""
        prepared = _prepared(self.card, self.model)
        return [
            ("file", f"{self.size:,} bytes"),
            (
                "as .tflite" if self.format != "tflite" else "predicted",
                f"{self.predicted_size:,} bytes{_departure(self)}: "
                + ", ".join(f"{size:,} {name}" for name, size in self.predicted.items() if size),
            ),
            ("weights", _by_bits(self.weights)),
            *([("balance", _balance(self.balance))] if self.balance is not None else []),
            ("MACs", _by_bits(self.macs)),
            ("OPs", f"{self.ops:,.0f} = {self.flops:,} FLOPs + {self.bops:,} BOPs / 64"),
            *([("other ops", _other_work(self))] if self.other_operations else []),
            *([("instr.", _predicted(self.cost))] if self.cost is not None else []),
            (
                "peak RAM",
                f"{self.arena:,} bytes of activations and buffers (largest buffer {self.scratch_peak:,}; "
                f"any plan needs at least {self.live_peak:,})",
            ),
            *(("input", _describe(tensor)) for tensor in self.inputs),
            *([("scaled as", prepared)] if prepared else []),
            *(
                ("output", f"{number} {_describe(tensor)}" if len(self.outputs) > 1 else _describe(tensor))
                for number, tensor in enumerate(self.outputs)
            ),
            *(("metadata", f"{name}, {size:,} bytes") for name, size in self.metadata.items()),
            *(
                ("card", f"{name}: {_short(value)}")
                for name, value in self.card.items()
                if value is not None and name not in _SHOWN
            ),
            *(("note", f"MACs of {name} are not counted") for name in self.uncounted),
            *(("note", note) for note in self.notes),
            *(("note", f"instructions of {name} are not counted") for name in (self.cost.uncounted if self.cost else ())),
        ]

    @property
    def weights(self) -> dict[int, int]:
        return {bits: sum(layer.weights.get(bits, 0) for layer in self.layers) for bits in CLASSES}

    @property
    def balance(self) -> Balance | None:
        """Of all binary kernels together; None if there is none."""
        return mean_balance((layer.weights.get(1, 0), layer.balance) for layer in self.layers if layer.balance is not None)

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
        content = asdict(self)
        content["beside"] = content.pop("other_operations")  # the name in JSON since the first version
        if self.cost is not None:
            content["cost"] |= {"instructions": self.cost.instructions, "uncounted": self.cost.uncounted}
        return content | {
            "weights": self.weights,
            "balance": None if self.balance is None else asdict(self.balance),
            "macs": self.macs,
            "bops": self.bops,
            "flops": self.flops,
            "ops": self.ops,
            "parameters": sum(self.weights.values()),
            "predicted_size": self.predicted_size,
        }


def _other_work(inspection: Inspection) -> str:
    kinds = ("multiplications", "additions", "comparisons", "functions")
    totals = ((kind, sum(getattr(one, kind) for one in inspection.other_operations)) for kind in kinds)
    return ", ".join(f"{total:,} {kind}" for kind, total in totals if total) or "none"


def _balance(found: Balance) -> str:
    return f"{found.positive:.2%} of the binary weights are +1; entropy in their filters {found.entropy:.4f} bits"


def _predicted(cost: PredictedCost) -> str:
    incomplete = f", without {', '.join(cost.uncounted)}" if cost.uncounted else ""
    figure = f"more than {cost.instructions:,}" if incomplete else f"{cost.instructions:,}"
    return f"{figure} on {cost.core}{incomplete}, an estimate (docs/cost.md); instructions are not time"


def _departure(inspection: Inspection) -> str:
    """How much larger a .tflite is than the predicted size of its parts, due to names, shapes and operators."""
    if inspection.format != "tflite" or not inspection.predicted_size:
        return ""
    return f" (the file has {inspection.size / inspection.predicted_size - 1:+.1%} for names, shapes and operators)"


def _by_bits(counts: dict[int, int]) -> str:
    return ", ".join(f"{count:,} of {bits} bit" for bits, count in counts.items() if count) or "none"


def _describe(tensor: dict[str, object]) -> str:
    return f"{tensor['name']}: {tensor['type']} {tensor['shape']}"


def _prepared(model_card: card.Card, source: str) -> str:
    """How an image becomes the model's input: the scaling, by channel where they differ."""
    try:
        how = card.preprocessing(model_card, source)
    except ElLarqError:
        return "the preprocessing on its card is damaged"
    if how is None:
        return ""
    order = f", channels in the order {how.channel_order.upper()}" if how.channels == 3 else ""
    if how.mean is None or how.std is None:
        return f"(x - mean) / std with the mean and std of each image{order}"
    if isinstance(how.mean, tuple) or isinstance(how.std, tuple):
        return f"(x - mean) / std of x from 0 to 255, mean {_numbers(how.mean)}, std {_numbers(how.std)}{order}"
    return f"(x - {how.mean:g}) / {how.std:g} of x from 0 to 255{order}"


def _numbers(value: float | tuple[float, ...]) -> str:
    return " ".join(f"{number:g}" for number in value) if isinstance(value, tuple) else f"{value:g}"


def _about(model_card: card.Card) -> str:
    """What a card says that fits into a line."""
    named = [f"{name} {model_card[name]}" for name in ("network", "method", "link") if isinstance(model_card.get(name), str)]
    data, accuracy, labels = card.dataset(model_card), model_card.get("accuracy"), model_card.get("labels")
    if data is not None:
        named.append(f"trained on {data}")
    top1 = accuracy.get("top1") if isinstance(accuracy, dict) else None
    if isinstance(accuracy, dict) and isinstance(top1, (int, float)) and 0 <= top1 <= 1:
        named.append(f"top-1 {top1:.2%} ({accuracy.get('split', 'split not stated')})")
    if isinstance(labels, list):
        named.append(f"{len(labels)} classes")
    return ", ".join(map(_short, named))


def _short(value: object, limit: int = 120) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{name} {_item(item)}" for name, item in value.items() if not _is_nested(item))
    elif isinstance(value, list):
        value = f"{len(value)}: {', '.join(str(item) for item in value)}"
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _is_nested(item: object) -> bool:
    """Whether an entry of a card is more than a number, a text or a few numbers, such as a mean of each channel."""
    return isinstance(item, dict) or (
        isinstance(item, list) and not (len(item) <= 4 and all(isinstance(number, (int, float)) for number in item))
    )


def _item(item: object) -> object:
    return " ".join(map(str, item)) if isinstance(item, list) else item
