"""AdaRound: the formulas of the paper, computed one number at a time, and all roundings of a small layer."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from el_larq.compression.adaptive_rounding import LayerProducts, annealed, choose, loss_and_gradient, rectified, regularizer, start


def _layer(
    groups: int = 1, rows: int = 40, size: int = 6, channels: int = 3, limits: tuple[float, float] = (0.0, 6.0)
) -> LayerProducts:
    numbers = np.random.default_rng(0)
    kernel = numbers.normal(size=(groups, size, channels))
    steps = np.abs(kernel).max(axis=1, keepdims=True) / 7  # coarse
    inputs = numbers.normal(0.5, 1, (groups, rows, size)) + numbers.normal(size=(groups, rows, 1))  # correlated
    bias = numbers.normal(size=(groups, 1, channels))
    return LayerProducts(inputs, kernel, steps, bias, np.clip(inputs @ kernel + bias, *limits), limits)


def _rectified(v: float) -> float:
    return min(1.0, max(0.0, 1 / (1 + math.exp(-v)) * 1.2 - 0.1))


def test_the_rectified_sigmoid_and_the_regularizer_are_those_of_the_paper() -> None:
    v = np.linspace(-5, 5, 21)
    np.testing.assert_allclose(rectified(v), [_rectified(one) for one in v])
    assert rectified(v)[0] == 0
    assert rectified(v)[-1] == 1
    for beta in (20.0, 7.5, 2.0):
        assert regularizer(v, beta) == pytest.approx(sum(1 - abs(2 * _rectified(one) - 1) ** beta for one in v))
    fractions = np.linspace(0, 1, 11)
    np.testing.assert_allclose(rectified(start(fractions)), fractions, atol=1e-12)


def test_beta_falls_from_20_to_2_behind_the_first_fifth() -> None:
    found = [annealed(number, 1000) for number in range(1000)]
    assert found[:201] == [20.0] * 201
    assert found == sorted(found, reverse=True)
    assert found[600] == pytest.approx(11)
    assert found[-1] == pytest.approx(2, abs=1e-3)


def _loss(layer: LayerProducts, v: np.ndarray, rows: np.ndarray, scale: np.ndarray, weight: float, beta: float) -> float:
    low, high = layer.limits
    total = 0.0
    for group, channel in itertools.product(range(v.shape[0]), range(v.shape[2])):
        step, squares = layer.steps[group, 0, channel], 0.0
        for row in rows:
            y = layer.bias[group, 0, channel]
            for k in range(v.shape[1]):
                integer = math.floor(layer.kernel[group, k, channel] / step) + _rectified(v[group, k, channel])
                y += step * min(127, max(-127, integer)) * layer.inputs[group, row, k]
            squares += (min(high, max(low, y)) - layer.targets[group, row, channel]) ** 2
        total += scale[group, 0, channel] * squares / len(rows)
    return total + weight * sum(1 - abs(2 * _rectified(one) - 1) ** beta for one in v.ravel())


@pytest.mark.parametrize(("groups", "channels"), [(1, 3), (4, 1)])
def test_loss_and_gradient(groups: int, channels: int) -> None:
    layer, numbers = _layer(groups, channels=channels), np.random.default_rng(1)
    v, rows = numbers.normal(0, 1.5, layer.kernel.shape), np.array([0, 5, 7, 31])
    given: Any = (rows, numbers.uniform(0.5, 2, layer.steps.shape), 0.3, 3.5)
    loss, gradient = loss_and_gradient(layer, v, *given)
    assert loss == pytest.approx(_loss(layer, v, *given))
    for place in np.ndindex(v.shape):
        moved = np.zeros_like(v)
        moved[place] = 1e-6
        slope = (_loss(layer, v + moved, *given) - _loss(layer, v - moved, *given)) / 2e-6
        assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_the_choice_is_near_the_best_of_all_roundings_and_repeatable() -> None:
    layer = _layer(rows=200, channels=4)
    every = [np.array(bits, bool).reshape(1, 6, 1) for bits in itertools.product((0, 1), repeat=6)]
    best = np.min([layer.errors(np.repeat(up, 4, axis=2)) for up in every], axis=0)
    up = choose(layer, seed=0)
    assert layer.errors(up).sum() < 0.95 * layer.errors(layer.nearest).sum()
    assert layer.errors(up).sum() < 1.05 * best.sum()
    np.testing.assert_array_equal(up, choose(layer, seed=0))


def test_no_channel_is_worse_than_with_nearest_rounding() -> None:
    layer = _layer(2, 300, 30, 8)
    up = choose(layer, seed=0, iterations=100)
    assert np.all(layer.errors(up) <= layer.errors(layer.nearest))
    assert np.any(layer.errors(up) < layer.errors(layer.nearest))
    nowhere = choose(layer, seed=0, iterations=0)
    np.testing.assert_array_equal(nowhere, layer.nearest)
