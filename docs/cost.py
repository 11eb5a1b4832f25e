"""Draws docs/cost.svg and prints the tables of docs/cost.md: python docs/cost.py [NETWORK ...].

Builds each network with random constants, as training gives (equal ones would be removed), predicts its instructions, converts it
without verification, and predicts those of the .tflite. The counts that the predictions are compared with are stored here;
docs/cost.md says how they were made.
"""

import el_larq  # isort: skip  (first: it selects Keras 2)

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.converters.job import Options
from el_larq.figure_file import figure_file
from el_larq.inspection.keras_layers import inspect_model
from el_larq.inspection.tflite_graph import inspect_graph
from el_larq.keras_internals import leaf_layers
from el_larq.tflite.instructions import PredictedCost
from el_larq.tflite.reader import parse

CORE = "cortex-a72"
KINDS: dict[str, tuple[str, ...]] = {
    "binary convolutions": ("LceBconv2d",),
    "real-valued convolutions": ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
    "additions, scales": ("ADD", "MUL", "SUB", "ABS"),
    "activations": ("PRELU", "RELU", "RELU6"),
    "copies": ("RESHAPE", "BITCAST", "CONCATENATION", "PAD", "PADV2", "STRIDED_SLICE", "SPLIT"),
    "pooling": ("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN"),
    "packing": ("LceQuantize", "LceDequantize"),
}
COLOURS = ("#0072b2", "#7f7f7f", "#d55e00", "#cc79a7", "#e69f00", "#009e73", "#56b4e9")


@dataclass(frozen=True)
class Case:
    """A network, and its millions of instructions as counted: of a file of this converter before the rewrites of November 2026,
    and after rewrites by hand (None where there is no count)."""

    network: str
    method: str
    counted: float | None
    rewritten: float | None = None
    options: dict[str, Any] = field(default_factory=dict)


_SMALL = {"downsample": "binary", "stem": "small"}
_PAIR = {"variant": "linked_pair"}
CASES = {
    "resnet26, no link": Case("resnet26", "el", 265.3, 255.3, {"link": "none"}),
    "resnet26 el": Case("resnet26", "el", 287.1, 271.3),
    "resnet26 el, linked pairs": Case("resnet26", "el", None, None, _PAIR),
    "resnet26, binary downsample, small stem, no link": Case("resnet26", "el", 96.3, None, {"link": "none"} | _SMALL),
    "resnet26 el, binary downsample, small stem": Case("resnet26", "el", 123.5, 112.5, _SMALL),
    "resnet26 el, linked pairs, binary downsample, small stem": Case("resnet26", "el", None, None, _PAIR | _SMALL),
    "resnet18 bireal": Case("resnet18", "bireal", 133.5, 124.2),
    "resnet18 el": Case("resnet18", "el", 136.0, 126.5),
    "mobilenet el": Case("mobilenet", "el", 62.5, 54.8),
    "mobilenet el, binary depthwise": Case("mobilenet", "el", 71.6, None, {"depthwise": "binary"}),
    "reactnet_a reactnet": Case("reactnet_a", "reactnet", 196.1, 188.9),
    "reactnet_a reactnet, elastic link": Case("reactnet_a", "reactnet", 202.8, 188.9, {"link": "elastic"}),
    "quicknet bireal": Case("quicknet", "bireal", 76.2),
    "googlenet el": Case("googlenet", "el", 250.3, 238.6),
    "densenet28 bireal": Case("densenet28", "bireal", 217.2, 204.4),
}
DRAWN = ("resnet26 el", "resnet26 el, binary downsample, small stem", "mobilenet el", "reactnet_a reactnet")


def make(case: Case) -> keras.Model:
    """The network with random constants."""
    keras.backend.clear_session()
    model = el_larq.build(case.network, case.method, **case.options)
    random = np.random.default_rng(0)
    for layer in leaf_layers(model):
        for variable in layer.weights:
            if "kernel" not in variable.name:
                variable.assign(random.uniform(0.3, 1.5, variable.shape))
    return model


def convert(model: keras.Model, case: Case) -> bytes:
    allow = ("binary-depthwise",) if "depthwise" in case.options else ()
    return el_larq.convert(model, skip=("verify",), options=Options(allow=allow)).need_tflite()


def draw(costs: dict[str, PredictedCost], path: Path) -> None:
    """A bar for each network, split by kind of operator, with its count."""
    with figure_file(path, (9, 3.4)) as figure:
        axes = figure.subplots()
        for row, (name, cost) in enumerate(costs.items()):
            start = 0.0
            for (kind, operators), colour in zip(KINDS.items(), COLOURS, strict=True):
                width = sum(one.instructions for one in cost.operators if one.operator in operators) / 1e6
                axes.barh(row, width, left=start, color=colour, height=0.6, label=kind if row == 0 else None)
                start += width
            count = CASES[name].counted or start
            axes.text(max(start, count) + 3, row, f"{start:.0f}", va="center")
            counted = axes.plot([count] * 2, [row - 0.4, row + 0.4], color="black", linewidth=1.2)
            counted[0].set_label("counted, older file" if row == 0 else None)
        axes.set_yticks(range(len(costs)), [name.replace(", binary", ",\nbinary") for name in costs])
        axes.invert_yaxis()
        axes.set_xlabel(f"million instructions of one inference, predicted for {CORE}; not time")
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside upper center", ncols=4, frameon=False)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("networks", nargs="*", help="; ".join(CASES))
    chosen = parser.parse_args().networks or list(CASES)
    costs: dict[str, PredictedCost] = {}
    headings = ("network", "Keras model", ".tflite", "counted, older file", "counted, rewritten by hand", "not predicted")
    print(f"| {' | '.join(headings)} |\n{'| --- ' * len(headings)}|")
    for name in chosen:
        model = make(CASES[name])
        before = inspect_model(model, name, core=CORE).cost
        cost = inspect_graph(parse(convert(model, CASES[name])), name, CORE).cost
        assert cost is not None
        assert before is not None
        costs[name] = cost
        figures = [
            "" if count is None else f"{count:.1f} ({cost.instructions / 1e6 / count - 1:+.1%})"
            for count in (CASES[name].counted, CASES[name].rewritten)
        ]
        predicted = f"{before.instructions / 1e6:.1f} | {cost.instructions / 1e6:.1f}"
        print(f"| {name} | {predicted} | {' | '.join(figures)} | {', '.join(cost.uncounted)} |", flush=True)
    if set(DRAWN) <= set(costs):
        draw({name: costs[name] for name in DRAWN}, Path(__file__).with_suffix(".svg"))


if __name__ == "__main__":
    main()
