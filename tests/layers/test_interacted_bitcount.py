from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from el_larq.layers import InteractedBitcount


def make(fan_in: int, channels: int, **options: Any) -> Any:
    layer = InteractedBitcount(fan_in, **options)
    layer.build((None, 2, 3, channels))
    return layer


def counts(fan_in: int, *shape: int) -> np.ndarray:
    """Sums of so many signs: every second integer from -fan_in to fan_in."""
    return (2 * np.random.default_rng(0).integers(0, fan_in + 1, shape) - fan_in).astype(np.float32)


def reference(z: np.ndarray, source: Any, strength: Any, threshold: float, step: int) -> np.ndarray:
    y = z.astype(np.float64)
    for position in np.ndindex(*z.shape):
        *place, c = position
        other = z[(*place, source[c])]
        y[position] += strength[c] * step * ((other > threshold) - float(other < -threshold))
    return y


# T = floor(threshold * sqrt(fan_in)) + 1/2, step = T / 2 rounded.
CASES = [(9, 1.0, 3.5, 2), (16, 1.0, 4.5, 2), (144, 1.0, 12.5, 6), (144, 1.5, 18.5, 9), (4, 0.25, 0.5, 1), (576, 0.5, 12.5, 6)]


@pytest.mark.parametrize(("fan_in", "units", "threshold", "step"), CASES)
def test_channels_are_corrected_as_the_edges_say(fan_in: int, units: float, threshold: float, step: int):
    layer = make(fan_in, 5, threshold=units)
    source, strength = [3, 0, 0, 1, 4], [1, -1, 0, 1, -1]
    layer.source.assign(source)
    layer.strength.assign(strength)
    z = counts(fan_in, 4, 2, 3, 5)
    # Both sides of both thresholds, as near as integers come.
    z.flat[:16:5] = [threshold + 0.5, threshold - 0.5, -threshold + 0.5, -threshold - 0.5]
    expected = reference(z, source, strength, threshold, step)
    assert (expected != z).any()
    np.testing.assert_array_equal(layer(tf.constant(z)), expected)


def test_without_edges_nothing_is_corrected():
    z = counts(64, 2, 2, 3, 5)
    np.testing.assert_array_equal(make(64, 5)(tf.constant(z)), z)


def test_the_correction_is_a_constant_to_the_gradient():
    layer = make(16, 3)
    layer.source.assign([1, 2, 0])
    layer.strength.assign([1, -1, 1])
    z = tf.constant(counts(16, 2, 2, 3, 3))
    upstream: Any = tf.constant(np.random.default_rng(1).normal(size=(2, 2, 3, 3)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([z, *layer.variables[1:]])  # all but the integers
        y = layer(z)
    gradients: Any = tape.gradient(y, [z, *layer.variables[1:]], output_gradients=upstream)
    np.testing.assert_array_equal(gradients[0], upstream)
    assert gradients[1:] == [None] * 4
    assert layer.trainable_variables == []


def test_it_names_what_it_cannot_take():
    with pytest.raises(ValueError, match=r"must be \(N, H, W, C\) with known channels"):
        InteractedBitcount(9).build((None, 4))
