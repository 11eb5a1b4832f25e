"""Selection of one output of a model by name or number, the same for Keras models and .tflite files.

With several outputs, the user must choose; nothing is guessed, not even if only one output has as many values as there are classes:
a teacher's head, an embedding or an auxiliary head may have that many too, and its accuracy would be taken for the model's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from el_larq.errors import ElLarqError, UsageError, suggest_name
from el_larq.tflite.reader import TfliteGraph

Asked = str | int | None
"""A name, a number from 0 (also as text), or None for a model's only output."""

_NUMBERED = re.compile(r"output_(\d{1,9})")
_LISTED, _LENGTH = 20, 60


@dataclass(frozen=True)
class Output:
    """name: as in the model. position: index among the outputs that a run returns. shape: for one image; None is a free size."""

    name: str
    position: int
    shape: tuple[int | None, ...]


def of_graph(graph: TfliteGraph) -> list[Output]:
    """The outputs of a .tflite in the model's order.

    TensorFlow's converter and earlier versions of this project store them in another order and number them in the signature.
    """
    outputs = [
        Output(name, position, tensor.shape[1:])
        for position, (tensor, name) in enumerate(zip(graph.outputs, graph.output_names, strict=True))
    ]
    numbers = [_NUMBERED.fullmatch(output.name) for output in outputs]
    # If a tensor has the signature's name, that is the name of a layer, and the outputs are in the model's order.
    renamed = any(tensor.name == output.name for tensor, output in zip(graph.outputs, outputs, strict=True))
    order = [int(number[1]) for number in numbers if number is not None]
    if renamed or len(order) < len(outputs):
        return outputs
    return [outputs[position] for position in sorted(range(len(outputs)), key=order.__getitem__)]


def of_keras(model: Any) -> list[Output]:
    """The outputs of a functional Keras model."""
    named = zip(model.output_names or (), model.outputs or (), strict=True)
    return [Output(name, position, tuple(tensor.shape[1:])) for position, (name, tensor) in enumerate(named)]


def choose(outputs: Sequence[Output], asked: Asked, source: str) -> Output:
    """The requested output; a name takes precedence over a number.

    Raises:
        UsageError: there are several and none was requested, or there is none of that name or number; it lists them.
        ElLarqError: the model has no output.
    """
    if not outputs:
        raise ElLarqError(f"{source}: has no output; only classifiers can be used here")
    if asked is None and len(outputs) > 1:
        raise UsageError(f"{source}: has {len(outputs)} outputs; choose one with --output NAME or NUMBER: {_list(outputs)}")
    if asked is None:
        return outputs[0]
    found = [output for output in outputs if output.name == asked]
    if len(found) > 1:
        raise UsageError(f"{source}: has {len(found)} outputs called {asked!r}; give a number: {_list(outputs)}")
    if found:
        return found[0]
    text = str(asked)
    if text.isdecimal() and int(text[:_LENGTH]) < len(outputs):
        return outputs[int(text)]
    hint = suggest_name(text, [output.name for output in outputs if len(output.name) <= _LENGTH], f"it has {_list(outputs)}")
    raise UsageError(f"{source}: unknown output {text!r}; {hint}")


def pick(values: Any, position: int) -> np.ndarray:
    """One of the outputs of a Keras model, which returns a single tensor, a list or a dictionary."""
    import tensorflow as tf

    return np.asarray(tf.nest.flatten(values)[position])


def _list(outputs: Sequence[Output]) -> str:
    shown = [f"{number} {_short(output.name)} ({_sizes(output.shape)})" for number, output in enumerate(outputs[:_LISTED])]
    return ", ".join([*shown, *([f"{len(outputs) - _LISTED} more"] if len(outputs) > _LISTED else [])])


def _short(name: str) -> str:
    return name if len(name) <= _LENGTH else f"{name[: _LENGTH - 1]}…"


def _sizes(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "1"
