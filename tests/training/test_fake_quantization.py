"""Rounding to int8 in a training, against `el_larq.compression` in NumPy, and its gradients against the definition."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from el_larq.compression.affine import HIGHEST, LOWEST, Affine
from el_larq.compression.sign_safe import OFFSET, of_range_for_signs
from el_larq.compression.symmetric import channel_scales, dequantize, quantize
from el_larq.training.fake_quantization import round_kernel, round_values, scale_and_zero

RANGES = [(-1.0, 1.0), (-0.3, 2.5), (0.0, 6.0), (0.5, 4.0), (-3.0, -1.0), (-1e-3, 7.0), (-50.0, 1e-4)]


def _values(low: float, high: float) -> np.ndarray:
    """Values in and outside of a range, of which none is near a tie."""
    random = np.random.default_rng(0)
    affine = Affine.of_range(low, high)
    steps = random.integers(-400, 400, (20, 50)) + random.uniform(-0.45, 0.45, (20, 50))
    return (affine.scale * steps).astype(np.float32)


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_values_are_rounded_as_in_the_file(low: float, high: float) -> None:
    values, affine = _values(low, high), Affine.of_range(low, high)
    scale, zero = scale_and_zero(tf.constant(low), tf.constant(high), signs=False)
    np.testing.assert_allclose(float(scale), affine.scale, rtol=1e-6)
    assert int(zero) == affine.zero
    found = round_values(tf.constant(values), tf.constant(low), tf.constant(high))
    np.testing.assert_allclose(found, affine.rounded(values), rtol=1e-5, atol=1e-5 * affine.scale)


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_a_tensor_in_front_of_a_sign_keeps_all_signs(low: float, high: float) -> None:
    """It holds what it is too low by an offset, which is added again: the integer says which sign LCE takes."""
    affine = of_range_for_signs(low, high)
    steps = np.random.default_rng(1).uniform(-300, 300, 1000).astype(np.float32)
    steps = steps[np.abs((steps - OFFSET) % 1 - 0.5) > 0.01]
    values = (affine.scale * np.concatenate([steps, [-0.6, -0.4, -0.01, 0.0, 0.01, 0.4, 0.6]])).astype(np.float32)
    found = np.asarray(round_values(tf.constant(values), tf.constant(low), tf.constant(high), signs=True))
    expected = affine.rounded(values - OFFSET * affine.scale) + OFFSET * affine.scale
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * affine.scale)
    np.testing.assert_array_equal(found >= 0, values >= 0)


@pytest.mark.parametrize("signs", [False, True])
def test_the_gradient_passes_inside_the_range_and_stops_outside(signs: bool) -> None:
    low, high = -0.7, 1.9
    values = _values(low, high)
    affine = (of_range_for_signs if signs else Affine.of_range)(low, high)
    upstream = np.random.default_rng(2).normal(size=values.shape).astype(np.float32)
    x, ends = tf.constant(values), (tf.Variable(tf.constant(low)), tf.Variable(tf.constant(high)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(upstream * round_values(x, *ends, signs=signs))
    found: Any = tape.gradient(y, [x, *ends])
    of_values, *of_ends = found
    steps = values.astype(np.float64) / affine.scale - (OFFSET if signs else 0)
    integers = np.copysign(np.floor(np.abs(steps) + 0.5), steps) + affine.zero
    inside = (integers >= LOWEST) & (integers <= HIGHEST)
    assert 0.2 < inside.mean() < 0.8
    np.testing.assert_array_equal(of_values, np.where(inside, upstream, 0))
    assert of_ends == [None, None]


@pytest.mark.parametrize(("shape", "axes"), [((3, 3, 4, 8), [3]), ((3, 3, 4, 2), [2, 3]), ((64, 10), [1])])
def test_kernels_have_the_integers_of_the_file(shape: tuple[int, ...], axes: list[int]) -> None:
    kernel = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    kernel[..., -1] = 0
    kernel[..., 0] *= 1e-3
    flat = kernel.reshape(*shape[: axes[0]], -1)
    scales = channel_scales(flat, -1)
    expected = dequantize(quantize(flat, scales, -1), scales, -1).reshape(shape)
    x = tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = round_kernel(x, axes)
        y = tf.reduce_sum(found * kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)
    gradient: Any = tape.gradient(y, x)
    np.testing.assert_array_equal(gradient, kernel)


def test_a_normalization_behind_it_leaves_the_integers_of_a_kernel() -> None:
    """Its factors are per output channel, so the kernel that it is folded into has the same integers, up to their signs."""
    random = np.random.default_rng(4)
    kernel, factors = random.normal(size=(3, 3, 4, 8)).astype(np.float32), random.normal(size=8).astype(np.float32)
    folded = round_kernel(kernel * factors, [3])
    np.testing.assert_allclose(folded, np.asarray(round_kernel(kernel, [3])) * factors, rtol=1e-5)


def test_a_range_without_values_rounds_nothing_but_clips() -> None:
    found = round_values(tf.constant([0.0, 3.0]), tf.constant(0.0), tf.constant(0.0))
    np.testing.assert_array_equal(found, Affine.of_range(0, 0).rounded(np.array([0.0, 3.0], np.float32)))


def test_the_compiler_starts_silently() -> None:
    code = "import el_larq; from el_larq.training.fake_quantization import start_compiler; start_compiler()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
