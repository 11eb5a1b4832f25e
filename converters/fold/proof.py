"""Checks that two graphs compute the same: the imported graph and the model, the rewritten graph and the imported one.

Rewrites are checked in double precision, where no sign flips by rounding. The frozen graph runs in single precision only; there,
both graphs are fed the same signs and rounded values, so that each segment between these is compared separately, up to rounding.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import tensorflow as tf

from el_larq.converters.discretizations import ROUNDING, find_discretizations
from el_larq.converters.fold.ir import BINARIZE, FoldGraph, Node
from el_larq.converters.fold.normal_form import read_graph
from el_larq.converters.freezing import LARGE
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.random_inputs import random_inputs
from el_larq.errors import summarize
from el_larq.native_output import captured_stderr

CALLS = ("If", "StatelessIf", "While", "StatelessWhile", "PartitionedCall", "StatefulPartitionedCall")
"""Operators that call functions, whose types do not follow from their inputs: they cannot be checked in double precision."""

# Tolerances of rewrites (double precision) and of the import (single precision), as shares of a tensor's largest value.
TOLERANCE = 1e-9
IMPORT_TOLERANCE = 1e-4


def compare(original: FoldGraph, rewritten: FoldGraph, model: FrozenModel) -> float:
    """The `largest_share` between two graphs of a model in double precision, on one random image."""
    return largest_share(exact_outputs(original, model), exact_outputs(rewritten, model))


def exact_outputs(graph: FoldGraph, model: FrozenModel) -> list[np.ndarray]:
    """All outputs of a graph of the model in double precision, on one random image."""
    images = [tf.constant(batch) for batch in random_inputs(model, 1)]
    with captured_stderr():  # oneDNN prints that it does not support double precision
        return [output.numpy() for output in run_graph(graph, images, precision=tf.float64)[0]]


def largest_share(wanted: list[np.ndarray], got: list[np.ndarray]) -> float:
    """The largest difference of any output, as a share of its largest value."""
    return max(
        float(np.abs(a - b).max(initial=0.0) / (np.abs(a).max(initial=0.0) + 1e-300)) for a, b in zip(wanted, got, strict=True)
    )


def run_graph(
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

    The outputs and every tensor that is binarized or rounded are compared, as shares of their largest values, on two random images.
    Over the tolerance, twice the difference between the imported graph in single and in double precision is subtracted: two graphs
    that compute the same in another order may differ by what rounding does to both.
    """
    images = random_inputs(model, 2)
    nodes = {node.name: node for node in graph.nodes() if node.op in (BINARIZE, *ROUNDING)}
    steps = [step for step in find_discretizations(model) if step.values.op.name in nodes]
    given = model.fetch([step.values for step in steps])(images) if steps else []
    wanted = model.fetch([*(step.real for step in steps), *model.outputs], [step.values for step in steps])(images, *given)
    own = [nodes[step.values.op.name] for step in steps]

    batches, reals = [tf.constant(batch) for batch in images], [node.inputs[0] for node in own]
    values = dict(zip(own, map(tf.constant, given), strict=True))
    outputs, found = run_graph(graph, batches, reals, values)
    names = [*(step.real.name for step in steps), *(output.name for output in model.outputs)]
    differences = [_difference(a, b.numpy()) for a, b in zip(wanted, [*found, *outputs], strict=True)]
    if max(differences, default=0.0) > IMPORT_TOLERANCE:
        roundings = _roundings(graph, batches, reals, values, [*found, *outputs])
        differences = [max(0.0, a - 2 * b) for a, b in zip(differences, roundings, strict=True)]
    worst, where = 0.0, ""
    for name, difference in zip(names, differences, strict=True):
        worst = max(worst, difference)
        where = where or (name if difference > IMPORT_TOLERANCE else "")
    return worst, where


def _roundings(
    graph: FoldGraph, batches: list[tf.Tensor], reals: list[Node], values: dict[Node, tf.Tensor], single: list[tf.Tensor]
) -> list[float]:
    """How far ``single``, the tensors of ``reals`` and the outputs in single precision, is from double precision, one by one."""
    exact = {node: tf.cast(value, tf.float64) for node, value in values.items()}
    with captured_stderr():  # oneDNN prints that it does not support double precision
        (exact_outputs, exact_reals) = run_graph(graph, batches, reals, exact, tf.float64)
    pairs = zip([*exact_reals, *exact_outputs], single, strict=True)
    differences = [_difference(a.numpy(), b.numpy()) for a, b in pairs]
    return [difference if np.isfinite(difference) else 0.0 for difference in differences]


def imported(model: FrozenModel) -> FoldGraph | str:
    """The model's graph as `read_graph` returns it, or the reason why it cannot be imported."""
    try:
        graph = read_graph(model)
        difference, where = compare_import(model, graph)
    except Exception as error:  # unknown operators may raise anything when run by name
        return f"the model contains operations that the rewrites cannot read ({summarize(error, 120)}), so it is lowered unchanged"
    calls = sorted({node.op for node in graph.nodes() if node.op in CALLS})
    if calls:
        return (
            f"the model contains {', '.join(calls)}, whose functions compute in single precision only, so it is lowered unchanged"
        )
    if not difference <= IMPORT_TOLERANCE:
        return (
            f"as imported for rewriting, the model differs from the original by {difference:.1e} at {where}, "
            "so it is lowered unchanged; this is an error in el-larq, please report it"
        )
    return graph


def _difference(wanted: np.ndarray, got: np.ndarray) -> float:
    if wanted.shape != got.shape:
        return np.inf
    difference = np.abs(wanted.astype(np.float64) - got).max(initial=0.0) / (np.abs(wanted).max(initial=0.0) or 1.0)
    return float(difference) if np.isfinite(difference) else np.inf
