from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.layers import GatedLink
from el_larq.layers.gated_link import SMALLEST_GATE
from el_larq.methods import bbg


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pooled(x: np.ndarray) -> np.ndarray:
    """By two; a window that reaches over the border is the mean of what is inside."""
    rows, columns = -(-x.shape[1] // 2), -(-x.shape[2] // 2)
    cells = [[x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(1, 2)) for j in range(columns)] for i in range(rows)]
    return np.stack([np.stack(row, axis=1) for row in cells], axis=1)


def test_each_channel_has_its_gate():
    x, z, g = values(2, 3, 4, 5), values(2, 3, 4, 5, seed=1), values(5, seed=2)
    layer = GatedLink()
    layer.build([x.shape, z.shape])
    np.testing.assert_array_equal(layer.gate, np.ones(5))
    layer.gate.assign(g)
    np.testing.assert_allclose(layer([x, z]), z + g * x, rtol=1e-6)


def test_a_stride_pools_and_gradients_follow():
    x, z, g, upstream = values(2, 5, 4, 3), values(2, 3, 2, 3, seed=1), values(3, seed=2), values(2, 3, 2, 3, seed=3)
    layer = GatedLink(gate_initializer=keras.initializers.Constant(g.tolist()))  # pyright: ignore[reportArgumentType]
    inputs: Any = [tf.constant(x), tf.constant(z)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = layer(inputs)
    dx, dz, dg = tape.gradient(y, [*inputs, layer.gate], output_gradients=tf.constant(upstream))  # pyright: ignore
    np.testing.assert_allclose(y, z + g * pooled(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(dz, upstream)
    np.testing.assert_allclose(dg, (upstream * pooled(x)).sum(axis=(0, 1, 2)), rtol=1e-5)
    spread = (g * upstream).repeat(2, axis=1).repeat(2, axis=2)[:, :5, :4]
    inside = np.where(np.arange(5) < 4, 4.0, 2.0)[:, None, None]  # the last row's windows contain two cells
    np.testing.assert_allclose(dx, spread / inside, rtol=1e-5)


def test_gates_stay_positive_unless_freed():
    x: Any = np.zeros((1, 2, 2, 3), np.float32)
    kept, freed = GatedLink(), GatedLink(positive=False)
    for layer in (kept, freed):
        layer([x, x])
    np.testing.assert_allclose(kept.gate.constraint(tf.constant([-1.0, 0.0, 0.5])), [SMALLEST_GATE, SMALLEST_GATE, 0.5])
    assert freed.gate.constraint is None
    assert bbg.SMALLEST_GATE == SMALLEST_GATE


def test_its_configuration_makes_it_again():
    layer = GatedLink(gate_initializer=0.25, positive=False, strides=2, name="link")
    copy: Any = keras.layers.deserialize(keras.layers.serialize(layer))
    assert copy.get_config() == layer.get_config()
    x: Any = np.ones((1, 4, 4, 2), np.float32)
    np.testing.assert_array_equal(copy([x, np.zeros((1, 2, 2, 2), np.float32)]), np.full((1, 2, 2, 2), 0.25))


@pytest.mark.parametrize(
    ("x", "z", "message"),
    [
        ((None, 4, 4, 2), (None, 4, 4, 4), "the same, known channels"),
        ((None, None, 4, 2), (None, 4, 4, 2), "pass strides="),
        ((None, 4, 4, 2), (None, 3, 4, 2), "no stride maps"),
    ],
)
def test_shapes_that_do_not_go_together_are_refused(x: tuple, z: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        GatedLink().build([x, z])
    with pytest.raises(ValueError, match="two tensors"):
        GatedLink().build(x)
