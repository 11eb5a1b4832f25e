from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from el_larq.quantizers import BinaryBases, HalfSign


def kernel(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) + 0.2).astype(np.float32)


def reference(w: np.ndarray, bases: int) -> tuple[np.ndarray, np.ndarray]:
    """Signs (M, n) and alpha (M,), by NumPy's own least squares."""
    flat = w.astype(np.float64).ravel()
    if bases == 1:
        signs = np.where(flat >= 0, 1.0, -1.0)[None]
    else:
        u = np.linspace(-1, 1, bases)
        signs = np.where(flat - flat.mean() + u[:, None] * flat.std() >= 0, 1.0, -1.0)
    return signs, np.linalg.lstsq(signs.T, flat, rcond=None)[0]


@pytest.mark.parametrize("bases", [1, 2, 3, 5])
def test_bases_are_the_least_squares_approximation(bases: int):
    w = kernel(3, 3, 6, 4)
    got = np.asarray(BinaryBases(bases)(tf.constant(w)))
    signs, alpha = reference(w, bases)
    np.testing.assert_allclose(got.reshape(bases, -1), alpha[:, None] * signs, rtol=1e-4)
    if bases == 1:
        np.testing.assert_allclose(alpha, np.abs(w).mean(), rtol=1e-6)


def test_more_bases_come_closer():
    w = kernel(3, 3, 6, 4)
    errors = [float(np.square(np.asarray(BinaryBases(m)(tf.constant(w))).sum(axis=0) - w).mean()) for m in (1, 2, 3, 5)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 4


def test_bases_that_coincide_share_their_weight():
    """Two weights of one magnitude: all bases are the same, and the equations singular."""
    w = np.array([1.0, -1.0], np.float32).reshape(1, 1, 2, 1)
    got = np.asarray(BinaryBases(3)(tf.constant(w)))
    np.testing.assert_allclose(got.sum(axis=0), w, rtol=1e-5)
    assert np.isfinite(got).all()


def test_the_gradient_is_the_sum_over_bases():
    w, upstream = kernel(3, 3, 2, 4) * 2, kernel(3, 3, 3, 2, 4, seed=1)
    x = tf.constant(w)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = BinaryBases(3)(x)
    gradient: Any = tape.gradient(y, x, output_gradients=tf.constant(upstream))  # pyright: ignore
    _, alpha = reference(w, 3)
    np.testing.assert_allclose(gradient, np.tensordot(alpha, upstream.astype(np.float64), axes=1), rtol=1e-4, atol=1e-6)


def test_half_sign_and_its_gradient():
    x = tf.constant([-0.1, 0.0, 0.49, 0.5, 1.0, 1.1])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = HalfSign()(x)
    np.testing.assert_array_equal(y, [-1, -1, -1, 1, 1, 1])
    gradient: Any = tape.gradient(y, x)
    np.testing.assert_array_equal(gradient, [0, 1, 1, 1, 1, 0])


def test_it_is_saved_and_refuses_no_bases():
    assert BinaryBases.from_config(BinaryBases(4).get_config()).bases == 4
    with pytest.raises(ValueError, match="at least 1"):
        BinaryBases(0)
