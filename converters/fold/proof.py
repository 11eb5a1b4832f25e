"""Checks that two graphs compute the same: the imported graph and the model, the rewritten graph and the imported one.

Rewrites are checked in double precision, where no sign flips by rounding. The frozen graph runs in single precision only; there,
both graphs are fed the same signs, so that each segment between signs is compared separately, up to rounding.
"""

import numpy as np
import tensorflow as tf

from el_larq.converters.fold.ir import BINARIZE, Graph
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph import find_signs
from el_larq.converters.random_inputs import random_inputs
from el_larq.native_output import captured_stderr

# Tolerances of rewrites (double precision) and of the import (single precision), as shares of a tensor's largest value.
TOLERANCE = 1e-9
IMPORT_TOLERANCE = 1e-4


def compare(original: Graph, rewritten: Graph, model: FrozenModel) -> float:
    """The largest difference of any output in double precision, as a share of its largest value, on one random image."""
    images = [tf.constant(batch) for batch in random_inputs(model, 1)]
    with captured_stderr():  # oneDNN prints that it does not support double precision
        outputs = tf.function(lambda *x: [graph.run(x, precision=tf.float64)[0] for graph in (original, rewritten)])(*images)
    return max(float(tf.reduce_max(tf.abs(a - b)) / (tf.reduce_max(tf.abs(a)) + 1e-300)) for a, b in zip(*outputs, strict=True))


def compare_import(model: FrozenModel, graph: Graph) -> tuple[float, str]:
    """The largest difference between a frozen graph and the imported one, and the first tensor over IMPORT_TOLERANCE ("" if none).

    The outputs and every tensor that a sign is taken of are compared, as shares of their largest values, on two random images.
    """
    images = random_inputs(model, 2)
    nodes = {node.name: node for node in graph.nodes() if node.op == BINARIZE}
    signs = [sign for sign in find_signs(model) if sign.signs.op.name in nodes]
    given = model.fetch([sign.signs for sign in signs])(images) if signs else []
    wanted = model.fetch([*(sign.real for sign in signs), *model.outputs], [sign.signs for sign in signs])(images, *given)
    own = [nodes[sign.signs.op.name] for sign in signs]

    def run(x: list[tf.Tensor], *values: tf.Tensor) -> list[tf.Tensor]:
        outputs, reals = graph.run(x, [node.inputs[0] for node in own], dict(zip(own, values, strict=True)))
        return [*reals, *outputs]

    got = tf.function(run, autograph=False)([tf.constant(batch) for batch in images], *map(tf.constant, given))
    names = [*(sign.real.name for sign in signs), *(output.name for output in model.outputs)]
    worst, where = 0.0, ""
    for name, a, b in zip(names, wanted, got, strict=True):
        difference = _difference(a, b.numpy())
        worst = max(worst, difference)
        where = where or (name if difference > IMPORT_TOLERANCE else "")
    return worst, where


def _difference(wanted: np.ndarray, got: np.ndarray) -> float:
    if wanted.shape != got.shape:
        return np.inf
    difference = np.abs(wanted.astype(np.float64) - got).max(initial=0.0) / (np.abs(wanted).max(initial=0.0) or 1.0)
    return float(difference) if np.isfinite(difference) else np.inf
