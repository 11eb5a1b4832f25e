from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from el_larq.quantizers import BalancedSign, PerChannel


def kernel(*shape: int, seed: int = 0) -> np.ndarray:
    """Skewed, and off centre, so that mean, median and zero are three places."""
    return (np.random.default_rng(seed).exponential(size=shape) * 0.8 - 0.3).astype(np.float32)


def groups(values: np.ndarray, per: str) -> np.ndarray:
    """(n, filters): what is centred together in a column."""
    return values.astype(np.float64).reshape(-1, values.shape[-1] if per == "filter" else 1)


def reference(v: np.ndarray, center: str, per: str, upstream: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The forward pass and the gradient, one filter after the other."""
    columns, incoming = groups(v, per), groups(upstream, per)
    y, dv = np.zeros_like(columns), np.zeros_like(columns)
    for f in range(columns.shape[1]):
        w = columns[:, f]
        u = w - (w.mean() if center == "mean" else np.median(w))
        alpha = np.abs(u).mean()
        y[:, f] = [alpha if value >= 0 else -alpha for value in u]
        du = np.array([alpha * g if abs(value) <= 1 else 0.0 for value, g in zip(u, incoming[:, f], strict=True)])
        jacobian = np.eye(len(w)) - np.ones((len(w), len(w))) / len(w)
        dv[:, f] = jacobian.T @ du
    return y.reshape(v.shape), dv.reshape(v.shape)


@pytest.mark.parametrize("per", ["filter", "tensor"])
@pytest.mark.parametrize("center", ["mean", "median"])
@pytest.mark.parametrize("shape", [(3, 3, 2, 5), (1, 1, 4, 3), (3, 3, 3, 3)])
def test_forward_and_gradient(shape: tuple[int, ...], center: str, per: str):
    v, upstream = kernel(*shape), kernel(*shape, seed=1)
    assert np.abs(v - v.mean()).max() > 1 or shape[0] == 1
    x = tf.constant(v)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = BalancedSign(center, per)(x)
    gradient: Any = tape.gradient(y, x, output_gradients=tf.constant(upstream))  # pyright: ignore
    expected, expected_gradient = reference(v, center, per, upstream)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


def test_the_median_balances_exactly_and_the_mean_does_not():
    v = kernel(3, 3, 4, 6)
    by_median, by_mean = (np.asarray(BalancedSign(center)(tf.constant(v))) for center in ("median", "mean"))
    np.testing.assert_array_equal((by_median > 0).sum(axis=(0, 1, 2)), np.full(6, 18))
    assert ((by_mean > 0).sum(axis=(0, 1, 2)) != 18).any()


def test_an_odd_filter_has_one_more_positive_weight():
    y = np.asarray(PerChannel(BalancedSign("median"))(tf.constant(kernel(3, 3, 4, 1))))
    np.testing.assert_array_equal((y > 0).sum(axis=(0, 1, 3)), np.full(4, 5))


def test_a_common_offset_changes_nothing_and_is_never_learned():
    v, upstream = kernel(3, 3, 2, 4), kernel(3, 3, 2, 4, seed=1)
    x = tf.constant(v)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = BalancedSign()(x)
    gradient: Any = tape.gradient(y, x, output_gradients=tf.constant(upstream))  # pyright: ignore
    np.testing.assert_allclose(np.sum(gradient, axis=(0, 1, 2)), np.zeros(4), atol=1e-5)
    np.testing.assert_allclose(BalancedSign()(tf.constant(v + 0.25)), y, rtol=1e-4)


def test_it_is_saved_and_refuses_what_it_cannot_do():
    copy = BalancedSign.from_config(BalancedSign("median", "tensor").get_config())
    assert (copy.center, copy.per, copy.precision) == ("median", "tensor", 1)
    with pytest.raises(ValueError, match="got 'mode'"):
        BalancedSign("mode")
    with pytest.raises(ValueError, match="cannot be balanced"):
        BalancedSign()(tf.ones((1, 1, 1, 4)))
    np.testing.assert_array_equal(np.sign(BalancedSign(per="tensor")(tf.constant([[[[1.0, 3.0]]]]))), [[[[-1, 1]]]])
