"""int8 files of random graphs: each tensor is the float file's within rounding, verification agrees, and offsets are exact."""

import binary_models as models
import int8_checks
import numpy as np
import pytest

from el_larq.compression.affine import Affine
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.int8.int8_comparison import compare_int8
from el_larq.converters.int8.int8_operators import Scales, find_scales
from el_larq.converters.int8.quantized_file import quantize_file
from el_larq.converters.int8.sign_offsets import find_offsets
from el_larq.converters.int8.single_operators import SingleOperators
from el_larq.converters.lower import lower_model
from el_larq.converters.rewrite import with_outputs
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import TfliteGraph, parse

_SEEDS = [seed if seed < 3 else pytest.param(seed, marks=pytest.mark.slow) for seed in range(16)]
_BEFORE_SIGNS, _BEHIND_SIGNS = 0.1, 0.5
"""Limits of the error of a tensor, root mean square, as a share of the tensor's: signs that flip are most of it behind them."""


def _behind(graph: TfliteGraph, scales: Scales, values: dict[int, np.ndarray]) -> dict[int, tuple[bool, float]]:
    """For each tensor whether a sign is in front of it, and the largest step in front of it or of its own.

    values: of the float file, by tensor. Steps are those of 8 bits for the widest of the tensors that share a scale.
    """
    steps: dict[int, float] = {}
    for index, one in values.items():
        first = scales.shares.get(index, index)
        steps[first] = max(steps.get(first, 0.0), (max(one.max(), 0) - min(one.min(), 0)) / 255)
    found: dict[int, tuple[bool, float]] = {}
    for operator in graph.operators:
        given = [found[t.index] for t in operator.inputs if t is not None and t.index in found]
        signs = operator.name == "LceQuantize" or any(sign for sign, _ in given)
        step = max((one for _, one in given), default=0.0)
        found |= {t.index: (signs, max(step, steps.get(scales.shares.get(t.index, t.index), 0.0))) for t in operator.outputs}
    return found


@pytest.mark.parametrize("seed", _SEEDS)
def test_tensors_of_random_graphs_are_those_of_the_float_file(seed: int) -> None:
    content, images = lower_model(FrozenModel(int8_checks.random_model(seed))), models.images(24, 8, 3)
    made = quantize_file(content, images, "mse")
    compare_int8(made, content, [models.images(8, 8, 3)])
    single, graph = SingleOperators(made.content, content), parse(content)
    indices = [tensor.index for operator in graph.operators for tensor in operator.outputs if tensor.type == "float32"]
    got, wanted = (Interpreter(with_outputs(file, indices)).run(images)[1:] for file in (made.content, content))
    behind = _behind(graph, made.scales, dict(zip(indices, wanted, strict=True)))
    for index, one, exact in zip(indices, got, wanted, strict=True):
        error, size = (np.sqrt(np.mean(np.square(values))) for values in (single.real(index, one) - exact, exact))
        signs, step = behind[index]
        assert error <= (_BEHIND_SIGNS if signs else _BEFORE_SIGNS) * size + step, (index, [o.name for o in graph.operators])


@pytest.mark.parametrize("seed", _SEEDS)
def test_offsets_of_random_graphs_are_exact(seed: int) -> None:
    content = lower_model(FrozenModel(int8_checks.random_model(seed, 9, int8_checks.OFFSETS)))
    graph = parse(content)
    scales = find_scales(graph)
    steps = {first: int8_checks.STEP * (1 + number / 8) for number, first in enumerate(sorted(set(scales.shares.values())))}
    affines = {first: Affine(step, 0) for first, step in steps.items()}
    offsets = find_offsets(graph, scales, affines, set(scales.shares))
    int8_checks.assert_exact(content, {tensor: steps[first] for tensor, first in scales.shares.items()}, offsets)
