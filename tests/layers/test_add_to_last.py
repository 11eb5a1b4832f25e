from typing import Any

import numpy as np
import tensorflow as tf

from el_larq.layers import AddToLast


def test_the_last_channels_are_added_and_the_others_kept() -> None:
    random = np.random.default_rng(0)
    x, y, g = (random.standard_normal((2, 3, 4, channels)).astype(np.float32) for channels in (5, 2, 5))
    inputs, last = tf.constant(x), tf.constant(y)
    with tf.GradientTape() as tape:
        tape.watch([inputs, last])
        z = AddToLast()([inputs, last])
    expected = x.copy()
    expected[..., 3:] += y
    np.testing.assert_array_equal(z, expected)
    upstream: Any = tf.constant(g)
    found: Any = tape.gradient(z, [inputs, last], output_gradients=upstream)
    of_inputs, of_last = found
    np.testing.assert_array_equal(of_inputs, g)
    np.testing.assert_array_equal(of_last, g[..., 3:])
