"""int8 with a scale per channel, against arithmetic in Python's exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from el_larq.compression.noise import sqnr
from el_larq.compression.symmetric import LARGEST, channel_scales, dequantize, quantize

_kernels = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**31))


def _kernel(shape: tuple[int, ...], seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.standard_normal(shape) * 10.0 ** random.integers(-20, 20)).astype(np.float32)


@given(_kernels, st.sampled_from([0, 3]))
@settings(max_examples=50)
def test_integers_are_the_nearest_and_reach_the_ends(sizes: tuple[int, ...], axis: int) -> None:
    *shape, seed = sizes
    values = _kernel(tuple(shape), seed)
    scales = channel_scales(values, axis)
    integers = quantize(values, scales, axis)
    assert scales.dtype == np.float32
    assert integers.dtype == np.int8
    for channel, scale in enumerate(scales):
        real = np.take(values, channel, axis).ravel()
        whole = np.take(integers, channel, axis).ravel()
        assert np.abs(whole).max() == LARGEST
        for value, integer in zip(real, whole, strict=True):
            error = abs(Fraction(float(value)) - int(integer) * Fraction(float(scale)))
            # Half a step, and what float32 rounds: the quotient has an error of 1e-7 of up to 127.
            assert error <= Fraction(float(scale)) * (Fraction(1, 2) + Fraction(1, 40000))


def test_ties_round_to_even_and_the_rest_to_the_nearest() -> None:
    integers = quantize(np.array([[0.5, 1.5, -0.5, -2.5, 0.51, 3.49]], np.float32), np.ones(1, np.float32), 0)
    assert integers.tolist() == [[0, 2, 0, -2, 1, 3]]


def test_values_beyond_the_range_saturate_symmetrically() -> None:
    integers = quantize(np.array([[1000.0, -1000.0]], np.float32), np.ones(1, np.float32), 0)
    assert integers.tolist() == [[127, -127]]


def test_multiples_of_the_smallest_weight_are_exact() -> None:
    """As in a kernel that adds up binary digits. The second channel has a weight in between, the third reaches too far."""
    digits = np.float32(0.3) * 2.0 ** np.arange(6)
    values = np.array([[*digits, 0], [*digits, 0.4], [*digits, 0.3 * 128]], np.float32)
    scales = channel_scales(values, 0)
    np.testing.assert_array_equal(scales, np.array([0.3, 0.3 * 32 / 127, 0.3 * 128 / 127], np.float32))
    integers = quantize(values, scales, 0)
    assert integers[0].tolist() == [1, 2, 4, 8, 16, 32, 0]
    np.testing.assert_array_equal(dequantize(integers, scales, 0)[0], values[0])


def test_the_largest_weights_do_not_overflow() -> None:
    values = np.array([[3e37, 3.1e36], [3e38, 3.1e36]], np.float32)
    scales = channel_scales(values, 0)
    np.testing.assert_allclose(scales, [3e37 / 127, 3e38 / 127], rtol=1e-6)


def test_a_channel_of_zeros_stays_zero() -> None:
    values = np.zeros((2, 3), np.float32)
    values[1] = [1, -2, 127]
    scales = channel_scales(values, 0)
    assert scales.tolist() == [1, 1]
    np.testing.assert_array_equal(dequantize(quantize(values, scales, 0), scales, 0), values)


def test_each_channel_has_its_own_scale_along_the_given_axis() -> None:
    values = np.array([[1.0, 100.3], [0.3, -254.0]], np.float32)
    np.testing.assert_allclose(channel_scales(values, 1), [1 / 127, 2])
    np.testing.assert_allclose(channel_scales(values, 0), [100.3 / 127, 2])


@given(st.integers(0, 2**31))
@settings(max_examples=20)
def test_quantizing_again_changes_nothing(seed: int) -> None:
    values = _kernel((3, 20), seed)
    scales = channel_scales(values, 0)
    integers = quantize(values, scales, 0)
    again = dequantize(integers, scales, 0)
    np.testing.assert_array_equal(quantize(again, scales, 0), integers)


def test_sqnr_is_that_of_a_known_error() -> None:
    values = np.array([3.0, -4.0], np.float32)
    assert sqnr(values, values + np.float32(0.5)) == pytest.approx(10 * np.log10(25 / 0.5))
    assert sqnr(values, values) == float("inf")
    assert sqnr(np.zeros(2), np.ones(2)) == float("-inf")


def test_sqnr_of_uniform_values_is_six_decibels_a_bit() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (1, 100_000)).astype(np.float32)
    scales = channel_scales(values, 0)
    # Uniform values on 254 steps: 20 log10(254).
    assert sqnr(values, dequantize(quantize(values, scales, 0), scales, 0)) == pytest.approx(20 * np.log10(254), abs=0.1)


def test_a_denormal_channel_has_a_normal_scale() -> None:
    """As of a filter that weight decay has made vanish: its error is still at most half a step."""
    values = np.array([[1.0, -0.5], [1e-44, -1e-44], [2e-37, 0.0]], np.float32)
    scales = channel_scales(values, 0)
    assert scales.min() >= np.finfo(np.float32).tiny
    error = np.abs(dequantize(quantize(values, scales, 0), scales, 0).astype(np.float64) - values).max(axis=1)
    assert (error <= 0.501 * scales).all()
