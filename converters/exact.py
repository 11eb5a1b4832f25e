"""The model in double precision, with LCE's rounding: it shows how far rounding moves the model's values.

Most networks normalize often enough that single precision stays near 1e-7 of a tensor's size. Where many values are added without
normalization, or a sigmoid of large values scales others, it is thousands of times less accurate.

LCE's binary convolutions round more than others. From the number p of differing signs among K, they compute m (K - 2 p) + b, a
multiplication and an addition per channel, as (-2 m) p + (K m + b). The terms are near K |m|, but their sum, like most sums of K
random signs, is near sqrt(K) |m|, so rounding of the terms by half a unit in the last place is up to sqrt(K) times as much of the
sum. Here, each sum of signs is moved by a random part of two such halves, K / 2^23, the same for all positions of a channel.

Two correct implementations differ by as much, and a verification has to know by how much.

One measured error may be small by chance where few values depend on rounding: a softmax of large logits is 0 or 1 in almost all
images, so that a single image with two nearly tied classes decides. So the outputs are rounded several times, each time in another
way: for inputs that are moved by at most a unit in the last place (`moved`), all roundings behind them differ. And for a softmax or
sigmoid it is the error of the logits that is measured, of which there are more, and what it could do to the probabilities
(`change_of_probabilities`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from el_larq.converters.discretizations import Discretization
from el_larq.converters.fold.ir import FoldGraph, Node, constant
from el_larq.converters.fold.proof import imported, run_graph
from el_larq.converters.frozen import FrozenModel
from el_larq.native_output import captured_stderr

ROUNDINGS = 2
"""How many times the measured error of single precision is accepted: two implementations round, each in its own order."""
LARGEST_ROUNDING = 1e-2
"""What is accepted at most, as a share of a tensor's RMS or of the largest output: beyond it, nothing could be verified."""

MOVES = 4
"""How many times the outputs are rounded in another way."""

_HALF_UNIT = 2.0**-24


class DoublePrecision:
    """A model's graph with LCE's rounding, run in double precision with given values of its discretizations."""

    def __init__(self, graph: FoldGraph, found: Sequence[Discretization], probabilities: Iterable[Any] = ()):
        _move_sums(graph)
        nodes = {node.name: node for node in graph.nodes() if node.inputs}
        self._graph = graph
        values = [*(one.values for one in found), *probabilities]
        self._nodes: dict[str, Node] = {tensor.name: nodes[tensor.op.name] for tensor in values if tensor.op.name in nodes}

    @classmethod
    def of(cls, model: FrozenModel, found: Sequence[Discretization], probabilities: Iterable[Any] = ()) -> "DoublePrecision | None":
        """None for a graph that cannot be run in double precision. probabilities: tensors of softmaxes and sigmoids."""
        graph = imported(model)
        return None if isinstance(graph, str) else cls(graph, found, probabilities)

    def run(
        self, images: Sequence[np.ndarray], given: Mapping[str, np.ndarray], wanted: Sequence[str] = ()
    ) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """The outputs, and the real tensors of discretizations, and the logits of probabilities, all float64.

        Arguments:
            images: a batch (N, ...) for each input.
            given: discrete values by the name of their tensor; others are computed.
            wanted: names of discrete tensors, or probabilities; the real tensors are returned by these names.
        """
        nodes = {self._nodes[name]: tf.constant(values, tf.float64) for name, values in given.items() if name in self._nodes}
        names = [name for name in wanted if name in self._nodes]
        reals = [self._nodes[name].inputs[0] for name in names]
        with captured_stderr():  # oneDNN prints that it does not support double precision
            outputs, found = run_graph(self._graph, [tf.constant(batch) for batch in images], reals, nodes, tf.float64)
        return [output.numpy() for output in outputs], {name: value.numpy() for name, value in zip(names, found, strict=True)}


def _move_sums(graph: FoldGraph) -> None:
    """Add to each sum of signs a part of LCE's rounding, always the same."""
    random = np.random.default_rng(0)
    for node in graph.nodes():
        if node.integers:
            kernel = node.inputs[1].value
            assert kernel is not None
            *window, channels = kernel.shape
            moved = constant(2 * _HALF_UNIT * np.prod(window) * random.uniform(-1, 1, channels))
            graph.replace(node, Node("AddV2", [node, moved], {}, None, node.shape))


def moved(images: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """`MOVES` times the inputs, (N, ...) each, with every value moved to a neighbouring number or left; integers are not moved."""
    random = np.random.default_rng(0)
    for _ in range(MOVES):
        yield [
            np.nextafter(x, x + random.integers(-1, 2, x.shape).astype(x.dtype)) if np.issubdtype(x.dtype, np.floating) else x
            for x in images
        ]


def change_of_probabilities(probabilities: np.ndarray, errors: np.ndarray, kind: str) -> np.ndarray:
    """By how much errors of logits can change probabilities, at most, in their shape.

    For logits that are off by e at most, odds p / (1 - p) change by a factor of exp(e) at most in a sigmoid, and exp(2 e) in a
    softmax: the logit of a class goes up and the others down, or the other way round.

    Arguments:
        probabilities: (N, ...). errors: of the logits, at least 0, one for each image. kind: "Sigmoid" or "Softmax".
    """
    p = probabilities.astype(np.float64)
    factor = np.exp(np.minimum((2 if kind == "Softmax" else 1) * errors, 1.0)).reshape(-1, *[1] * (p.ndim - 1))
    return np.maximum(p * factor / (1 + p * (factor - 1)) - p, p - p / (factor + p * (1 - factor)))


def accepted(single: np.ndarray, double: np.ndarray) -> np.ndarray:
    """How far another implementation may move the values of a tensor (N, ...) by rounding: (N, 1, ...), one amount per image.

    It is measured as the largest difference between single and double precision in the tensor, since the error of a single
    channel may be zero by chance, and is limited to LARGEST_ROUNDING of the image's RMS. Zero where it is not finite.
    """
    axes = tuple(range(1, single.ndim))
    error = np.abs(single - double).max(axis=axes, keepdims=True)
    rms = np.sqrt(np.mean(np.square(double), axis=axes, keepdims=True))
    limit = np.minimum(ROUNDINGS * error, LARGEST_ROUNDING * rms)
    return np.where(np.isfinite(limit), limit, 0.0)
