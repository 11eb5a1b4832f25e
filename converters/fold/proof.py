"""Checks that two graphs compute the same: the imported graph and the model, the rewritten graph and the imported one.

Rewrites are checked in double precision, where no sign flips by rounding. The frozen graph runs in single precision only; there,
both graphs are fed the same signs, so that each segment between signs is compared separately, up to rounding.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import tensorflow as tf

from el_larq.converters.fold.ir import BINARIZE, FoldGraph, Node
from el_larq.converters.freezing import LARGE
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph import find_signs
from el_larq.converters.random_inputs import random_inputs
from el_larq.native_output import captured_stderr

# Tolerances of rewrites (double precision) and of the import (single precision), as shares of a tensor's largest value.
TOLERANCE = 1e-9
IMPORT_TOLERANCE = 1e-4


def compare(original: FoldGraph, rewritten: FoldGraph, model: FrozenModel) -> float:
    """The largest difference of any output in double precision, as a share of its largest value, on one random image."""
    images = [tf.constant(batch) for batch in random_inputs(model, 1)]
    with captured_stderr():  # oneDNN prints that it does not support double precision
        outputs = [_run(graph, images, precision=tf.float64)[0] for graph in (original, rewritten)]
    return max(float(tf.reduce_max(tf.abs(a - b)) / (tf.reduce_max(tf.abs(a)) + 1e-300)) for a, b in zip(*outputs, strict=True))


def _run(
    graph: FoldGraph,
    images: list[tf.Tensor],
    keep: Sequence[Node] = (),
    given: Mapping[Node, tf.Tensor] = MappingProxyType({}),
    precision: tf.DType = tf.float32,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """`FoldGraph.run`, compiled, with large constants as arguments: TensorFlow copies a function and its constants."""
    large = {n: n.value for n in graph.nodes() if n.value is not None and n.value.size >= LARGE and n not in given}
    nodes = [*given, *large]

    def run(x: list[tf.Tensor], *values: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        return graph.run(x, keep, dict(zip(nodes, values, strict=True)), precision)

    values = [tf.constant(value, precision if np.issubdtype(value.dtype, np.floating) else None) for value in large.values()]
    return tf.function(run, autograph=False)(images, *given.values(), *values)


def compare_import(model: FrozenModel, graph: FoldGraph) -> tuple[float, str]:
    """The largest difference between a frozen graph and the imported one, and the first tensor over IMPORT_TOLERANCE ("" if none).

    The outputs and every tensor that a sign is taken of are compared, as shares of their largest values, on two random images.
    """
    images = random_inputs(model, 2)
    nodes = {node.name: node for node in graph.nodes() if node.op == BINARIZE}
    signs = [sign for sign in find_signs(model) if sign.signs.op.name in nodes]
    given = model.fetch([sign.signs for sign in signs])(images) if signs else []
    wanted = model.fetch([*(sign.real for sign in signs), *model.outputs], [sign.signs for sign in signs])(images, *given)
    own = [nodes[sign.signs.op.name] for sign in signs]

    batches, reals = [tf.constant(batch) for batch in images], [node.inputs[0] for node in own]
    outputs, found = _run(graph, batches, reals, dict(zip(own, map(tf.constant, given), strict=True)))
    names = [*(sign.real.name for sign in signs), *(output.name for output in model.outputs)]
    worst, where = 0.0, ""
    for name, a, b in zip(names, wanted, [*found, *outputs], strict=True):
        difference = _difference(a, b.numpy())
        worst = max(worst, difference)
        where = where or (name if difference > IMPORT_TOLERANCE else "")
    return worst, where


def _difference(wanted: np.ndarray, got: np.ndarray) -> float:
    if wanted.shape != got.shape:
        return np.inf
    difference = np.abs(wanted.astype(np.float64) - got).max(initial=0.0) / (np.abs(wanted).max(initial=0.0) or 1.0)
    return float(difference) if np.isfinite(difference) else np.inf
