"""The arithmetic of cross-layer equalization and bias absorption, on two layers in NumPy."""

import numpy as np

from el_larq.compression.equalization import absorbed, channel_maxima, equalizing_scales


def test_equalized_layers_compute_the_same_and_have_equal_maxima() -> None:
    numbers = np.random.default_rng(0)
    w1 = numbers.normal(size=(8, 5)) * 10.0 ** numbers.uniform(-3, 3, (8, 1))  # (out, in)
    b1, w2, x = numbers.normal(size=8), numbers.normal(size=(4, 8)), numbers.normal(size=(5, 100))
    s = equalizing_scales(channel_maxima(w1, 0), channel_maxima(w2, 1))
    before = w2 @ np.maximum(w1 @ x + b1[:, None], 0)
    after = (w2 * s) @ np.maximum((w1 / s[:, None]) @ x + (b1 / s)[:, None], 0)
    np.testing.assert_allclose(after, before, rtol=1e-10)
    wanted = np.sqrt(np.abs(w1).max(1) * np.abs(w2).max(0))
    np.testing.assert_allclose(np.abs(w1 / s[:, None]).max(1), wanted)
    np.testing.assert_allclose(np.abs(w2 * s).max(0), wanted)


def test_channels_of_zeros_are_left_alone_and_factors_have_limits() -> None:
    np.testing.assert_array_equal(equalizing_scales(np.array([0.0, 1.0, 4.0]), np.array([1.0, 0.0, 1.0])), [1, 1, 2])
    np.testing.assert_array_equal(equalizing_scales(np.array([1e30]), np.array([1e-30])), [2.0**20])


def test_maxima_are_of_any_axis() -> None:
    kernel = np.arange(-12, 12).reshape(1, 2, 3, 4)
    np.testing.assert_array_equal(channel_maxima(kernel, 3), np.abs(kernel).max((0, 1, 2)))
    np.testing.assert_array_equal(channel_maxima(kernel, -1), channel_maxima(kernel, 3))


def test_only_what_is_always_there_is_absorbed() -> None:
    np.testing.assert_array_equal(absorbed(np.array([-1.0, 0.0, 0.5])), [0, 0, 0.5])
